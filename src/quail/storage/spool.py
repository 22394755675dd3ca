"""A message that comes once and may be needed twice: it is kept as it is read, a large one in a file without a name.

Imported by programs that run once per message: keep it lean.
"""

import os
from _collections_abc import Iterable, Iterator

from quail.storage.memory import memory_file

IN_MEMORY = 1 << 20  # bytes of a message that are kept without a file
PIECE = 1 << 16  # bytes that are read, or passed on, at once


class Spool:
    """Reads the source no further than chunks() is. Whoever made it closes it."""

    def __init__(self, source: Iterable[bytes]) -> None:
        """Bytes in any pieces, the empty one among them."""
        self.failed: BaseException | None = None
        """What the source has raised, to be told from the trouble of whoever takes the chunks."""
        self._source = iter(source)
        self._parts: list[bytes] = []
        self.size = 0  # bytes that have been read and kept
        self._fd = -1
        self._lost: OSError | None = None

    def chunks(self, *, last: bool = False) -> Iterator[bytes]:
        """The message from its start, in pieces of some PIECE bytes: what was read before, then the rest of the source.

        With `last` nothing more is kept. OSError if a part that is needed again could not be kept. What the source raises
        passes on, and is in `failed`.
        """
        if self._lost is not None:
            raise self._lost
        if self._fd < 0:
            yield from self._parts
        else:
            offset = 0
            while piece := os.pread(self._fd, PIECE, offset):
                yield piece
                offset += len(piece)
        for piece in self._gathered():
            if not last:
                self._keep(piece)
            yield piece

    def fill(self) -> None:
        """Read the source to its end now. OSError if it could not be kept."""
        for _ in self.chunks():
            pass
        if self._lost is not None:
            raise self._lost

    def close(self) -> None:
        """Give back the file, if there is one."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lost = OSError("the spool is closed")

    def _gathered(self) -> Iterator[bytes]:
        """The rest of the source; small pieces are put together."""
        parts: list[bytes] = []
        size = 0
        while (piece := self._next()) is not None:
            parts.append(piece)
            size += len(piece)
            if size >= PIECE:
                whole = b"".join(parts)
                parts, size = [], 0
                yield whole
        if size:
            yield b"".join(parts)

    def _next(self) -> bytes | None:
        try:
            return next(self._source, None)
        except BaseException as error:
            self.failed = error
            raise

    def _keep(self, piece: bytes) -> None:
        if self._lost is not None:
            return
        self._parts.append(piece)
        self.size += len(piece)
        if self.size <= IN_MEMORY:
            return
        try:
            if self._fd < 0:
                self._fd = nameless_file()
            for part in self._parts:
                write(self._fd, part)
        except OSError as error:
            self._lost = error  # whoever never needs it again is not hindered
        self._parts.clear()


def replace_input(prefix: bytes) -> None:
    """Put the prefix before what is still to be read from descriptor 0. OSError, and the input is as good as lost."""
    try:
        fd = nameless_file()
    except OSError:
        fd = memory_file("input")  # it need not be large, and may have no other place
    write(fd, prefix)
    while piece := os.read(0, PIECE):
        write(fd, piece)
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, 0)
    os.close(fd)


def write(fd: int, data: bytes) -> None:
    """All of it, or OSError."""
    from quail.storage.calls import REAL  # noqa: PLC0415  most messages are small
    from quail.storage.durable import write_all  # noqa: PLC0415

    write_all(REAL, fd, data)


def nameless_file() -> int:
    """A new file that is gone when nobody has it open any more. OSError."""
    folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  the file never has a name there, or not for long
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError:  # a file system that can't: overlays before Linux 6.1, NFS
        path = f"{folder}/quail.{os.urandom(12).hex()}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        return fd
