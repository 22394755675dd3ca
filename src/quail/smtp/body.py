r"""What comes between DATA and CR LF . CR LF: framing, dots, line ends, limits.

Only CR LF . CR LF ends a message (RFC 5321 section 4.1.1.4). A CR without LF or a LF without CR anywhere is a fault
(section 2.3.8), for other servers might see an end there that we do not see. After a fault the rest is swallowed to the
true end, so that we stay in step with the peer.

Speed: each chunk is taken by a handful of bytes methods. `splitlines` breaks a chunk at CR LF, CR and LF alike; joined
with LF the text must have lost exactly one byte a line break: then every break was a CR LF. The search for CR LF dot
finds the end and, on the way, learns whether any line starts with a dot. When a chunk has a fault it is taken again in
halves, down to the byte that did it, so that the first fault wins however the peer's bytes were cut into pieces; that
costs the chunk twice more, once.
"""

from quail.message.hops import SAFE_HEADER, HopCounter

BARE_LF = "bare LF"
BARE_CR = "bare CR"
LINE_TOO_LONG = "line too long"
TOO_MANY_HOPS = "too many hops"
TOO_BIG = "message too big"

_LF, _CR, _DOT = b"\n\r."


class Body:
    """One message's way in. Holds back two bytes at most; sizes are those of the text as it will be stored, with LF.

    After each feed: `fault` is None or one of the texts above, and `rest` is -1 or, when the message has ended, the
    offset in the fed data of the first byte behind it.
    """

    __slots__ = ("_at_start", "_held", "_hops", "_line", "_max_line", "_max_size", "_size", "fault", "rest")

    def __init__(self, max_size: int, max_line: int) -> None:
        """`max_size` in bytes as stored; `max_line` in bytes without the line end and the stuffed dot."""
        self._max_size = max_size
        self._max_line = max_line
        self._held = b""  # the bytes that may yet belong to a CR LF or to the end
        self._at_start = True  # of a line
        self._line = 0  # bytes of the present line so far
        self._size = 0
        self._hops: HopCounter | None = HopCounter()  # while in the header
        self.fault: str | None = None
        self.rest = -1

    def feed(self, data: bytes, at: int = 0) -> bytes:
        """Take data[at:] (not empty), up to the end of the message; returns the text with LF line ends, b"" after a fault.

        `at` is not 0 only when a new message begins there.
        """
        held = self._held
        text = held + data if held else data if not at else _one_message(data, at)
        start = 0
        if self._at_start and text[0] == _DOT:
            if text.startswith(b".\r\n"):
                self.rest = at + 3 - len(held)
                return b""
            if text in (b".", b".\r"):
                self._held = text
                return b""
            start = 1
        dots = False
        end = text.find(b"\r\n.", start)
        if end >= 0 and text[end + 3 : end + 5] != b"\r\n":
            dots = True
            end = text.find(b"\r\n.\r\n", end + 3)
        if end >= 0:
            stop = end + 2
            rest = at + end + 5 - len(held)
        else:
            rest = -1
            last = text[-1]
            stop = len(text)
            if last == _CR:
                stop -= 2 if text.endswith(b"\r\n.\r") else 1
            elif last == _DOT and dots and text.endswith(b"\r\n."):
                stop -= 1
        if stop == start:
            self._held = text[stop:]
            return b""
        if self.fault is not None:
            self._held = text[stop:] if rest < 0 else b""
            self._at_start = text[stop - 1] == _LF and text[stop - 2 : stop] == b"\r\n"
            self.rest = rest
            return b""
        raw = text[start:stop]
        if dots:
            raw = raw.replace(b"\r\n.", b"\r\n")
        lines = raw.splitlines()
        last = raw[-1]
        if last == _LF:
            lines.append(b"")
        out = b"\n".join(lines)
        if last == _CR or len(raw) - len(out) != len(lines) - 1:
            return self._find_fault(data, at, rest, BARE_LF if data[at] == _LF else BARE_CR)
        size = self._size + len(out)
        if size > self._max_size:
            return self._find_fault(data, at, rest, TOO_BIG)
        line = self._line + len(out)
        if line > self._max_line and max(self._line + len(lines[0]), len(max(lines, key=len))) > self._max_line:
            return self._find_fault(data, at, rest, LINE_TOO_LONG)
        if self._hops is not None:
            cut = out.find(b"\n\n") if self._size == 0 else -1
            if 0 <= cut < SAFE_HEADER:
                self._hops = None
            elif not self._hops.feed(out):
                return self._find_fault(data, at, rest, TOO_MANY_HOPS)
            elif self._hops.is_done:
                self._hops = None
        if len(lines) > 1:
            line = len(lines[-1])
        self._line = line
        self._at_start = line == 0
        self._size = size
        self._held = text[stop:] if rest < 0 else b""
        self.rest = rest
        return out

    def _find_fault(self, data: bytes, at: int, rest: int, kind: str) -> bytes:
        """Nothing of data[at:] was taken yet and a fault is in it: take it in halves; one byte alone is at fault itself."""
        stop = rest if rest >= 0 else len(data)
        if stop - at > 1:
            middle = (at + stop) // 2
            self.feed(data[at:middle])
            self.feed(data[middle:stop])
        else:
            self.fault = kind
            self.feed(data[at:stop])
        self.rest = rest
        return b""


def _one_message(data: bytes, at: int) -> bytes:
    """data[at:], but not all the other messages that a client may have sent along with this one."""
    end = at - 2 if data.startswith(b".\r\n", at) else data.find(b"\r\n.\r\n", at)
    return data[at:] if end < 0 else data[at : end + 5]
