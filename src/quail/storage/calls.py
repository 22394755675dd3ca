"""The system calls that storage/ and the queue use, in one object that tests replace.

Nothing else in Quail opens a file for writing, renames, links, unlinks or syncs. A test passes its own object to fail or
to cut the power at any call (tests/crash). Paths are str; offsets and sizes are bytes.
"""

import fcntl
import os
from _collections_abc import Callable

_syncfs: list[Callable[[int], int]] = []  # the C library's, once it has been looked up, which takes 0.1 ms


class SystemCalls:
    """The machine's own calls, without any policy: every one may be short or raise OSError."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    pread = staticmethod(os.pread)
    write = staticmethod(os.write)
    pwritev = staticmethod(os.pwritev)
    ftruncate = staticmethod(os.ftruncate)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    rename = staticmethod(os.rename)
    link = staticmethod(os.link)
    symlink = staticmethod(os.symlink)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    listdir = staticmethod(os.listdir)
    stat = staticmethod(os.stat)
    fstat = staticmethod(os.fstat)
    fchown = staticmethod(os.fchown)
    fchmod = staticmethod(os.fchmod)
    statvfs = staticmethod(os.statvfs)
    flock = staticmethod(fcntl.flock)

    @staticmethod
    def syncfs(fd: int) -> None:
        """Sync the whole file system that fd lies on; reports its errors since Linux 5.8 (syncfs(2))."""
        import ctypes  # noqa: PLC0415  programs that never call this must not pay for the import

        prepare_syncfs()
        if _syncfs[0](fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def prepare_syncfs() -> None:
    """Load what syncfs needs: called before processes are forked that will use it, it costs none of them anything."""
    import ctypes  # noqa: PLC0415  as above

    if not _syncfs:
        _syncfs.append(ctypes.CDLL(None, use_errno=True).syncfs)


REAL = SystemCalls()
