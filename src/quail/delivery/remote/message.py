"""A message on its way out: its envelope, and its text as stored, inline or in a file."""

import os
from _collections_abc import Iterator

from quail.smtp.outgoing import Encoder, encode
from quail.storage.memory import memory_file

CHUNK = 1 << 16
_HEADER = 1 << 18  # bytes in which a header must end to be looked at


class UnreadableError(Exception):
    """The text can't be read, or is not as long as it was; the cause is an OSError or nothing."""


class Mail:
    """One sender, one host, its recipients. `fd` is -1 for an inline `body`; it belongs to whoever made this.

    needs_utf8: only a host with SMTPUTF8 can take it (RFC 6531 s3.5), for an address is not ASCII, or the header is not and
    whoever handed it in said SMTPUTF8. A header of bytes that nobody has declared goes everywhere, as ever.
    """

    __slots__ = ("_declared", "_looked", "body", "fd", "host", "needs_utf8", "recipients", "sender", "size")

    def __init__(
        self, host: bytes, sender: bytes, recipients: list[bytes], body: bytes, fd: int = -1, *, utf8: bool = False
    ) -> None:
        """UnreadableError if the file can't be read."""
        self.host = host
        self.sender = sender
        self.recipients = recipients
        self.body = body
        self.fd = fd
        self.size = len(body) if fd < 0 else _size(fd)
        self._declared = utf8
        self._looked: tuple[bool, int] | None = None
        plain = sender.isascii() and all(map(bytes.isascii, recipients))
        self.needs_utf8 = not plain or (utf8 and not self._header().isascii())

    def to(self, recipients: list[bytes]) -> "Mail":
        """The same for other recipients; UnreadableError."""
        return Mail(self.host, self.sender, recipients, self.body, self.fd, utf8=self._declared)

    @property
    def is_ascii(self) -> bool:
        """Whether the whole text is; UnreadableError."""
        return self._look()[0]

    @property
    def sent_size(self) -> int:
        """Bytes of the text as it is sent, doubled dots aside (RFC 1870 s3); UnreadableError. A CR LF where two pieces of
        a file meet may count as two line ends.
        """
        return self.size + self._look()[1]

    def _look(self) -> tuple[bool, int]:
        """Whether the text is ASCII, and how many bytes its line ends get: one for each that is not CR LF already."""
        if self._looked is None:
            is_ascii, more, last = True, 0, b"\n"
            for piece in self.chunks():
                is_ascii = is_ascii and piece.isascii()
                more += piece.count(b"\n")
                if b"\r" in piece:
                    more += piece.count(b"\r") - 2 * piece.count(b"\r\n")
                last = piece[-1:] or last
            self._looked = is_ascii, more if last in b"\r\n" else more + 2
        return self._looked

    def _header(self) -> bytes:
        return (self.body if self.fd < 0 else _read(self.fd, 0, _HEADER)).partition(b"\n\n")[0]

    def chunks(self) -> Iterator[bytes]:
        """The text, piece by piece; UnreadableError when the file ends too early."""
        if self.fd < 0:
            yield self.body
            return
        place = 0
        while place < self.size:
            piece = _read(self.fd, place, min(CHUNK, self.size - place))
            if not piece:
                raise UnreadableError
            place += len(piece)
            yield piece

    def encoded(self) -> Iterator[bytes]:
        """The text as it goes over SMTP, piece by piece; an inline one whole. UnreadableError."""
        if self.fd < 0:
            yield encode(self.body)
            return
        encoder = Encoder()
        for piece in self.chunks():
            yield encoder.feed(piece)
        yield encoder.finish()


def whole(fd: int) -> int:
    """A descriptor whose whole content is what is left of this one, which may be a pipe: itself, or a copy. OSError."""
    try:
        if os.lseek(fd, 0, os.SEEK_CUR) == 0:
            return fd
    except OSError:
        pass  # a pipe
    copy = memory_file("message")
    while piece := os.read(fd, CHUNK):
        view = memoryview(piece)
        while view:
            view = view[os.write(copy, view) :]
    return copy


def _size(fd: int) -> int:
    try:
        return os.fstat(fd).st_size
    except OSError as error:
        raise UnreadableError from error


def _read(fd: int, place: int, size: int) -> bytes:
    try:
        return os.pread(fd, size, place)
    except OSError as error:
        raise UnreadableError from error
