"""What is in a Maildir, for whoever reads one (maildir(5))."""

import os
import stat
from _collections_abc import Iterator

from quail.storage.calls import SystemCalls

FORGOTTEN = 129_600  # seconds since a file in tmp/ was last read: 36 hours, and its delivery lasts 24 at most


class Entry:
    """A message. mtime: when it was delivered, Unix time."""

    __slots__ = ("mtime", "path")

    def __init__(self, path: str, mtime: float) -> None:
        self.path, self.mtime = path, mtime


def messages(calls: SystemCalls, maildir: str, folders: tuple[str, ...] = ("new", "cur")) -> list[Entry]:
    """The messages in these folders, the oldest first. OSError, with the file's name, if a folder can't be read."""
    found = [
        Entry(path, status.st_mtime) for folder in folders for path, status in _files(calls, f"{maildir}/{folder}")
    ]
    found.sort(key=lambda entry: (entry.mtime, entry.path))
    return found


def clean(calls: SystemCalls, maildir: str, now: float) -> None:
    """Remove from tmp/ what deliveries have left there that never ended. What can't be removed stays."""
    folder = f"{maildir}/tmp"  # noqa: S108  the Maildir's own
    try:
        forgotten = [path for path, status in _files(calls, folder) if status.st_atime + FORGOTTEN < now]
    except OSError:
        return
    for path in forgotten:
        try:
            calls.unlink(path)
        except OSError:
            pass  # somebody else's business


def _files(calls: SystemCalls, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for name in calls.listdir(folder):
        if name[:1] == ".":
            continue
        path = f"{folder}/{name}"
        try:
            status = calls.stat(path)
        except OSError:
            continue  # another reader has it now
        if stat.S_ISREG(status.st_mode):
            yield path, status
