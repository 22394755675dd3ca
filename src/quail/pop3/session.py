"""The server's side of POP3 behind the log-in (RFC 1939 sections 5 to 7, 2449) as a machine without I/O.

Feed it with receive(), ask next_event() until it returns None, write what take_output() returns, read again. Commands may be
pipelined: replies gather in the output while there are commands left to look at.

    on                                 event                  the driver owes
    STAT, LIST, for the first time     (SIZES,)               sizes()
    UIDL, for the first time           (UIDS,)                uids()
    RETR, TOP                          (CONTENT, index)       content() until it returns False; or unavailable(), broken()
    QUIT                               (UPDATE, indexes)      updated(), after those have been removed
    much output                        (FLUSH,)               to write take_output() before it goes on
    QUIT's end, EOF, limit, timeout    (CLOSE, reason)        flush the output, close

Messages are numbered as the driver has them; indexes start at 0. Without UPDATE nothing is to be removed.

What differs from qmail-pop3d: STAT does not count deleted messages, and sizes are those of what is sent, as RFC 1939 says; no
empty line is added to a message; CAPA; numbers must be nothing but digits, RETR takes one alone; lines and bad commands are
limited; QUIT has one reply. With `quirks` it is the original's behaviour in all this but the limits.
"""

from _collections_abc import Callable, Sequence

from quail.pop3 import replies
from quail.pop3.lines import OVERLONG, Lines
from quail.pop3.wire import WHOLE, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # see quail.pop3.login
    from typing import Any

    Event = tuple[Any, ...]

SIZES = "sizes"
UIDS = "uids"
CONTENT = "content"
UPDATE = "update"
FLUSH = "flush"
CLOSE = "close"
_SIZES_EVENT, _UIDS_EVENT, _FLUSH_EVENT = (SIZES,), (UIDS,), (FLUSH,)

MUCH = 1 << 16  # bytes of output that are written before the next command is looked at

_COUNTED_FROM = b"-ERR messages are counted from 1\r\n"
_NOT_SO_MANY = b"-ERR not that many messages\r\n"
_DELETED = b"-ERR already deleted\r\n"
_UNAVAILABLE = b"-ERR unable to open that message\r\n"
_NOT_REMOVED = b"-ERR unable to unlink all deleted messages\r\n"
_NOT_ALL_REMOVED = b"-ERR [SYS/TEMP] unable to unlink all deleted messages\r\n"
_UNIMPLEMENTED = b"-ERR unimplemented\r\n"
_LATE_UTF8 = b"-ERR UTF8 comes before the log-in\r\n"
_MOST_DIGITS = 18

_COMMAND, _SIZES, _UIDS, _CONTENT, _UPDATE, _CLOSED = range(6)


class Session:
    """One log-in to a mailbox. `waiting` says that the driver owes an answer, and stops reading until then."""

    __slots__ = (
        "_bad", "_begun", "_deleted", "_ending", "_eof", "_highest", "_left", "_left_bytes", "_lines", "_max_bad", "_output",
        "_pending", "_plain", "_quirks", "_repeat", "_size_of", "_state", "_stopping", "_total_bytes", "_uid_of", "_wire",
    )  # fmt: skip

    def __init__(
        self, count: int, data: bytes = b"", *, quirks: bool = False, plain: bool = True, max_bad_commands: int = 50
    ) -> None:
        """A mailbox of `count` messages. `data` is what the client has sent behind its log-in already (Login.rest())."""
        self._state = _COMMAND
        self._lines = Lines(data)
        self._quirks = quirks
        self._plain = plain
        self._max_bad = max_bad_commands
        self._bad = 0
        self._eof = self._stopping = False
        self._ending = ""  # why CLOSE comes next, with nothing more to be said
        self._output: list[bytes] = []
        self._pending = 0  # bytes of output
        self._deleted = bytearray(count)
        self._left = count  # messages that are not deleted
        self._highest = 0  # the greatest number of DELE, for LAST
        self._size_of: Sequence[int] | None = None
        self._total_bytes = self._left_bytes = 0
        self._uid_of: Sequence[bytes] | None = None
        self._repeat: tuple[bytes, bytes] = (b"", b"")  # the command that waits for sizes or uids
        self._wire: Wire | None = None
        self._begun = False  # the +OK of the message has been said

    # ---- what the driver calls

    @property
    def waiting(self) -> bool:
        """Whether the driver owes an answer to an event."""
        return self._state not in (_COMMAND, _CLOSED)

    def start(self) -> None:
        """Queue the reply to the log-in."""
        self._say(replies.OK)

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; b"" means that no more will come."""
        if not data:
            self._eof = True
        elif self._state != _CLOSED:
            self._lines.feed(data)

    def take_output(self) -> bytes:
        """What is to be written now, in one piece; it is forgotten here."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        self._pending = 0
        return data

    def next_event(self) -> "Event | None":
        """The next event; None: more bytes or the driver's answer are needed, or it is over."""
        while self._state == _COMMAND:
            if self._pending >= MUCH:
                return _FLUSH_EVENT
            if self._ending:
                return self._close(b"", self._ending)
            if self._stopping:
                return self._close(replies.SHUTDOWN, "shutdown")
            if self._repeat[0]:
                (verb, argument), self._repeat = self._repeat, (b"", b"")
            else:
                line = self._lines.next()
                if line is None:
                    return self._close(b"", "end of input") if self._eof else None
                if line == OVERLONG:
                    event = self._bad_command(replies.TOO_LONG)
                    if event is not None:
                        return event
                    continue
                verb, _, argument = line.partition(b" ")
            event = self._obey(verb, argument.strip(b" "))
            if event is not None:
                return event
        return None

    def sizes(self, sizes: Sequence[int]) -> None:
        """Answer SIZES: the size of each message, on the wire (quail.pop3.wire) or, with quirks, of its file."""
        self._expect(_SIZES)
        self._size_of = sizes
        self._total_bytes = sum(sizes)
        self._left_bytes = self._total_bytes - sum(sizes[at] for at in self._marked())

    def uids(self, uids: Sequence[bytes]) -> None:
        """Answer UIDS: 1 to 70 bytes of 0x21 to 0x7e for each message, no two alike."""
        self._expect(_UIDS)
        self._uid_of = uids

    def content(self, data: bytes) -> bool:
        """Take the next piece of the message as it is stored, b"" at its end; False: no more is wanted."""
        wire = self._wire
        if wire is None:
            raise RuntimeError("no message is wanted")
        start = b"" if self._begun else replies.OK
        self._begun = True
        text = wire.feed(data) if data else b""
        if data and not wire.done:
            self._say(start + text)
            return True
        self._say(b"".join((start, text, wire.finish())))
        self._end_content()
        return False

    def whole(self, data: bytes) -> None:
        """Answer CONTENT with all of a message at once."""
        wire = self._wire
        if wire is None or self._begun:
            raise RuntimeError("no message is wanted")
        self._say(b"".join((replies.OK, wire.feed(data), wire.finish())))
        self._end_content()

    def unavailable(self) -> None:
        """Answer CONTENT: there is nothing to be read, and nothing has been given."""
        self._end_content()
        self._say(_UNAVAILABLE)

    def broken(self) -> None:
        """The message can't be read to its end: the session closes, so that nobody takes what was sent for the whole."""
        self._end_content()
        self._ending = "message broken off"

    def updated(self, failures: int) -> None:
        """Answer UPDATE: so many messages could not be removed. CLOSE comes next."""
        self._expect(_UPDATE)
        self._ending = "quit"
        if self._quirks:
            self._say(_NOT_REMOVED * failures + replies.OK)
        else:
            self._say(_NOT_ALL_REMOVED if failures else replies.OK)

    def timeout(self) -> None:
        """The peer has been silent for too long, and hears nothing of it; nothing is removed (RFC 1939 section 3)."""
        self._ending = self._ending or "timeout"

    def shutdown(self) -> None:
        """Close before the next command."""
        self._stopping = True

    # ---- inside

    def _expect(self, state: int) -> None:
        """The driver's answer has come."""
        if self._state != state:
            raise RuntimeError("nobody waits for this")
        self._state = _COMMAND

    def _end_content(self) -> None:
        self._expect(_CONTENT)
        self._wire = None
        self._begun = False

    def _say(self, reply: bytes) -> None:
        self._output.append(reply)
        self._pending += len(reply)

    def _close(self, reply: bytes, reason: str) -> "Event":
        self._state = _CLOSED
        if reply:
            self._say(reply)
        self._lines.rest()
        return CLOSE, reason

    def _bad_command(self, reply: bytes) -> "Event | None":
        self._bad += 1
        if self._bad > self._max_bad:
            return self._close(replies.TOO_MANY_BAD, "too many bad commands")
        self._say(reply)
        return None

    def _obey(self, verb: bytes, argument: bytes) -> "Event | None":
        handler = _VERBS.get(verb) or _VERBS.get(verb.upper())
        if handler is None or (self._quirks and handler in _NEW):
            return self._bad_command(_UNIMPLEMENTED)
        return handler(self, argument)

    def _marked(self) -> list[int]:
        """Indexes of deleted messages."""
        found = []
        at = self._deleted.find(1)
        while at >= 0:
            found.append(at)
            at = self._deleted.find(1, at + 1)
        return found

    def _ask(self, state: int, event: "Event", verb: bytes, argument: bytes) -> "Event":
        """Have the driver tell what the command needs, which is looked at again then."""
        self._state = state
        self._repeat = verb, argument
        return event

    def _message(self, digits: bytes) -> int:
        """The index of a message that is there; or -1, and the reply is queued. No such message is no bad command."""
        count = len(self._deleted)
        index = (int(digits) if len(digits) <= _MOST_DIGITS else count + 1) - 1
        if index < 0:
            self._say(_COUNTED_FROM)
        elif index >= count:
            self._say(_NOT_SO_MANY)
        elif self._deleted[index]:
            self._say(_DELETED)
        else:
            return index
        return -1

    def _numbers(self, argument: bytes, most: int) -> list[bytes]:
        """The digits of an argument that is to be one number, or up to `most`; none if it is not.

        The original's numbers end at the first byte that is no digit, and what is behind the last one counts for nothing.
        """
        if not self._quirks:
            words = argument.split()
            return words if len(words) <= most and all(map(bytes.isdigit, words)) else []
        first, rest = _leading(argument)
        second, _ = _leading(rest.lstrip(b" "))
        return [word for word in (first, second) if word] if first else []

    # ---- commands

    def _stat(self, argument: bytes) -> "Event | None":
        if self._size_of is None:
            return self._ask(_SIZES, _SIZES_EVENT, b"STAT", argument)
        self._say(b"+OK %d %d\r\n" % (len(self._deleted) if self._quirks else self._left, self._left_bytes))
        return None

    def _list(self, argument: bytes) -> "Event | None":
        if self._size_of is None:
            return self._ask(_SIZES, _SIZES_EVENT, b"LIST", argument)
        return self._tell(argument, self._size_of, b"%d %d\r\n")

    def _uidl(self, argument: bytes) -> "Event | None":
        if self._uid_of is None:
            return self._ask(_UIDS, _UIDS_EVENT, b"UIDL", argument)
        return self._tell(argument, self._uid_of, b"%d %b\r\n")

    def _tell(self, argument: bytes, values: Sequence[int] | Sequence[bytes], form: bytes) -> "Event | None":
        """One message's value, or those of all that are not deleted."""
        if argument:
            numbers = self._numbers(argument, 1)
            if not numbers:
                return self._bad_command(replies.SYNTAX)
            index = self._message(numbers[0])
            if index < 0:
                return None
            self._say(b"+OK " + form % (index + 1, values[index]))
            return None
        if self._left == len(values):
            lines = [form % pair for pair in enumerate(values, 1)]
        else:
            deleted = self._deleted
            lines = [form % (index + 1, value) for index, value in enumerate(values) if not deleted[index]]
        self._say(b"".join((replies.OK, *lines, b".\r\n")))
        return None

    def _retr(self, argument: bytes) -> "Event | None":
        return self._send(argument, 2 if self._quirks else 1)

    def _top(self, argument: bytes) -> "Event | None":
        return self._send(argument, 2)

    def _send(self, argument: bytes, most: int) -> "Event | None":
        numbers = self._numbers(argument, most)
        if not numbers:
            return self._bad_command(replies.SYNTAX)
        lines = int(numbers[1][:_MOST_DIGITS]) if len(numbers) == 2 else WHOLE
        index = self._message(numbers[0])
        if index < 0:
            return None
        self._wire = Wire(lines, quirks=self._quirks)
        self._state = _CONTENT
        return CONTENT, index

    def _dele(self, argument: bytes) -> "Event | None":
        numbers = self._numbers(argument, 1)
        if not numbers:
            return self._bad_command(replies.SYNTAX)
        index = self._message(numbers[0])
        if index < 0:
            return None
        self._deleted[index] = 1
        self._left -= 1
        if self._size_of is not None:
            self._left_bytes -= self._size_of[index]
        self._highest = max(self._highest, index + 1)
        self._say(replies.OK)
        return None

    def _last(self, _: bytes) -> "Event | None":
        self._say(b"+OK %d\r\n" % self._highest)
        return None

    def _rset(self, _: bytes) -> "Event | None":
        if self._left != len(self._deleted):
            self._deleted = bytearray(len(self._deleted))
        self._left = len(self._deleted)
        self._left_bytes = self._total_bytes
        self._highest = 0
        self._say(replies.OK)
        return None

    def _noop(self, _: bytes) -> "Event | None":
        self._say(replies.OK)
        return None

    def _capa(self, _: bytes) -> "Event | None":
        self._say(replies.capabilities(plain=self._plain))
        return None

    def _utf8(self, _: bytes) -> "Event | None":
        return self._bad_command(_LATE_UTF8)

    def _quit(self, _: bytes) -> "Event | None":
        self._state = _UPDATE
        return UPDATE, self._marked()


def _leading(text: bytes) -> tuple[bytes, bytes]:
    """The digits at the start, and the rest."""
    rest = text.lstrip(b"0123456789")
    return text[: len(text) - len(rest)], rest


# ruff: noqa: SLF001  the table of verbs is the class's own
_VERBS: "dict[bytes, Callable[[Session, bytes], Event | None]]" = {
    b"RETR": Session._retr,
    b"DELE": Session._dele,
    b"STAT": Session._stat,
    b"LIST": Session._list,
    b"UIDL": Session._uidl,
    b"TOP": Session._top,
    b"QUIT": Session._quit,
    b"NOOP": Session._noop,
    b"RSET": Session._rset,
    b"LAST": Session._last,
    b"CAPA": Session._capa,
    b"UTF8": Session._utf8,
}
_NEW = (Session._capa, Session._utf8)
