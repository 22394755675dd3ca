r"""A stored message as it is sent, and how large it is then (RFC 1939 sections 3 and 11).

Stored lines end with LF, those of some writers with CR LF: both are sent as CR LF. A CR anywhere else is sent as it is. The
last line gets its end if it has none. The size that STAT and LIST tell is that of this text, before dots are doubled,
without the final one. With `quirks` a message is sent as qmail-pop3d does: CR LF as CR CR LF, an empty line behind it all.
"""

_END = b".\r\n"
WHOLE = -1  # so many lines of the body: all


class Wire:
    """One message, in pieces: the same bytes however it is cut. `done`: the lines that are wanted have been sent."""

    __slots__ = ("_at_start", "_held", "_in_header", "_lines", "_quirks", "done")

    def __init__(self, lines: int = WHOLE, *, quirks: bool = False) -> None:
        """`lines` is TOP's number: so many lines of the body behind header and empty line."""
        self._lines = lines
        self._quirks = quirks
        self._in_header = True
        self._at_start = True  # of a line
        self._held = False  # a CR that has come last may belong to a line's end
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The next piece of the stored text; returns what can be sent of it."""
        if b"\r" in data or self._held:
            if self._held:
                data = b"\r" + data
                self._held = False
            if data[-1:] == b"\r":
                self._held = True
                data = data[:-1]
            if not self._quirks:
                data = data.replace(b"\r\n", b"\n")
        text = data.replace(b"\n", b"\r\n")
        if self._lines != WHOLE:
            text = self._cut(text)
        if not text:
            return b""
        starts = self._at_start
        self._at_start = text[-1:] == b"\n"
        if b"\n." in text:
            text = text.replace(b"\n.", b"\n..")
        return b"." + text if starts and text[:1] == b"." else text

    def finish(self) -> bytes:
        """What is left of the last line, and the dot."""
        rest = b"\r" if self._held and not self.done else b""
        if rest or not self._at_start:
            rest += b"\r\n"
        return rest + (b"\r\n" + _END if self._quirks else _END)

    def _cut(self, text: bytes) -> bytes:
        """As much of the text as TOP wants. No CR LF is parted in it: a CR at its end has been held back."""
        start = 0
        if self._in_header:
            if self._at_start and text[:2] == b"\r\n":
                start = 2
            else:
                empty = text.find(b"\r\n\r\n")
                if empty < 0:
                    return text
                start = empty + 4
            self._in_header = False
        left = self._lines
        end = start
        while left:
            found = text.find(b"\n", end)
            if found < 0:
                self._lines = left
                return text
            end = found + 1
            left -= 1
        self.done = True
        self._lines = 0
        return text[:end]


class Extra:
    """Counts by how much a message grows when it is sent: its size on the wire is that of the file and this."""

    __slots__ = ("_count", "_last")

    def __init__(self) -> None:
        self._count = 0
        self._last = b"\n"

    def feed(self, data: bytes) -> None:
        """The next piece of the stored text, not empty."""
        self._count += data.count(b"\n")
        if b"\r" in data:
            self._count -= data.count(b"\r\n")
        if self._last == b"\r" and data[:1] == b"\n":
            self._count -= 1
        self._last = data[-1:]

    @property
    def count(self) -> int:
        """Bytes, the missing end of the last line among them."""
        return self._count if self._last == b"\n" else self._count + 2
