"""Leaving a message in queue/drop/ when the queue service is down. It is taken up within a minute of its return.

Imported by programs that run once per message: keep it lean. The reading side trusts nothing here: services/queue/drop.py.
"""

import errno
import os
from _collections_abc import Iterable

from quail.queue.handover import encode_envelope
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import write_all

DIRECTORY = "queue/drop"
LARGEST = 1 << 30  # bytes of a file that is taken up: whoever may write here could fill the disk by a file with a hole
_MODE = 0o640  # the folder makes the file's group that of the queue's account


def leave(
    sender: bytes,
    recipients: Iterable[bytes],
    chunks: Iterable[bytes],
    *,
    directory: str = DIRECTORY,
    calls: SystemCalls = REAL,
) -> str:
    """Write the message durably; returns the file's name. OSError when that can't be done; then nothing is left behind.

    The folder may be one that we can write to but not read (mode 3733), so its names are made durable through the file
    system as a whole.
    """
    random = os.urandom(12).hex()
    name = f"{directory}/tmp.{random}"  # noqa: S108  a name in our own folder
    fd = calls.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        try:
            calls.fchmod(fd, _MODE)  # whatever the caller's umask has left of it
            envelope = encode_envelope(sender, recipients)
            size = len(envelope)
            write_all(calls, fd, envelope)
            for chunk in chunks:
                size += len(chunk)
                if size > LARGEST:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
                write_all(calls, fd, chunk)
            calls.fsync(fd)
            calls.rename(name, f"{directory}/new.{random}")
            name = f"{directory}/new.{random}"
            calls.syncfs(fd)
        except BaseException:
            _remove(calls, name)
            raise
    finally:
        try:
            calls.close(fd)
        except OSError:
            pass  # what matters is synced, or has failed already
    return f"new.{random}"


def _remove(calls: SystemCalls, path: str) -> None:
    """The caller says that the message was not taken: it must not be taken up later."""
    try:
        calls.unlink(path)
    except OSError:
        pass
