"""The server's side of QMQP (https://cr.yp.to/proto/qmqp.html) as a machine without I/O; quail.qmtp.exchange says how to drive
it.

A client sends one message, with its sender and recipients, all in one netstring, and hears one reply. Whoever may connect may
send mail to anybody: there are no lists to look at here.

Where this differs from qmail-qmqpd, and why: hops are counted, since two hosts may each be the other's QMQP server; and there
are limits on recipients, those of our queue.
"""

from quail.qmtp.exchange import Exchange
from quail.qmtp.netstring import netstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from quail.qmtp.exchange import Steps

# What the queue takes in one message (docs/formats/handover.md).
MAX_RECIPIENTS = 100_000
MAX_ENVELOPE = 8 << 20  # bytes, two more for each address than it has

_UNFIT = b"Dsorry, I can't accept addresses like that (#5.1.3)"
_TOO_MANY = b"Dtoo many recipients (#5.5.3)"


class Session(Exchange):
    """One connection."""

    __slots__ = ()

    def _run(self) -> "Steps[None]":
        yield from self._idle()
        all_of_it = self._input
        all_of_it.enter((yield from self._length()))
        length = yield from self._length()
        yield self._begin()
        yield from self._text(length)
        yield from self._comma()
        sender = yield from self._address()
        recipients = yield from self._recipients(sender)
        all_of_it.leave()
        yield from self._comma()
        if self._open:
            answer = yield from self._handed_over(sender or b"", recipients)
        else:
            answer = self._answer or b""
        self._say(netstring(answer))
        self._end("done")

    def _recipients(self, sender: bytes | None) -> "Steps[list[bytes]]":
        recipients: list[bytes] = []
        room = MAX_ENVELOPE - 1 - len(sender or b"") - 2
        if sender is None and self._open:
            yield self._refuse(_UNFIT)
        while self._input.left:
            address = yield from self._address()
            if not self._open:
                recipients.clear()
                continue
            if address is None:
                yield self._refuse(_UNFIT)
                continue
            recipients.append(address)
            room -= len(address) + 2
            if room < 0 or len(recipients) > MAX_RECIPIENTS:
                yield self._refuse(_TOO_MANY)
        return recipients
