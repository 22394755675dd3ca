"""Files that are whole or absent after a crash: temporary name, write all, fsync, rename, fsync the directory."""

import errno
import os

from quail.storage.calls import REAL, SystemCalls

# What sync_directory says of folders that may be used and not read, as in a drop box, and of file systems that sync files
# alone. Whoever has a file there can sync the whole file system by it.
NOT_BY_ITSELF = (errno.EACCES, errno.EPERM, errno.EINVAL)


def write_all(calls: SystemCalls, fd: int, data: bytes | memoryview) -> None:
    """Write every byte, going on after short writes."""
    view = memoryview(data)
    while view:
        view = view[calls.write(fd, view) :]


def sync_directory(calls: SystemCalls, path: str) -> None:
    """Make the names in the directory durable."""
    fd = calls.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        calls.fsync(fd)
    finally:
        calls.close(fd)


class Replacement:
    """A file that takes another's place when it is whole: write, perhaps the start again, then commit; close in any case.

    The temporary file is `tmp`; an old one left there by a crash is overwritten. Where a rename may be half done after a crash,
    the old one can be another name of path itself: then only the name goes.
    """

    __slots__ = ("_calls", "_fd", "_path", "_tmp")

    def __init__(self, path: str, tmp: str, *, mode: int = 0o644, calls: SystemCalls = REAL) -> None:
        """mode: of the new file, less the umask."""
        self._calls = calls
        self._path = path
        self._tmp = tmp
        try:
            if calls.stat(tmp).st_nlink > 1:
                calls.unlink(tmp)
        except FileNotFoundError:
            pass
        self._fd = calls.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)

    def write(self, data: bytes | memoryview) -> None:
        """Write behind what is there."""
        write_all(self._calls, self._fd, data)

    def write_start(self, data: bytes) -> None:
        """Write over the first bytes."""
        done = 0
        while done < len(data):
            done += self._calls.pwritev(self._fd, [memoryview(data)[done:]], done)

    def commit(self, owner: tuple[int, int] | None = None) -> None:
        """Take the place, durably: readers see the old file or the new one, never a part. owner: uid and gid of the new one."""
        if owner is not None:
            self._calls.fchown(self._fd, *owner)
        self._calls.fsync(self._fd)
        self.close()
        self._calls.rename(self._tmp, self._path)
        sync_directory(self._calls, os.path.dirname(self._path) or ".")

    def close(self) -> None:
        """Give the descriptor back; without a commit the temporary file stays."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._calls.close(fd)


def replace_file(
    path: str,
    data: bytes,
    *,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
    calls: SystemCalls = REAL,
    tmp: str | None = None,
) -> None:
    """Replace path by data, durably: readers see the old file or the new one, never a part.

    mode: of the new file, less the umask. owner: its uid and gid; the caller's without. The temporary file, by default
    path + ".tmp", is as Replacement says.
    """
    replacement = Replacement(path, tmp if tmp is not None else path + ".tmp", mode=mode, calls=calls)
    try:
        replacement.write(data)
        replacement.commit(owner)
    finally:
        replacement.close()
