"""The server's side of QMTP (https://cr.yp.to/proto/qmtp.txt) as a machine without I/O, driven as quail.qmtp.exchange says.

A client sends a message, a sender and recipients, and hears about each recipient, in order; then the next, or without
waiting. The first byte of the message says how its lines end: LF, or CR for CR LF.

Where this differs from qmail-qmtpd, and why:
- Header fields that count as hops are counted, as in SMTP: a message that circles among QMTP servers comes to an end.
- Local recipients who do not exist are refused while the client waits, so that no bounce goes to a forged sender.
- Recipients beyond the limit are put off (`Z`), each of them, instead of being kept in any number.
- Without control/rcpthosts nobody's mail is taken; qmail takes everybody's (quail.policy).
"""

from _collections_abc import Callable

from quail.errors import PeerError, TemporaryError
from quail.qmtp.exchange import FLUSH, MAX_ADDRESS, Exchange
from quail.qmtp.netstring import netstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from quail.qmtp.exchange import Event, Steps

_NO_RELAY = b"Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
_UNFIT = b"Dsorry, I can't handle that recipient (#5.1.3)"
_BAD_SENDER = b"Dunacceptable sender (#5.1.7)"
_TOO_MANY = b"Zsorry, too many recipients; the others in a message of their own (#4.5.3)"
_TROUBLE = b"Zsorry, trouble reading my lists; try again later (#4.3.0)"


def _nobody(_: bytes) -> bool:
    return False


class Settings:
    """What one connection is served with.

    databytes counts the text as stored, with LF; 0 is any size. relayclient is appended to each recipient, and with it
    accepts_host is not asked. accepts_host gets the bytes behind the last @ as they came; it may raise TemporaryError.
    check_recipients says whether the driver is asked about each recipient. max_recipients counts the refused ones too.
    """

    __slots__ = ("accepts_host", "check_recipients", "databytes", "max_recipients", "relayclient")

    def __init__(
        self,
        *,
        databytes: int = 0,
        relayclient: bytes | None = None,
        accepts_host: Callable[[bytes], bool] = _nobody,
        max_recipients: int = 1000,
        check_recipients: bool = False,
    ) -> None:
        """Shared by connections whose settings are the same: nothing in it changes."""
        self.databytes = databytes
        self.relayclient = relayclient
        self.accepts_host = accepts_host
        self.max_recipients = max_recipients
        self.check_recipients = check_recipients


class Session(Exchange):
    """One connection."""

    __slots__ = ("_settings",)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def _run(self) -> "Steps[None]":
        while True:
            yield from self._idle()
            length = yield from self._length()
            if not length:
                raise PeerError("a message without a byte that says how its lines end")
            first = yield from self._bytes(1)
            if first not in (b"\n", b"\r"):
                raise PeerError("a message begins with neither LF nor CR")
            yield self._begin()
            yield from self._text(length - 1, dos=first == b"\r", limit=self._settings.databytes)
            yield from self._comma()
            sender = yield from self._address()
            if sender is None and self._answer is None:
                yield self._refuse(_BAD_SENDER)
            verdicts, more, accepted = yield from self._recipients()
            if not self._open:
                answer = self._answer or b""
            elif accepted:
                answer = yield from self._handed_over(sender or b"", accepted)
            else:
                answer = b""  # which nobody hears: each recipient has a refusal of its own
                yield self._refuse(answer, "no recipient is taken")
            yield from self._reply(verdicts, more, answer)

    def _recipients(self) -> "Steps[tuple[list[bytes | None], int, list[bytes]]]":
        """What each recipient is refused with, None for good ones; how many more there are; and the good ones."""
        settings = self._settings
        longest = MAX_ADDRESS - len(settings.relayclient or b"")
        verdicts: list[bytes | None] = []
        accepted: list[bytes] = []
        more = 0
        box = self._input
        box.enter((yield from self._length()))
        while box.left:
            address = yield from self._address(longest)
            if len(verdicts) >= settings.max_recipients:
                more += 1
                continue
            refusal: bytes | None = _UNFIT
            if address is not None:
                address += settings.relayclient or b""
                refusal = self._refusal(address)
                if refusal is None and settings.check_recipients and self._open:
                    refusal = yield from self._judged(address)
                if refusal is None:
                    accepted.append(address)
            verdicts.append(refusal)
        box.leave()
        yield from self._comma()
        return verdicts, more, accepted

    def _refusal(self, address: bytes) -> bytes | None:
        """As far as it can be told here."""
        settings = self._settings
        if settings.relayclient is not None or b"@" not in address:
            return None
        try:
            return None if settings.accepts_host(address[address.rindex(b"@") + 1 :]) else _NO_RELAY
        except TemporaryError:
            return _TROUBLE

    def _reply(self, verdicts: list[bytes | None], more: int, answer: bytes) -> "Steps[None]":
        shared = netstring(answer)
        flush: Event = (FLUSH,)
        for refusal in verdicts:
            if self._say(shared if refusal is None else netstring(refusal)):
                yield flush
        if more:
            late = netstring(_TOO_MANY)
            for _ in range(more):
                if self._say(late):
                    yield flush
