"""The client's side of QMQP (https://cr.yp.to/proto/qmqp.html) without I/O: one message, one reply.

A request is a head, the message as it is stored, and a tail, so that the message can be streamed in between.
"""

from _collections_abc import Iterable

from quail.errors import PeerError
from quail.qmtp.netstring import netstring

ACCEPTED, LATER, NEVER = b"K", b"Z", b"D"
_MAX_DIGITS = 10  # of a reply's length
_DIGITS = b"0123456789"


def request(sender: bytes, recipients: Iterable[bytes], size: int) -> tuple[bytes, bytes]:
    """What goes before and behind a message of `size` bytes. Addresses may be any bytes."""
    tail = b"," + netstring(sender) + b"".join(map(netstring, recipients))
    head = b"%d:" % size
    return b"%d:%b" % (len(head) + size + len(tail), head), tail + b","


class Reply:
    """The reply, of which the letter alone is looked at, as qmail-qmqpc does. Keeps nothing but a count."""

    __slots__ = ("_colon", "_digits")

    def __init__(self) -> None:
        self._digits = 0
        self._colon = False

    def feed(self, data: bytes) -> bytes | None:
        """ACCEPTED, LATER or NEVER once it is known. PeerError if this is no reply of a QMQP server.

        qmail-qmqpc takes the first K, Z or D wherever it is, so that "220 Kiel ESMTP" would do.
        """
        for at in range(len(data)):
            byte = data[at : at + 1]
            if self._colon:
                if byte not in (ACCEPTED, LATER, NEVER):
                    raise PeerError("the reply starts with none of K, Z, D")
                return byte
            if byte == b":" and self._digits:
                self._colon = True
            elif byte in _DIGITS and self._digits < _MAX_DIGITS:
                self._digits += 1
            else:
                raise PeerError("the reply is no netstring")
        return None
