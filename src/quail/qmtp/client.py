"""The client's side of QMTP (https://cr.yp.to/proto/qmtp.txt) without I/O.

A request is a head, the text in LF form, as it is stored, and a tail, so that the text can be streamed in between. The
server answers each recipient in order. More requests may follow on the connection, even without waiting.
"""

from _collections_abc import Iterable, Iterator

from quail.errors import PeerError
from quail.qmtp.netstring import netstring

MAX_REPLY = 65_536  # bytes of one reply; more is refused
MAX_TEXT = 5000  # bytes of one that are kept
ACCEPTED, LATER, NEVER = b"K", b"Z", b"D"
_LENGTH_DIGITS = len(str(MAX_REPLY))
_COMMA = ord(",")
_CLEAN = bytes((ord("?"), *range(1, 256)))


def request(sender: bytes, recipients: Iterable[bytes], size: int) -> tuple[bytes, bytes]:
    """What goes before and behind a text of `size` bytes whose lines end with LF. Addresses may be any bytes."""
    box = b"".join(map(netstring, recipients))
    # The LF in front says how lines end; it counts as part of the message.
    return b"%d:\n" % (size + 1), b"," + netstring(sender) + netstring(box)


class Replies:
    """The replies on one connection. Keeps at most one of MAX_REPLY bytes that has not come whole, and what was fed last.

    `left` is how many recipients have no answer yet: add to it for the next request.
    """

    __slots__ = ("_buffer", "left")

    def __init__(self, count: int) -> None:
        """`count` is the number of recipients of the first request."""
        self.left = count
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(ACCEPTED, LATER or NEVER; text without CR, with "?" for NUL, cut) for each recipient whose reply is whole.

        Nothing happens before it is iterated. PeerError, behind the good replies: this is no QMTP, or nobody asked for it.
        """
        self._buffer += data
        while reply := self._next():
            yield reply

    def _next(self) -> tuple[bytes, bytes] | None:
        buffer = self._buffer
        if not buffer:
            return None
        if not self.left:
            raise PeerError("more replies than recipients")
        digits, colon, _ = buffer[: _LENGTH_DIGITS + 1].partition(b":")
        if not digits.isdigit() or (not colon and len(digits) > _LENGTH_DIGITS):
            raise PeerError("a reply is no netstring")
        if not colon:
            return None
        length = int(digits)
        if not 0 < length <= MAX_REPLY:
            raise PeerError(f"a reply of {length} bytes")
        start = len(digits) + 1
        letter = bytes(buffer[start : start + 1])
        if letter and letter not in (ACCEPTED, LATER, NEVER):
            raise PeerError("a reply starts with none of K, Z, D")
        end = start + length
        if end >= len(buffer):
            return None
        if buffer[end] != _COMMA:
            raise PeerError("a reply is no netstring")
        text = bytes(buffer[start + 1 : end]).translate(_CLEAN, b"\r")[:MAX_TEXT]
        del buffer[: end + 1]
        self.left -= 1
        return letter, text
