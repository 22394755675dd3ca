"""Files that are whole for whoever reads them, but of no use after a crash of the machine: nothing is synced."""

import os

from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import write_all


def swap_file(path: str, tmp: str, data: bytes, *, mode: int = 0o644, calls: SystemCalls = REAL) -> None:
    """Replace path by data, by way of tmp: readers see the old file or the new one, never a part.

    OSError as the system says: with tmp as its file name when that can't be opened, with a second one when it can't be renamed.
    """
    # Non-blocking: what has the name of tmp may be a FIFO.
    fd = calls.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    try:
        write_all(calls, fd, data)
    finally:
        calls.close(fd)
    calls.rename(tmp, path)
