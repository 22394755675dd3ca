"""What a server answers: replies of one line or many (RFC 5321 section 4.2), read from bytes however they are cut.

The code of the first line counts, as in qmail-remote. Tolerated: LF without CR, a code without text behind it, other
codes in later lines. Nothing that a server sends makes more be kept than MAX_TEXT bytes of a reply.
"""

from quail.errors import PeerError

MAX_TEXT = 5000  # bytes of a reply that are kept: qmail's, for a bounce
MAX_REPLY = 1 << 20  # bytes of a reply that are read
_CLEAN = bytes((ord("?"), *range(1, 256)))


class Reply:
    """`code` is 200 to 599; `text` is all lines with their codes, joined by LF, without CR, with "?" for NUL, cut."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: bytes) -> None:
        self.code = code
        self.text = text

    def __repr__(self) -> str:
        return f"Reply({self.code}, {self.text!r})"


class Replies:
    """The replies on one connection. Call next() until it returns None after each feed()."""

    __slots__ = ("_buffer", "_code", "_part", "_position", "_size", "_text")

    def __init__(self) -> None:
        self._buffer = b""  # fed and, from _position on, not yet looked at
        self._position = 0
        self._part = b""  # of a line whose LF has not come, cut
        self._size = 0  # bytes of the present reply that were looked at
        self._code = 0  # of the present reply once its first line is there
        self._text = b""  # the present reply's lines so far, cut

    @property
    def pending(self) -> bool:
        """Whether bytes were fed that belong to no reply that next() has given out."""
        return self._size > 0 or self._position < len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self._position == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._position :] + data
        self._position = 0

    def next(self) -> Reply | None:
        """The next reply; None: more bytes are needed. PeerError: this is not SMTP, and what follows has no meaning."""
        buffer = self._buffer
        start = self._position
        while (end := buffer.find(b"\n", start)) >= 0:
            line = buffer[start : min(end, start + MAX_TEXT)]
            if self._part:
                line = (self._part + line)[:MAX_TEXT]
                self._part = b""
            self._position = end + 1
            self._size += end + 1 - start
            start = end + 1
            if self._size > MAX_REPLY:
                raise PeerError("a reply without end")
            line = line.rstrip(b"\r")
            mark = line[3:4]
            if len(line) < 3 or not line[:3].isdigit() or mark not in b" -":
                raise PeerError(f"not a reply: {_shown(line)}")
            code = self._code
            if code:
                text = self._text
                if len(text) < MAX_TEXT:
                    text = (text + b"\n" + line.translate(_CLEAN, b"\r"))[:MAX_TEXT]
            else:
                code = int(line[:3])
                if not 200 <= code <= 599:
                    raise PeerError(f"not a reply: {_shown(line)}")
                text = line.translate(_CLEAN, b"\r")
            if mark != b"-":
                self._size = self._code = 0
                self._text = b""
                if start == len(buffer):
                    self._buffer = b""  # a connection may be idle for long, and there are thousands of them
                    self._position = 0
                return Reply(code, text)
            self._code = code
            self._text = text
        if start < len(buffer):
            self._size += len(buffer) - start
            if self._size > MAX_REPLY:
                raise PeerError("a reply without end")
            if len(self._part) < MAX_TEXT:
                self._part = (self._part + buffer[start : start + MAX_TEXT])[:MAX_TEXT]
        self._buffer = b""
        self._position = 0
        return None


def _shown(line: bytes) -> str:
    return repr(line[:60]).removeprefix("b")
