"""The server's side of an SMTP or LMTP session (RFC 5321, 1870, 2033, 2034, 2920, 6152, 6531) as a machine without I/O.

Feed it with receive(), ask next_event() until it returns None, write what take_output() returns, read again. Replies
gather in the output while there are commands left to look at: that is all that PIPELINING asks for.

    state      on                               event                          the driver owes
    COMMAND    RCPT, address passed our checks  (RECIPIENT, address)           recipient_verdict()
    COMMAND    DATA, 354 queued                 (BEGIN, sender, recipients, attributes)
    DATA       text                             (BODY, bytes)
    DATA       CR LF . CR LF                    (END,)                         message_done()
    DATA       a fault, a limit, peer gone      (ABANDON, reason)              nothing: the machine replies itself
    any        QUIT, EOF, fatal limit, timeout  (CLOSE, reason)                flush the output, close

The driver may answer early, while text still comes: message_done() between BEGIN and END with a 4xx or 5xx reply ends
its part; the rest is swallowed and the reply queued at the true end.

The same bytes give the same events and replies however they are cut into pieces (only the pieces of BODY differ). So
what a client sends behind DATA without waiting for 354 is text if DATA was accepted and commands if not, each with its
reply: the command groups of RFC 2920 need no more, and a client that runs ahead of its 354 is in step with us all the
same.

LMTP (RFC 2033), where Settings say so, is the same machine with another table of verbs: LHLO in the place of HELO and
EHLO. Its message has a reply for each recipient that was accepted, in their order. The driver gives one, and it is sent
as often: the message is queued once for all, so that no recipient can have an answer that others do not have. Replies
before the message's end (a time-out, a shutdown) close the connection and are sent once.

Where this differs from qmail-smtpd, and why:
- Enhanced status codes in front (RFC 2034) instead of `(#5.7.1)` at the end; SIZE, SMTPUTF8 are offered.
- A bare LF or CR in a command is answered 500 5.5.2, in the message 554 5.6.0 at its end (RFC 5321 section 2.3.8).
  qmail took the first, kept a bare CR as text, and dropped the connection with 451 for a bare LF, which made clients
  retry for days.
- Parameters behind `>` that EHLO did not offer are refused with 555, `RCPT TO:<a@b> X=1` too; qmail ignored them, which
  would accept what is then not done. Words behind an address without angle brackets are still ignored.
- An address with a control character is 553, an empty recipient too: no later reader must trip over them.
- There are limits: length of commands and lines, recipients, bad commands, commands that bring no mail.
- HELP names the RFC, not a home page.
"""

from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.smtp import body as intake
from quail.smtp import replies
from quail.smtp.parameters import parse_mail
from quail.smtp.path import MAX_ADDRESS, parse
from quail.smtp.settings import NO_LIMIT, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs start-up time, and the shape of an event depends on its first member
    from typing import Any

    Event = tuple[Any, ...]

RECIPIENT = "recipient"
BEGIN = "begin"
BODY = "body"
END = "end"
ABANDON = "abandon"
CLOSE = "close"
_END_EVENT = (END,)

_COMMAND, _DATA, _VERDICT, _DONE, _CLOSED = range(5)

_MAX_HELO = 255  # a domain's, section 4.5.3.1.2


class Session:
    """One connection. `helo` is the argument of the last HELO, EHLO or LHLO, `esmtp` whether it was not HELO.

    `waiting` says that the machine waits for recipient_verdict() or message_done(): the driver stops reading from the
    peer then. What it feeds all the same is kept, and that alone is not bounded here.
    """

    __slots__ = (
        "_address",
        "_answer",
        "_attributes",
        "_bad",
        "_badmail",
        "_body",
        "_buffer",
        "_eof",
        "_events",
        "_excused",
        "_junk",
        "_later",
        "_output",
        "_part",
        "_position",
        "_recipients",
        "_sender",
        "_settings",
        "_state",
        "_stopping",
        "_tried",
        "_verbs",
        "esmtp",
        "helo",
    )

    def __init__(self, settings: Settings) -> None:
        """Nothing is queued before start()."""
        self._settings = settings
        self._verbs = _LMTP_VERBS if settings.lmtp else _VERBS
        self._state = _COMMAND
        self._buffer = b""  # fed and, from _position on, not yet looked at
        self._position = 0
        self._later: list[bytes] = []  # fed behind the buffer
        self._part = bytearray()  # of a command line whose LF has not come
        self._eof = False
        self._stopping = False
        self._output: list[bytes] = []
        self._events: list[Event] = []
        self._bad = self._junk = 0
        self._body: intake.Body | None = None
        self._answer = b""  # the reply to the message when it is known before its end
        self._address = b""  # the recipient that waits for its verdict
        self.helo: bytes | None = None
        self.esmtp = False
        self._reset()

    def _reset(self) -> None:
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._attributes: list[tuple[bytes, bytes]] = []
        self._badmail: bool | None = None  # None: not asked yet
        self._tried = 0
        self._excused = 0  # so many 503 are the peer's pipeline behind a refusal, not bad commands

    # ---- what the driver calls

    @property
    def waiting(self) -> bool:
        """Whether the driver owes a verdict or a message's reply."""
        return self._state in (_VERDICT, _DONE)

    @property
    def has_more(self) -> bool:
        """Whether there is something that has not been looked at yet."""
        return self._position < len(self._buffer) or bool(self._later)

    def start(self) -> None:
        """Queue the greeting."""
        settings = self._settings
        self._output.append(b"220 %b %b\r\n" % (settings.greeting, b"LMTP" if settings.lmtp else b"ESMTP"))

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; b"" means that no more will come."""
        if not data:
            self._eof = True
        elif self._state == _CLOSED:
            pass
        elif self._position == len(self._buffer) and not self._later:
            self._buffer = data
            self._position = 0
        else:
            self._later.append(data)

    def take_output(self) -> bytes:
        """What is to be written now, in one piece; it is forgotten here."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    def next_event(self) -> "Event | None":
        """The next event; None: more bytes or the driver's answer are needed."""
        if self._events:
            return self._events.pop(0)
        while True:
            state = self._state
            if state == _COMMAND:
                if self._stopping:
                    return self._close(replies.SHUTDOWN, "shutdown")
                buffer = self._buffer
                start = self._position
                end = buffer.find(b"\n", start) + 1
                if end:
                    self._position = end
                    if self._part:
                        buffer = bytes(self._part) + buffer[start:end]
                        start, end = 0, len(buffer)
                        self._part.clear()
                    event = self._command(buffer, start, end)
                elif self._keep_part():
                    continue
                else:
                    return self._close(b"", "end of input") if self._eof else None
            elif state == _DATA:
                if self._position == len(self._buffer) and not self._refill():
                    return self._break_off(b"", "end of input", "peer gone") if self._eof else None
                event = self._text()
            else:
                return None
            if event is not None:
                return event

    def recipient_verdict(self, refusal: bytes | None) -> None:
        """None accepts the address of the RECIPIENT event; else the complete reply, without its CR LF."""
        if self._state != _VERDICT:
            raise RuntimeError("no recipient waits for a verdict")
        self._state = _COMMAND
        if refusal is None:
            self._recipients.append(self._address)
            self._output.append(replies.RECIPIENT_OK)
        else:
            self._refuse_recipient(refusal + b"\r\n")

    def message_done(self, reply: bytes) -> None:
        """The complete reply to the message, without its CR LF; before END only a refusal."""
        if self._state == _DONE:
            self._state = _COMMAND
            self._events.clear()  # END, if the driver has not even asked for it
            if reply[:1] == b"2":
                self._bad = self._junk = 0
            self._end_message(reply + b"\r\n")
        elif self._state == _DATA and reply[:1] != b"2":
            self._answer = self._answer or reply + b"\r\n"
        elif self._state != _CLOSED:
            raise RuntimeError("no message waits for this reply")

    def timeout(self) -> None:
        """The peer has been silent for too long. Ignored while the driver owes an answer."""
        if self._state in (_COMMAND, _DATA):
            self._events.insert(0, self._break_off(replies.TIMEOUT, "timeout", "timeout"))

    def shutdown(self) -> None:
        """Close with 421 before the next command, but after the present message."""
        self._stopping = True

    # ---- framing

    def _keep_part(self) -> bool:
        """Put the incomplete line aside, cut where it is known to be too long; True if there is more to look at."""
        buffer = self._buffer
        if self._position < len(buffer):
            room = self._settings.max_command_length + 1 - len(self._part)
            self._part += buffer[self._position : self._position + room]
            self._position = len(buffer)
        return self._refill()

    def _refill(self) -> bool:
        if not self._later:
            # What has been dealt with is let go: a peer may stay silent for long, and there are thousands of them.
            self._buffer = b""
            self._position = 0
            return False
        self._buffer = b"".join(self._later)
        self._position = 0
        self._later.clear()
        return True

    def _command(self, buffer: bytes, start: int, end: int) -> "Event | None":
        """Obey the line buffer[start:end]."""
        if end - start > self._settings.max_command_length:
            return self._bad_command(replies.LINE_TOO_LONG)
        cr = buffer.find(b"\r", start, end)
        if cr < 0 or cr != end - 2:
            return self._bad_command(replies.BAD_LINE_END)
        verb, _, argument = buffer[start:cr].partition(b" ")
        handler = self._verbs.get(verb) or self._verbs.get(verb.upper())
        return handler(self, argument) if handler else self._bad_command(replies.UNIMPLEMENTED)

    def _text(self) -> "Event | None":
        body = self._body
        assert body is not None
        text = body.feed(self._buffer, self._position)
        ended = body.rest >= 0
        self._position = body.rest if ended else len(self._buffer)
        event: Event | None = None
        if body.fault is not None and not self._answer:
            self._answer = replies.FAULTS[body.fault]
            event = (ABANDON, body.fault)
        if not ended:
            return event if self._answer else (BODY, text) if text else None
        self._body = None
        if self._answer:
            self._state = _COMMAND
            self._end_message(self._answer)
            self._answer = b""
            return event
        self._state = _DONE
        if not text:
            return _END_EVENT
        self._events.append(_END_EVENT)
        return BODY, text

    def _end_message(self, reply: bytes) -> None:
        """The reply to a whole message, or, in LMTP, to each of its recipients."""
        self._output.append(reply * len(self._recipients) if self._settings.lmtp else reply)
        self._reset()

    # ---- endings

    def _close(self, reply: bytes, reason: str) -> "Event":
        self._state = _CLOSED
        if reply:
            self._output.append(reply)
        self._buffer = b""
        self._position = 0
        self._later.clear()
        self._part.clear()
        return CLOSE, reason

    def _break_off(self, reply: bytes, reason: str, loss: str) -> "Event":
        """CLOSE, and before it ABANDON when a message is under way that was not given up before."""
        told = self._state != _DATA or bool(self._answer)
        closing = self._close(reply, reason)
        if told:
            return closing
        self._events.append(closing)
        return ABANDON, loss

    def _bad_command(self, reply: bytes) -> "Event | None":
        self._bad += 1
        if self._bad > self._settings.max_bad_commands:
            return self._close(replies.TOO_MANY_BAD, "too many bad commands")
        self._output.append(reply)
        return None

    def _without_mail(self, reply: bytes) -> "Event | None":
        self._junk += 1
        if self._junk > self._settings.max_junk_commands:
            return self._close(replies.TOO_MUCH_JUNK, "too many commands without mail")
        self._output.append(reply)
        return None

    def _out_of_order(self, reply: bytes) -> "Event | None":
        if self._excused:
            self._excused -= 1
            self._output.append(reply)
            return None
        return self._bad_command(reply)

    # ---- commands

    def _helo(self, argument: bytes) -> "Event | None":
        self._hello(argument, esmtp=False)
        return self._without_mail(b"250 %b\r\n" % self._settings.greeting)

    def _ehlo(self, argument: bytes) -> "Event | None":
        self._hello(argument, esmtp=True)
        return self._without_mail(self._settings.ehlo)

    def _no_lmtp(self, _: bytes) -> "Event | None":
        return self._bad_command(replies.SAY_LHLO)

    def _hello(self, argument: bytes, *, esmtp: bool) -> None:
        self.helo = argument.strip(b" ")[:_MAX_HELO]
        self.esmtp = esmtp
        self._reset()

    def _mail(self, argument: bytes) -> "Event | None":
        settings = self._settings
        again = self._sender is not None
        if again or self._excused:
            self._reset()
        address, rest, clean = parse(argument)
        if address[-1:] == b"]":
            address = self._localise(address)
        if len(address) > MAX_ADDRESS:
            return self._bad_command(replies.SYNTAX)
        size = 0
        attributes: list[tuple[bytes, bytes]] = []
        if rest:
            refusal, size, attributes = parse_mail(rest)
            if refusal:
                return self._bad_command(refusal)
        if not clean or size > settings.databytes > 0:
            self._excused = settings.max_recipients + 1
            return self._without_mail(replies.TOO_BIG if clean else replies.BAD_SENDER)
        self._sender = address
        self._attributes = attributes
        if again:
            return self._without_mail(replies.SENDER_OK)
        self._output.append(replies.SENDER_OK)
        return None

    def _rcpt(self, argument: bytes) -> "Event | None":
        if self._sender is None:
            return self._out_of_order(replies.MAIL_FIRST)
        settings = self._settings
        address, rest, clean = parse(argument)
        if address[-1:] == b"]":
            address = self._localise(address)
        if len(address) > MAX_ADDRESS:
            return self._bad_command(replies.SYNTAX)
        if rest and rest.strip(b" "):
            return self._bad_command(replies.UNKNOWN)
        self._tried += 1
        if self._tried > settings.max_recipients:
            self._refuse_recipient(replies.TOO_MANY_RECIPIENTS)
            return None
        if not address or not clean:
            self._refuse_recipient(replies.BAD_RECIPIENT)
            return None
        try:
            if self._badmail is None:
                self._badmail = settings.badmailfrom(self._sender)
            if self._badmail:
                self._refuse_recipient(replies.BADMAILFROM)
                return None
            if settings.relayclient is not None:
                address += settings.relayclient
            elif b"@" in address and not settings.accepts_host(address[address.rindex(b"@") + 1 :]):
                self._refuse_recipient(replies.NO_RELAY)
                return None
        except TemporaryError:
            self._refuse_recipient(replies.TROUBLE)
            return None
        if not settings.check_recipients:
            self._recipients.append(address)
            self._output.append(replies.RECIPIENT_OK)
            return None
        self._address = address
        self._state = _VERDICT
        return RECIPIENT, address

    def _refuse_recipient(self, reply: bytes) -> None:
        self._excused = 1  # a pipelined DATA follows
        self._output.append(reply)

    def _localise(self, address: bytes) -> bytes:
        """box@[IP] with an IP of ours becomes box@localiphost."""
        settings = self._settings
        box, at, literal = address.rpartition(b"@")
        if settings.localiphost is None or not at or literal[:1] != b"[":
            return address
        text = literal[1:-1].lower().removeprefix(b"ipv6:")
        return box + b"@" + settings.localiphost if text in settings.local_addresses else address

    def _data(self, _: bytes) -> "Event | None":
        if self._sender is None:
            return self._out_of_order(replies.MAIL_FIRST)
        if not self._recipients:
            return self._out_of_order(replies.RCPT_FIRST)
        settings = self._settings
        self._body = intake.Body(settings.databytes or NO_LIMIT, settings.max_line_length)
        self._state = _DATA
        self._output.append(replies.GO_AHEAD)
        return BEGIN, self._sender, self._recipients, self._attributes

    def _rset(self, _: bytes) -> "Event | None":
        self._reset()
        return self._without_mail(replies.FLUSHED)

    def _noop(self, _: bytes) -> "Event | None":
        return self._without_mail(replies.OK)

    def _vrfy(self, _: bytes) -> "Event | None":
        return self._without_mail(replies.TRY)

    def _help(self, _: bytes) -> "Event | None":
        return self._without_mail(replies.HELP)

    def _quit(self, _: bytes) -> "Event | None":
        return self._close(b"221 2.0.0 %b\r\n" % self._settings.greeting, "quit")


# ruff: noqa: SLF001  the tables of verbs are the class's own
_VERBS: "dict[bytes, Callable[[Session, bytes], Event | None]]" = {
    b"MAIL": Session._mail,
    b"RCPT": Session._rcpt,
    b"DATA": Session._data,
    b"RSET": Session._rset,
    b"EHLO": Session._ehlo,
    b"HELO": Session._helo,
    b"NOOP": Session._noop,
    b"VRFY": Session._vrfy,
    b"HELP": Session._help,
    b"QUIT": Session._quit,
}
_LMTP_VERBS = {**_VERBS, b"LHLO": Session._ehlo, b"EHLO": Session._no_lmtp, b"HELO": Session._no_lmtp}
