"""The client's side of QMTP (https://cr.yp.to/proto/qmtp.txt) without I/O.

A request is a head, the text in LF form, as it is stored, and a tail, so that the text can be streamed in between. The
server answers each recipient in order. More requests may follow on the connection without waiting; then a Replies for
each, fed one after the other.
"""

from _collections_abc import Iterable

from quail.errors import PeerError

MAX_REPLY = 65_536  # bytes of one reply; more is refused
MAX_TEXT = 5000  # bytes of one that are kept
ACCEPTED, LATER, NEVER = b"K", b"Z", b"D"
_LENGTH_DIGITS = len(str(MAX_REPLY))
_CLEAN = bytes((ord("?"), *range(1, 256)))


def request(sender: bytes, recipients: Iterable[bytes], size: int) -> tuple[bytes, bytes]:
    """What goes before and behind a text of `size` bytes whose lines end with LF. Addresses may be any bytes."""
    box = b"".join(map(_netstring, recipients))
    # The LF in front says how lines end; it counts as part of the message.
    return b"%d:\n" % (size + 1), b"," + _netstring(sender) + _netstring(box)


def _netstring(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)


class Replies:
    """The replies to one request. Keeps at most one reply of MAX_REPLY bytes that has not come whole."""

    __slots__ = ("_buffer", "left")

    def __init__(self, count: int) -> None:
        """`count` recipients; `left` are those without an answer."""
        self.left = count
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """(ACCEPTED, LATER or NEVER; text without CR, with "?" for NUL, cut) for each recipient whose reply is whole.

        PeerError, and nothing of `data` is told: it is no QMTP, or more than was asked for.
        """
        buffer = self._buffer
        buffer += data
        found = []
        start = 0
        while start < len(buffer):
            if not self.left:
                raise PeerError("more replies than recipients")
            colon = buffer.find(b":", start, start + _LENGTH_DIGITS + 1)
            digits = buffer[start:colon] if colon >= 0 else buffer[start : start + _LENGTH_DIGITS + 1]
            if not digits.isdigit() or (colon < 0 and len(digits) > _LENGTH_DIGITS):
                raise PeerError("a reply is no netstring")
            if colon < 0:
                break
            length = int(digits)
            if not 0 < length <= MAX_REPLY:
                raise PeerError(f"a reply of {length} bytes")
            letter = bytes(buffer[colon + 1 : colon + 2])
            if letter and letter not in (ACCEPTED, LATER, NEVER):
                raise PeerError("a reply starts with none of K, Z, D")
            end = colon + 1 + length
            if end >= len(buffer):
                break
            if buffer[end] != ord(","):
                raise PeerError("a reply is no netstring")
            text = bytes(buffer[colon + 2 : end]).translate(_CLEAN, b"\r")[:MAX_TEXT]
            found.append((letter, text))
            self.left -= 1
            start = end + 1
        del buffer[:start]
        return found
