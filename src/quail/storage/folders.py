"""Folders that survive a crash, with the owner and mode that they are to have."""

import os

from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import sync_directory


def make_folder(
    path: str, mode: int = 0o755, *, owner: tuple[int, int] | None = None, calls: SystemCalls = REAL
) -> None:
    """Make a folder, and those above it (0755), durably; fine if it is there.

    Without `owner` it is the caller's, and the mode is less the umask. With owner (uid, gid) it gets exactly these, also if it
    is there and still the caller's, as after a crash; one that belongs to somebody else stays as it is: what is in it may
    not be what it seems. OSError as the system says.
    """
    parent = os.path.dirname(path)
    first = mode if owner is None else 0o700
    try:
        calls.mkdir(path, first)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        make_folder(parent, calls=calls)
        calls.mkdir(path, first)
    if owner is not None:
        _give(path, mode, owner, calls)
    sync_directory(calls, parent)


def _give(path: str, mode: int, owner: tuple[int, int], calls: SystemCalls) -> None:
    """By descriptor: whoever owns the folder above could put a link in the place of the name."""
    fd = calls.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = calls.fstat(fd)
        if status.st_uid == os.geteuid() and (status.st_uid, status.st_gid, status.st_mode & 0o7777) != (*owner, mode):
            calls.fchown(fd, *owner)
            calls.fchmod(fd, mode)
            calls.fsync(fd)
    finally:
        calls.close(fd)
