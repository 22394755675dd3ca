"""What the servers of QMTP and QMQP have in common, as a machine without I/O: how it is driven, and how it reads a message.

Feed it with receive(), ask next_event() until it returns None, write what take_output() returns, read again.

    event                             the driver owes
    (BEGIN,)                          nothing: a message begins, whose sender and recipients come behind it
    (BODY, bytes)                     nothing: more of it, with LF line ends
    (RECIPIENT, address)              recipient_verdict()
    (ENVELOPE, sender, recipients)    message_done(): the message is whole
    (ABANDON, reason)                 nothing: the message at hand is not wanted, the machine replies itself
    (FLUSH,)                          nothing, but more is to be written than should be kept: take_output() now
    (CLOSE, code, reason)             take_output() a last time, and close; code is what qmail's servers exit with

The driver may answer early: message_done() between BEGIN and ENVELOPE with a refusal ends its part; the rest is swallowed.
The same bytes give the same events and replies however they are cut into pieces (only the pieces of BODY differ).
"""

from _collections_abc import Iterator

from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, PeerError
from quail.message.hops import HopCounter
from quail.qmtp.netstring import Netstrings, TooLongError

TYPE_CHECKING = False
if TYPE_CHECKING:  # see quail.smtp.server
    from _collections_abc import Generator
    from typing import Any, TypeVar

    Event = tuple[Any, ...]
    T = TypeVar("T")
    Steps = Generator[Event | None, None, T]

BEGIN = "begin"
BODY = "body"
RECIPIENT = "recipient"
ENVELOPE = "envelope"
ABANDON = "abandon"
FLUSH = "flush"
CLOSE = "close"

MAX_ADDRESS = 999  # bytes of an address, with what RELAYCLIENT adds
TOO_MANY_HOPS = b"Dtoo many hops, this message is looping (#5.4.6)"
TOO_BIG = b"Dsorry, that message size exceeds my databytes limit (#5.3.4)"

_HIGH_WATER = 32 << 10  # bytes of replies that are kept here


class _EndError(Exception):
    """The exchange is over."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Exchange:
    """One connection."""

    __slots__ = (
        "_answer", "_closing", "_input", "_open", "_output", "_output_size", "_owed", "_steps", "_stopping", "_verdict",
    )  # fmt: skip

    def __init__(self) -> None:
        self._input = Netstrings()
        self._output: list[bytes] = []
        self._output_size = 0
        self._steps: Iterator[Event | None] | None = self._run()
        self._closing: Event | None = None
        self._stopping = False
        self._open = False  # the driver has a message that has not been ended
        self._answer: bytes | None = None  # to the message
        self._verdict: bytes | None = None  # about a recipient
        self._owed: str | None = None  # by the driver: RECIPIENT or ENVELOPE, whose answer is still to come

    def _run(self) -> "Steps[None]":
        """The protocol."""
        raise NotImplementedError

    # ---- what the driver calls

    @property
    def waiting(self) -> bool:
        """Whether the driver owes a verdict or a message's reply: it stops reading from the peer then. What it feeds all the
        same is kept, and that alone is not bounded here.
        """
        return self._owed is not None

    @property
    def has_more(self) -> bool:
        """Whether there is something that has not been looked at yet."""
        return self._input.has_more

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; b"" means that no more will come."""
        if self._steps is not None:
            self._input.receive(data)

    def next_event(self) -> "Event | None":
        """The next event; None: more bytes or the driver's answer are needed."""
        if self._steps is not None and self._closing is None:
            try:
                return next(self._steps)
            except _EndError as error:
                self._closing = (CLOSE, error.code, error.reason)
            except TooLongError as error:
                self._closing = (CLOSE, EXIT_TEMPORARY, str(error))
            except PeerError as error:
                self._closing = (CLOSE, EXIT_PERMANENT, str(error))
        closing = self._closing
        if closing is None:
            return None
        self._steps = None
        self._input.forget()
        self._owed = None
        if self._open:
            self._open = False
            return ABANDON, closing[2]
        self._closing = None
        return closing

    def take_output(self) -> bytes:
        """What is to be written now, in one piece; it is forgotten here."""
        data = b"".join(self._output)
        self._output.clear()
        self._output_size = 0
        return data

    def recipient_verdict(self, refusal: bytes | None) -> None:
        """None accepts the address of the RECIPIENT event; else the reply: K, Z or D and a text."""
        if self._owed is RECIPIENT:
            self._owed = None
            self._verdict = refusal

    def message_done(self, reply: bytes) -> None:
        """The reply to the message: K, Z or D and a text; before ENVELOPE only a refusal."""
        if self._answer is None:
            self._answer = reply
        self._open = False
        if self._owed is ENVELOPE:
            self._owed = None

    def timeout(self) -> None:
        """It has taken too long. Ignored while the driver owes an answer."""
        if self._steps is not None and self._owed is None and self._closing is None:
            self._closing = (CLOSE, EXIT_TEMPORARY, "timeout")

    def shutdown(self) -> None:
        """Close instead of taking another message; the present one is taken."""
        self._stopping = True

    # ---- what protocols are made of

    def _more(self) -> "Steps[None]":
        """Wait for more from the peer."""
        if self._input.ended:
            raise _EndError(0, "end of input")
        yield None

    @staticmethod
    def _end(reason: str) -> None:
        raise _EndError(0, reason)

    def _idle(self) -> "Steps[None]":
        """Wait until the peer begins with something."""
        while not self._input.has_more:
            if self._stopping:
                self._end("shutdown")
            yield from self._more()
        if self._stopping:
            self._end("shutdown")

    def _length(self) -> "Steps[int]":
        while (length := self._input.length()) is None:
            yield from self._more()
        return length

    def _comma(self) -> "Steps[None]":
        while not self._input.comma():
            yield from self._more()

    def _bytes(self, length: int) -> "Steps[bytes]":
        """All of a short netstring."""
        parts = []
        while length:
            piece = self._input.some(length)
            if not piece:
                yield from self._more()
            length -= len(piece)
            parts.append(piece)
        return b"".join(parts)

    def _address(self, longest: int = MAX_ADDRESS) -> "Steps[bytes | None]":
        """A netstring that is an address; None if it can't be one: too long, or with a NUL in it."""
        length = yield from self._length()
        if length > longest:
            while length:
                piece = self._input.some(length)
                if not piece:
                    yield from self._more()
                length -= len(piece)
            address = None
        else:
            address = yield from self._bytes(length)
            if b"\0" in address:
                address = None
        yield from self._comma()
        return address

    def _text(self, length: int, *, dos: bool = False, limit: int = 0) -> "Steps[None]":
        """Let the driver have a text of `length` bytes, or know why not. dos: its lines end with CR LF, which becomes LF.

        limit: bytes that it may have as it is stored, 0 for any number.
        """
        hops = HopCounter()
        size = 0
        held = b""  # a CR that may yet belong to a CR LF
        while length:
            piece = self._input.some(length)
            if not piece:
                yield from self._more()
                continue
            length -= len(piece)
            if not self._open:
                continue
            if dos:
                piece = held + piece
                held = b"\r" if length and piece[-1:] == b"\r" else b""
                piece = piece[: len(piece) - len(held)].replace(b"\r\n", b"\n")
                if not piece:
                    continue
            size += len(piece)
            fits = piece[: len(piece) - (size - limit)] if 0 < limit < size else piece
            if fits and not hops.feed(fits):
                yield self._refuse(TOO_MANY_HOPS)
            elif fits is not piece:
                yield self._refuse(TOO_BIG)
            else:
                yield BODY, piece

    def _begin(self) -> "Event":
        self._answer = None
        self._open = True
        return (BEGIN,)

    def _refuse(self, reply: bytes, reason: str | None = None) -> "Event":
        """Before ENVELOPE, and only if nobody has refused it yet. reason: for the driver, if it is not the reply."""
        self._answer = reply
        self._open = False
        return ABANDON, reason or reply[1:].decode("ascii")

    def _judged(self, address: bytes) -> "Steps[bytes | None]":
        """The driver's verdict."""
        self._owed = RECIPIENT
        yield RECIPIENT, address
        while self._owed:
            yield None
        return self._verdict

    def _handed_over(self, sender: bytes, recipients: list[bytes]) -> "Steps[bytes]":
        """The reply to the message."""
        self._owed = ENVELOPE
        yield ENVELOPE, sender, recipients
        while self._owed:
            yield None
        assert self._answer is not None
        return self._answer

    def _say(self, reply: bytes) -> bool:
        """Queue a reply, as a netstring; whether it is time for FLUSH."""
        self._output.append(reply)
        self._output_size += len(reply)
        return self._output_size > _HIGH_WATER
