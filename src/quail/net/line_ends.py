r"""Line ends of a stream that comes in pieces: filters that add and drop the CR of a line, and text for a terminal.

A filter has feed(data), which gives what is known of the stream so far, and close(), which gives what it held back. However a
stream is cut into pieces, the same bytes come out; no filter holds more than one of them.
"""


class Plain:
    """Lets everything through."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """The next piece, filtered."""
        return data

    def close(self) -> bytes:
        """What is left at the end of the stream."""
        return b""


class AddCr(Plain):
    """A CR before each LF, also where there is one."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """The next piece, filtered."""
        return data.replace(b"\n", b"\r\n")


class DelCr(Plain):
    """No CR directly before an LF: one of them goes, others stay."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next piece, filtered."""
        data = self._held + data
        self._held = b"\r" if data[-1:] == b"\r" else b""
        return data[: len(data) - len(self._held)].replace(b"\r\n", b"\n")

    def close(self) -> bytes:
        """What is left at the end of the stream."""
        held, self._held = self._held, b""
        return held


class FixCr(Plain):
    """A CR before each LF that has none."""

    __slots__ = ("_after_cr",)

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, data: bytes) -> bytes:
        """The next piece, filtered."""
        if not data:
            return b""
        whole = b"\n" if self._after_cr and data[:1] == b"\n" else b""
        self._after_cr = data[-1:] == b"\r"
        return whole + data[len(whole) :].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Visible(Plain):
    """Text that does nothing to a terminal, in the notation of `cat -v`: all but LF and tab is printable."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """The next piece, filtered."""
        if data.isascii() and not data.translate(None, _SHOWN):
            return data
        return b"".join([_VISIBLE[byte] for byte in data])


_SHOWN = bytes(range(32, 127)) + b"\t\n"


def _visible(byte: int) -> bytes:
    if byte >= 128:
        byte -= 128
        prefix = b"M-"
    elif byte in b"\t\n":
        return bytes([byte])
    else:
        prefix = b""
    if byte < 32 or byte == 127:
        return prefix + b"^%c" % (byte ^ 64)
    return prefix + bytes([byte])


_VISIBLE = [_visible(byte) for byte in range(256)]


class Body(Plain):
    """What an HTTP server sends after its header: the lines after the first empty one, as far as they are not empty.

    The stream has lines that end with LF alone; what comes out does so too, the last line also.
    """

    __slots__ = ("_at_start", "_inside")

    def __init__(self) -> None:
        self._inside = False
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """The next piece, filtered."""
        if not data:
            return b""
        at = 0
        if not self._inside:
            at = 0 if self._at_start and data[:1] == b"\n" else data.find(b"\n\n")
            if at < 0:
                self._at_start = data[-1:] == b"\n"
                return b""
            self._inside = self._at_start = True
        rest = data[at:].lstrip(b"\n") if self._at_start else data
        if rest:
            self._at_start = rest[-1:] == b"\n"
        while b"\n\n" in rest:
            rest = rest.replace(b"\n\n", b"\n")
        return rest

    def close(self) -> bytes:
        """What is left at the end of the stream."""
        return b"\n" if self._inside and not self._at_start else b""


def joined(*filters: Plain) -> Plain:
    """One filter of several, the first of which gets the stream."""
    return _Joined(filters)


class _Joined(Plain):
    __slots__ = ("_filters",)

    def __init__(self, filters: tuple[Plain, ...]) -> None:
        self._filters = filters

    def feed(self, data: bytes) -> bytes:
        for each in self._filters:
            data = each.feed(data)
        return data

    def close(self) -> bytes:
        left = b""
        for each in self._filters:
            left = each.feed(left) + each.close()
        return left
