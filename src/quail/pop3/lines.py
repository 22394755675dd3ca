"""What a POP3 client sends, cut into command lines.

RFC 2449 section 4 allows 255 bytes for a command. Twice that is taken, because a password may be made of characters of
four bytes (RFC 6856), and no more, because a checkpassword gets name and password together in 512 bytes.
"""

MAX_LINE = 512  # with its line end
OVERLONG = b"\n"
"""What next() gives in place of a line that was too long: no line is like it."""


class Lines:
    """Lines end with CR LF or LF. Keeps MAX_LINE bytes of a line whose end has not come, and what was fed behind it."""

    __slots__ = ("_buffer", "_later", "_part", "_position")

    def __init__(self, data: bytes = b"") -> None:
        """`data` is what has come already."""
        self._buffer = data
        self._position = 0
        self._later: list[bytes] = []
        self._part = bytearray()  # of a line whose end has not come

    def feed(self, data: bytes) -> None:
        if self._position == len(self._buffer) and not self._later:
            self._buffer = data
            self._position = 0
        else:
            self._later.append(data)

    def next(self) -> bytes | None:
        """The next line without its end; OVERLONG for one that was too long; None: its end has not come."""
        while True:
            start = self._position
            end = self._buffer.find(b"\n", start)
            if end >= 0:
                line = self._buffer[start:end]
                self._position = end + 1
                if self._part:
                    line = bytes(self._part) + line
                    self._part.clear()
                if len(line) >= MAX_LINE:
                    return OVERLONG
                return line[:-1] if line[-1:] == b"\r" else line
            self._part += self._buffer[start : start + MAX_LINE - len(self._part)]
            self._buffer = b"".join(
                self._later
            )  # what has been dealt with is let go: a client may stay silent for long
            self._position = 0
            self._later.clear()
            if not self._buffer:
                return None

    @property
    def has_more(self) -> bool:
        """Whether there is something that has not been looked at yet."""
        return self._position < len(self._buffer) or bool(self._later)

    @property
    def overflowing(self) -> bool:
        """Whether the line that next() waits for is too long already."""
        return len(self._part) >= MAX_LINE

    def rest(self) -> bytes:
        """All that no line was made of; it is forgotten here."""
        data = b"".join((bytes(self._part), self._buffer[self._position :], *self._later))
        self._buffer = b""
        self._position = 0
        self._later.clear()
        self._part.clear()
        return data
