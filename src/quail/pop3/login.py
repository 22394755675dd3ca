"""The server's side of POP3 before the log-in (RFC 1939 sections 4 and 7, 2449, 3206, 6856) as a machine without I/O.

Feed it with receive(), ask next_event() until it returns None, write what take_output() returns, read again.

    state     on                               event                                    the driver owes
    COMMAND   PASS behind USER, APOP           (AUTHENTICATE, name, secret, challenge)  verdict()
    any       QUIT, EOF, a limit, timeout      (CLOSE, reason)                          flush the output, close

`challenge` is None for PASS, whose secret is the password; for APOP it is that of the greeting, and the secret is the digest.
Behind verdict(ACCEPTED) the machine says nothing more: what the client has sent behind its last command is in rest(), for
quail.pop3.session, which says +OK.

With `classic` it is the dialogue of qmail-popup: one attempt, its words alone, no CAPA. What it does not share with the
original: lines and commands are limited, and a NUL in a name or password is a syntax error, because it would end the field
in checkpassword's input.

UTF8 (RFC 6856) is accepted and changes nothing: messages are always sent as they are. By the letter of that RFC a message
with 8-bit bytes in its header would be withheld from a client that has not asked for UTF8; such mail was there long before
it, and clients stop at the first message that they can't get.
"""

from _collections_abc import Callable

from quail.pop3 import replies
from quail.pop3.lines import OVERLONG, Lines

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs start-up time, and the shape of an event depends on its first member
    from typing import Any

    Event = tuple[Any, ...]

AUTHENTICATE = "authenticate"
CLOSE = "close"

ACCEPTED, REFUSED, TROUBLE, BROKEN, IN_USE = range(5)
"""Verdicts: it is the user; it is not; that can't be told now, or not before somebody mends something; the mailbox is taken."""

_CODES = {REFUSED: b"[AUTH] ", TROUBLE: b"[SYS/TEMP] ", BROKEN: b"[SYS/PERM] ", IN_USE: b"[IN-USE] "}
_TEXTS = {
    REFUSED: b"authorization failed",
    TROUBLE: b"unable to check the password now, try again later",
    BROKEN: b"unable to check the password",
    IN_USE: b"mailbox is in use",
}
_NO_PLAIN = b"-ERR plain passwords are not taken on this connection\r\n"
_NO_APOP = b"-ERR APOP is not offered on this connection\r\n"
_FIRST = b"-ERR authorization first\r\n"
_USER_FIRST = b"-ERR USER first\r\n"
_TOO_MUCH = b"-ERR too many commands without authorization\r\n"
_DIGEST_LENGTH = 32
_HEX = b"0123456789abcdefABCDEF"

_COMMAND, _VERDICT, _ACCEPTED, _CLOSED = range(4)


class Settings:
    """What connections are served with.

    classic: as qmail-popup. plain: USER and PASS are taken. max_attempts counts verdicts other than ACCEPTED, in classic it
    is 1; max_commands counts all that comes, so that nobody stays for ever by talking.
    """

    __slots__ = ("classic", "max_attempts", "max_bad_commands", "max_commands", "plain")

    def __init__(
        self,
        *,
        classic: bool = False,
        plain: bool = True,
        max_attempts: int = 3,
        max_bad_commands: int = 10,
        max_commands: int = 100,
    ) -> None:
        """Shared by all connections: nothing in it changes. Limits are at least 1."""
        self.classic = classic
        self.plain = plain
        self.max_attempts = 1 if classic else max_attempts
        self.max_bad_commands = max_bad_commands
        self.max_commands = max_commands


class Login:
    """One connection before its log-in. `waiting` says that the driver owes a verdict, and stops reading until then."""

    __slots__ = (
        "_attempts", "_bad", "_challenge", "_commands", "_eof", "_lines", "_name", "_output", "_settings", "_state",
        "_stopping", "_waiting_close",
    )  # fmt: skip

    def __init__(self, settings: Settings, challenge: bytes | None) -> None:
        """`challenge` is the timestamp of the greeting, <...@host>, like no other before or after it; None: no APOP."""
        self._settings = settings
        self._challenge = challenge
        self._state = _COMMAND
        self._lines = Lines()
        self._eof = self._stopping = False
        self._output: list[bytes] = []
        self._name: bytes | None = None  # USER's
        self._attempts = self._bad = self._commands = 0
        self._waiting_close: str | None = None

    # ---- what the driver calls

    @property
    def waiting(self) -> bool:
        """Whether the driver owes a verdict."""
        return self._state == _VERDICT

    @property
    def has_more(self) -> bool:
        """Whether there is something that has not been looked at yet."""
        return self._lines.has_more

    def start(self) -> None:
        """Queue the greeting."""
        self._output.append(b"+OK %b\r\n" % (self._challenge if self._challenge is not None else b"ready"))

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; b"" means that no more will come. What comes behind the end is forgotten."""
        if not data:
            self._eof = True
        elif self._state != _CLOSED:
            self._lines.feed(data)

    def take_output(self) -> bytes:
        """What is to be written now; it is forgotten here."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def next_event(self) -> "Event | None":
        """The next event; None: more bytes or the verdict are needed, or it is over."""
        while self._state == _COMMAND:
            if self._waiting_close is not None:
                return self._close(b"", self._waiting_close)
            if self._stopping:
                return self._close(replies.SHUTDOWN, "shutdown")
            line = self._lines.next()
            if line == OVERLONG or (line is None and self._lines.overflowing):
                return self._close(replies.TOO_LONG, "command line too long")
            if line is None:
                return self._close(b"", "end of input") if self._eof else None
            self._commands += 1
            if self._commands > self._settings.max_commands:
                return self._close(_TOO_MUCH, "too many commands")
            event = self._obey(line)
            if event is not None:
                return event
        return None

    def verdict(self, outcome: int, text: bytes = b"") -> None:
        """Answer AUTHENTICATE: ACCEPTED, REFUSED, TROUBLE, BROKEN or IN_USE; `text` replaces the usual words, without code."""
        if self._state == _CLOSED:
            return  # by timeout()
        if self._state != _VERDICT:
            raise RuntimeError("nobody waits for a verdict")
        if outcome == ACCEPTED:
            self._state = _ACCEPTED
            return
        self._state = _COMMAND
        self._attempts += 1
        last = self._attempts >= self._settings.max_attempts
        code = b"" if self._settings.classic else _CODES[outcome]
        self._output.append(b"-ERR %b%b\r\n" % (code, text or _TEXTS[outcome]))
        if last:
            self._waiting_close = "not accepted" if self._settings.classic else "too many attempts"

    def rest(self) -> bytes:
        """Behind ACCEPTED: what the client has sent already, for the session."""
        return self._lines.rest()

    def timeout(self) -> None:
        """The peer has been silent for too long, and hears nothing of it (RFC 1939 section 3)."""
        if self._state == _COMMAND and self._waiting_close is None:
            self._waiting_close = "timeout"

    def shutdown(self) -> None:
        """Close before the next command; a verdict that is awaited is still waited for."""
        self._stopping = True

    # ---- commands

    def _close(self, reply: bytes, reason: str) -> "Event":
        self._state = _CLOSED
        if reply:
            self._output.append(reply)
        self._lines.rest()
        return CLOSE, reason

    def _obey(self, line: bytes) -> "Event | None":
        verb, _, argument = line.partition(b" ")
        handlers = _CLASSIC if self._settings.classic else _VERBS
        handler = handlers.get(verb.upper())
        return handler(self, argument) if handler else self._bad_command(_FIRST)

    def _bad_command(self, reply: bytes) -> "Event | None":
        self._bad += 1
        if self._bad > self._settings.max_bad_commands:
            return self._close(replies.TOO_MANY_BAD, "too many bad commands")
        self._output.append(reply)
        return None

    def _user(self, argument: bytes) -> "Event | None":
        if not self._settings.plain:
            return self._bad_command(_NO_PLAIN)
        name = argument.lstrip(b" ")
        if not name or b"\0" in name:
            return self._bad_command(replies.SYNTAX)
        self._name = name
        self._output.append(replies.OK)
        return None

    def _pass(self, argument: bytes) -> "Event | None":
        name = self._name
        if name is None:
            return self._bad_command(_USER_FIRST)
        # Blanks belong to a password (RFC 1939 section 7); those in front of it qmail-popup takes away.
        secret = argument.lstrip(b" ") if self._settings.classic else argument
        if not secret or b"\0" in secret:
            return self._bad_command(replies.SYNTAX)
        self._name = None
        self._state = _VERDICT
        return AUTHENTICATE, name, secret, None

    def _apop(self, argument: bytes) -> "Event | None":
        if self._challenge is None:
            return self._bad_command(_NO_APOP)
        argument = argument.lstrip(b" ")
        name, _, digest = argument.partition(b" ") if self._settings.classic else argument.rpartition(b" ")
        right = b" " in argument if self._settings.classic else len(digest) == _DIGEST_LENGTH and not digest.strip(_HEX)
        if not right or not name or b"\0" in argument:
            return self._bad_command(replies.SYNTAX)
        self._name = None
        self._state = _VERDICT
        return AUTHENTICATE, name, digest if self._settings.classic else digest.lower(), self._challenge

    def _noop(self, _: bytes) -> "Event | None":
        self._output.append(replies.OK)
        return None

    def _capa(self, _: bytes) -> "Event | None":
        self._output.append(replies.capabilities(plain=self._settings.plain))
        return None

    def _quit(self, _: bytes) -> "Event | None":
        return self._close(replies.OK, "quit")


# ruff: noqa: SLF001  the tables of verbs are the class's own
_CLASSIC: "dict[bytes, Callable[[Login, bytes], Event | None]]" = {
    b"USER": Login._user,
    b"PASS": Login._pass,
    b"APOP": Login._apop,
    b"NOOP": Login._noop,
    b"QUIT": Login._quit,
}
_VERBS: "dict[bytes, Callable[[Login, bytes], Event | None]]" = {
    **_CLASSIC,
    b"CAPA": Login._capa,
    b"UTF8": Login._noop,
}
