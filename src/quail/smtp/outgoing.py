r"""The text of a message on its way out: what goes between 354 and the final dot (RFC 5321 sections 2.3.8, 4.5.2).

Stored text ends its lines with LF and may hold anything. LF, CR LF and a lone CR all go out as CR LF, the last line gets
one if it has none, and a dot is doubled behind every line break that goes out, whatever it was before. (netqmail's
successors leave the dot behind a lone CR single, so that `\r.\r\n` in a text ends the message and the rest of the text is
commands: SMTP smuggling.) NUL and bytes of 8 bits pass.
"""

_LF, _CR, _DOT = b"\n\r."


class Encoder:
    """One message, in pieces: the same bytes however it is cut."""

    __slots__ = ("_after_cr", "_at_start")

    def __init__(self) -> None:
        self._at_start = True  # of a line
        self._after_cr = False  # a LF that comes now belongs to the line break that has gone out already

    def feed(self, data: bytes) -> bytes:
        """The next piece of the stored text; returns what can be sent of it."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if not data:
            return b""
        if b"\r" in data:
            self._after_cr = data[-1] == _CR
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        out = data.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        if self._at_start and data[0] == _DOT:
            out = b"." + out
        self._at_start = data[-1] == _LF
        return out

    def finish(self) -> bytes:
        """The end of the last line, if it had none. The final dot is not part of it."""
        return b"" if self._at_start else b"\r\n"


def encode(body: bytes) -> bytes:
    """A whole text as it is sent, without the final dot."""
    encoder = Encoder()
    return encoder.feed(body) + encoder.finish()
