"""The message that is delivered: inline bytes, then perhaps the content of a descriptor."""

import fcntl
import os
from collections.abc import Iterator

from quail.errors import TemporaryError
from quail.storage.calls import REAL
from quail.storage.durable import write_all
from quail.storage.memory import memory_file

PIECE = 1 << 16  # bytes read at once
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class UnreadableError(TemporaryError):
    """The message can't be read to its end."""


class Message:
    """Read with pread, whatever the position of the descriptor, which opened() alone moves. Whoever opened it closes it."""

    __slots__ = ("_sealed", "descriptor", "inline", "size")

    def __init__(self, inline: bytes, descriptor: int = -1) -> None:
        """`size` counts the descriptor's bytes."""
        self.inline = inline
        self.descriptor = descriptor
        self.size = 0
        self._sealed = -1
        if descriptor >= 0:
            try:
                self.size = os.fstat(descriptor).st_size
            except OSError as error:
                raise UnreadableError(str(error)) from error

    def chunks(self) -> Iterator[bytes]:
        """All bytes in order; UnreadableError if the descriptor ends early or can't be read."""
        if self.inline:
            yield self.inline
        offset = 0
        while offset < self.size:
            try:
                piece = os.pread(self.descriptor, min(PIECE, self.size - offset), offset)
            except OSError as error:
                raise UnreadableError(str(error)) from error
            if not piece:
                raise UnreadableError(f"message ends at {offset} of {self.size} bytes")
            yield piece
            offset += len(piece)

    def header_has(self, line: bytes) -> bool:
        """Whether the header has a line identical to `line`, which ends with LF. The header ends at an empty line."""
        wanted = b"\n" + line
        window = b"\n"
        for chunk in self.chunks():
            window += chunk
            end = window.find(b"\n\n")
            if window.find(wanted, 0, end + 1 if end >= 0 else len(window)) >= 0:
                return True
            if end >= 0:
                return False
            window = window[-len(wanted) :]
        return False

    def opened(self) -> int:
        """A descriptor at the start of the whole message, which the caller closes; it can be read and moved, and nothing that
        is done with it changes the message. UnreadableError if there can be none.

        A message that is in memory gets a file there, sealed for good. Each descriptor has a position of its own, unless the
        message is in somebody else's file, which can't be opened anew.
        """
        try:
            if self.descriptor >= 0 and not self.inline:
                return _rewound(self.descriptor)
            if self._sealed < 0:
                self._sealed = _sealed(self.chunks())
            return os.open(f"/proc/self/fd/{self._sealed}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableError(str(error)) from error

    def close(self) -> None:
        """Forget what opened() has made."""
        if self._sealed >= 0:
            os.close(self._sealed)
            self._sealed = -1


def _rewound(fd: int) -> int:
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)


def _sealed(chunks: Iterator[bytes]) -> int:
    """A file in memory with this content, that nobody can change or write to, not even its owner."""
    fd = memory_file("message")
    try:
        for chunk in chunks:
            write_all(REAL, fd, chunk)
        os.fchmod(fd, 0o400)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd
