"""From what is read to lines. Pure: bytes in, pieces out, at most a line's first 1000 bytes kept.

Lines come in blocks, as many as have arrived. A longer one is a piece of its own as soon as its first 1000 bytes, which decide
what becomes of it, are there; the rest of it follows as it comes.
"""

from quail.supervise.multilog.selection import LOOKED_AT

BLOCK, LONG, MORE = range(3)
"""A BLOCK is whole lines of at most 1000 bytes, each with its line feed. LONG is one line, or its first 1000 bytes or more, and
MORE is what goes on with it. Where the line ends they have its line feed."""

Piece = tuple[int, bytes]


class Splitter:
    """One input."""

    __slots__ = ("_inside", "_partial")

    def __init__(self) -> None:
        """At the beginning of a line."""
        self._partial = b""  # of a line, with its stamp
        self._inside = False  # a long one, whose beginning is out

    def feed(self, data: bytes, stamp: bytes = b"") -> list[Piece]:
        """What data completes. `stamp` goes before each line whose first byte is in it."""
        pieces: list[Piece] = []
        if self._inside:
            end = data.find(b"\n") + 1
            if not end:
                return [(MORE, data)]
            pieces.append((MORE, data[:end]))
            data = data[end:]
            self._inside = False
        if not data:
            return pieces
        if stamp:
            begun = self._partial or stamp
            stamped = data.replace(b"\n", b"\n" + stamp)
            data = begun + (stamped[: -len(stamp)] if data[-1:] == b"\n" else stamped)
        else:
            data = self._partial + data
        end = data.rfind(b"\n") + 1
        _cut(data[:end] if end < len(data) else data, end, pieces)
        self._partial = data[end:]
        if len(self._partial) >= LOOKED_AT:
            pieces.append((LONG, self._partial))
            self._partial, self._inside = b"", True
        return pieces

    def finish(self) -> list[Piece]:
        """The end of the input; a line without a line feed gets one."""
        pieces: list[Piece] = []
        if self._inside:
            pieces.append((MORE, b"\n"))
        elif self._partial:
            pieces.append((BLOCK, self._partial + b"\n"))
        self._partial, self._inside = b"", False
        return pieces


def _cut(lines: bytes, size: int, pieces: list[Piece]) -> None:
    """Whole lines, into blocks and long ones. Looks every 1000 bytes for a line feed, not at every line."""
    start = at = 0
    while size - at > LOOKED_AT + 1:
        feed = lines.rfind(b"\n", at, at + LOOKED_AT + 1)
        if feed >= 0:
            at = feed + 1
            continue
        if at > start:
            pieces.append((BLOCK, lines[start:at]))
        start = lines.find(b"\n", at) + 1
        pieces.append((LONG, lines[at:start]))
        at = start
    if start < size:
        pieces.append((BLOCK, lines[start:] if start else lines))
