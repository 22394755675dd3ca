"""Netstrings (https://cr.yp.to/proto/netstrings.txt) out of a stream, without I/O, and those that lie within another.

What is asked for is taken out of what has come; None, False or b"" says that more must come first. Nothing is kept but what
was fed last and has not been taken.
"""

from quail.errors import PeerError

MAX_LENGTH = 200_000_000  # bytes of a netstring; qmail's servers take no longer one
_MAX_DIGITS = len(str(MAX_LENGTH))
_DIGITS = b"0123456789"
_COMMA = ord(",")
_OVER = "a netstring within another is longer than that"


class TooLongError(PeerError):
    """More than any netstring may have. It follows the format, but not our limits."""


def netstring(data: bytes) -> bytes:
    """The bytes as a netstring."""
    return b"%d:%b," % (len(data), data)


class Netstrings:
    """A stream that is read in turns of length(), some() for all of its bytes, comma().

    `left`: how many bytes the netstring that enter() has opened still has; -1 outside of one.
    """

    __slots__ = ("_buffer", "_later", "_number", "_position", "ended", "left")

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._later: list[bytes] = []
        self._number = 0  # the digits of a length that has not come whole
        self.ended = False
        self.left = -1

    def receive(self, data: bytes) -> None:
        """More of the stream; b"" ends it."""
        if not data:
            self.ended = True
        elif self._position == len(self._buffer) and not self._later:
            self._buffer = data
            self._position = 0
        else:
            self._later.append(data)

    def forget(self) -> None:
        """Let go of what has not been taken; it will not be."""
        self._buffer = b""
        self._position = 0
        self._later.clear()

    @property
    def has_more(self) -> bool:
        """Whether something is there that has not been taken."""
        return self._position < len(self._buffer) or bool(self._later)

    def _end(self) -> int:
        """How far the buffer may be looked at; it is filled again where nothing is left of it."""
        if self._position == len(self._buffer):
            # What has been taken is let go: a peer may stay silent for long, and there are thousands of them.
            self._buffer = b"".join(self._later) if self._later else b""
            self._position = 0
            self._later.clear()
        end = len(self._buffer)
        return end if self.left < 0 else min(end, self._position + self.left)

    def _take(self, end: int) -> None:
        if self.left >= 0:
            self.left -= end - self._position
        self._position = end

    def enter(self, length: int) -> None:
        """What follows is within a netstring of this length, whose own length has been taken."""
        assert self.left < 0
        self.left = length

    def leave(self) -> None:
        """All of it has been taken but for its comma."""
        assert self.left == 0
        self.left = -1

    def length(self) -> int | None:
        """Of the next netstring. No digit at all is 0, and digits may begin with 0, as with qmail's servers.

        PeerError, TooLongError, for what is no length, or does not fit into the netstring around it.
        """
        end = self._end()
        start = self._position
        buffer = self._buffer
        colon = buffer.find(b":", start, end)
        stop = end if colon < 0 else colon
        digits = buffer[start:stop]
        if digits:
            self._add(digits)
        if colon < 0:
            self._take(end)
            if self.left == 0:
                raise PeerError(_OVER)
            return None
        self._take(colon + 1)
        number, self._number = self._number, 0
        if 0 <= self.left <= number:
            raise PeerError(_OVER)
        return number

    def _add(self, digits: bytes) -> None:
        """More of a length. Whatever comes first in it is what is wrong with it."""
        rest = digits.lstrip(_DIGITS)
        good = digits[: len(digits) - len(rest)]
        if not self._number:
            good = good.lstrip(b"0")
        if len(good) <= _MAX_DIGITS:
            self._number = self._number * 10 ** len(good) + int(good or b"0")
        if len(good) > _MAX_DIGITS or self._number > MAX_LENGTH:
            raise TooLongError(f"a netstring of more than {MAX_LENGTH} bytes")
        if rest:
            raise PeerError("the length of a netstring is not a number")

    def some(self, most: int) -> bytes:
        """The next bytes of a netstring, at most so many; none have come if it is empty."""
        end = self._end()
        start = self._position
        end = min(end, start + most)
        self._take(end)
        return self._buffer if start == 0 and end == len(self._buffer) else self._buffer[start:end]

    def comma(self) -> bool:
        """Take the comma behind a netstring. PeerError if something else is there."""
        end = self._end()
        start = self._position
        if start == end:
            return False
        if self._buffer[start] != _COMMA:
            raise PeerError("a netstring does not end with a comma")
        self._take(start + 1)
        return True
