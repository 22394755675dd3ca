"""Files that are whole or absent after a crash: temporary name, write all, fsync, rename, fsync the directory."""

import os

from quail.storage.calls import REAL, SystemCalls


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

    mode: of the new file, less the umask. owner: its uid and gid; the caller's without.

    The temporary file is `tmp`, by default path + ".tmp"; an old one left there by a crash is overwritten. Where a rename may
    be half done after a crash, the old one can be another name of path itself: then only the name goes.
    """
    tmp = tmp if tmp is not None else path + ".tmp"
    try:
        if calls.stat(tmp).st_nlink > 1:
            calls.unlink(tmp)
    except FileNotFoundError:
        pass
    fd = calls.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(calls, fd, data)
        if owner is not None:
            calls.fchown(fd, *owner)
        calls.fsync(fd)
    finally:
        calls.close(fd)
    calls.rename(tmp, path)
    sync_directory(calls, os.path.dirname(path) or ".")
