"""The header of a message as it comes from a program of this machine: its fields, and where the body begins.

Lines end with LF. A field is a name of bytes 33 to 126, blanks perhaps, a colon, and the rest of its line with the lines
after it that begin with a blank or a tab (RFC 5322 s2.2). The header ends at an empty line, or at a line that is no field:
that one is the body's first. A line `From ...`, as mbox files have, becomes a field MBOX-Line (qmail-header(5)).

Programs that end lines with CR LF, at least those of the header, as PHP's mail() does, have their CR kept in fields; the empty
line is an empty line all the same, and not a line of the body that nobody has written and no DKIM signature covers.
"""

from quail.errors import PermanentError

MAX_HEADER = 8 << 20  # bytes; as much as an envelope of the queue may have
MAX_NAME = 998  # bytes before the colon; RFC 5322 s2.1.1 has no longer line

_NAME = bytes(byte for byte in range(33, 127) if byte != ord(":"))
_EMPTY = (b"\n", b"\r\n")


class Field:
    """One field. name: in lower case; spelling: as it came; text: all of it, with the LF at its end."""

    __slots__ = ("name", "spelling", "text")

    def __init__(self, spelling: bytes, text: bytes) -> None:
        """`text` begins with the spelling, and has a colon."""
        self.name = spelling.lower()
        self.spelling = spelling
        self.text = text

    def body(self) -> bytes:
        """What is after the colon."""
        return self.text.partition(b":")[2]


class Splitter:
    """Takes a message in pieces of any size, until its header is whole. Nothing of the body is kept."""

    __slots__ = ("_line", "_lines", "_size", "_spelling", "fields")

    def __init__(self) -> None:
        self.fields: list[Field] = []
        """Whole once feed() or finish() has returned bytes."""
        self._spelling = b""
        self._lines: list[bytes] = []  # of the last field, which may go on
        self._line = bytearray()  # the beginning of a line
        self._size = 0

    def feed(self, data: bytes) -> bytes | None:
        """None as long as the header goes on; then what is there of the body, with the empty line before it.

        PermanentError if the header is longer than MAX_HEADER.
        """
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            line = data[start:end]
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            if not self._goes_on(line):
                return self._end(line, data[end:])
            start = end
        old = len(self._line)
        self._line += data[start:]
        if len(self._line) > MAX_NAME:
            if old <= MAX_NAME and not self._could_be_header():
                return self._end(bytes(self._line), b"")
            self._bound(len(self._line))
        return None

    def finish(self) -> bytes:
        """The message has ended within its header: what is there of the body after all. A last line gets its LF."""
        line = bytes(self._line)
        if line and not self._goes_on(line + b"\n"):
            return self._end(line + b"\n", b"")
        self._close()
        return b""

    def _goes_on(self, line: bytes) -> bool:
        """Take one whole line, unless the header has ended before it."""
        if line[0] in b" \t":
            if not self._lines:
                return False
            self._lines.append(line)
        elif line[:5] == b"From ":
            self._open(b"MBOX-Line", b"MBOX-Line: " + line)
        else:
            spelling = _name(line)
            if not spelling:
                return False
            self._open(spelling, line)
        self._bound(len(line))
        self._size += len(line)
        return True

    def _could_be_header(self) -> bool:
        """Whether the beginning of a line, longer than a name may be, is one of a line of the header."""
        if self._line[0] in b" \t":
            return bool(self._lines)
        return self._line[:5] == b"From " or bool(_name(bytes(self._line)))

    def _bound(self, more: int) -> None:
        if self._size + more > MAX_HEADER:
            raise PermanentError(f"header is longer than {MAX_HEADER} bytes")

    def _open(self, spelling: bytes, line: bytes) -> None:
        self._close()
        self._spelling = spelling
        self._lines.append(line)

    def _close(self) -> None:
        if self._lines:
            self.fields.append(Field(self._spelling, b"".join(self._lines)))
            self._lines.clear()

    def _end(self, line: bytes, rest: bytes) -> bytes:
        self._close()
        return (b"\n" if line in _EMPTY else b"\n" + line) + rest


def _name(line: bytes) -> bytes:
    """The name that a field's first line begins with; empty if it is not one."""
    colon = line.find(b":", 0, MAX_NAME + 1)
    name = line[:colon].rstrip(b" \t") if colon > 0 else b""
    return b"" if name.translate(None, _NAME) else name
