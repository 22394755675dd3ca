"""The journal's files: names, creation, appending one batch, reading. Knows nothing of what the records mean."""

import errno
import os

from quail.storage.calls import SystemCalls
from quail.storage.durable import sync_directory

SEGMENT_SIZE = 64 << 20
MOST = (1 << 32) - 1  # the highest number of a segment
_SUFFIX = ".seg"
_DIGITS = 8
_IOV_MAX = 1024  # sysconf(_SC_IOV_MAX) on Linux
_MAX_READERS = 64  # segments kept open for reading


class Segments:
    """The folder of segments. Errors are OSError."""

    def __init__(self, calls: SystemCalls, directory: str) -> None:
        """`directory` exists."""
        self._calls = calls
        self.directory = directory
        self._readers: dict[int, int] = {}

    def path(self, number: int) -> str:
        """File of a segment."""
        return f"{self.directory}/{number:0{_DIGITS}d}{_SUFFIX}"

    def numbers(self) -> list[int]:
        """Those on disk, ascending. Other names are not ours and are left alone."""
        found = []
        for name in self._calls.listdir(self.directory):
            stem = name.removesuffix(_SUFFIX)
            number = int(stem) if stem.isascii() and stem.isdigit() else MOST + 1
            if number <= MOST and self.path(number) == f"{self.directory}/{name}":
                found.append(number)
        return sorted(found)

    def create(self, number: int) -> int:
        """A new, empty segment, open for writing; its name is not durable before sync_names."""
        return self._calls.open(self.path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def sync_names(self) -> None:
        """Make creations and removals durable."""
        sync_directory(self._calls, self.directory)

    def append(self, fd: int, buffers: list[bytes], offset: int) -> None:
        """Write at offset, with one call, and sync. A short write is an error: what it left is for the caller to undo."""
        total = sum(map(len, buffers))
        if len(buffers) > _IOV_MAX:
            buffers = [b"".join(buffers)]
        if self._calls.pwritev(fd, buffers, offset) != total:
            raise OSError(errno.ENOSPC, "short write to the journal")
        self._calls.fdatasync(fd)

    def cut(self, fd: int, length: int) -> None:
        """Give back what a failed append left, durably."""
        self._calls.ftruncate(fd, length)
        self._calls.fsync(fd)

    def size(self, number: int) -> int:
        """Bytes in the file."""
        return int(self._calls.stat(self.path(number)).st_size)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        fd = self._reader(number)
        data = self._calls.pread(fd, length, offset)
        while len(data) < length:
            more = self._calls.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def _reader(self, number: int) -> int:
        fd = self._readers.get(number)
        if fd is None:
            fd = self._calls.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC)
            if len(self._readers) >= _MAX_READERS:
                self.forget(list(self._readers)[0])  # noqa: RUF015  another thread may forget one meanwhile: copy at once
            self._readers[number] = fd
        return fd

    def remove(self, number: int) -> None:
        """Unlink; durable after sync_names."""
        self.forget(number)
        self._calls.unlink(self.path(number))

    def forget(self, number: int) -> None:
        """Close the reader, if any."""
        fd = self._readers.pop(number, None)
        if fd is not None:
            try:
                self._calls.close(fd)
            except OSError:
                pass  # it was only read

    def close(self) -> None:
        """Close all readers."""
        for number in list(self._readers):
            self.forget(number)
