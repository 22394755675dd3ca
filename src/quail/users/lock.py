"""One at a time changes the files in users/ of a home."""

import fcntl
import os

from quail.storage.calls import REAL, SystemCalls


class Lock:
    """A context: waits until nobody else has it; ends with the process at the latest. `directory` is the home's users/."""

    __slots__ = ("_calls", "_fd", "_path")

    def __init__(self, directory: str, calls: SystemCalls = REAL) -> None:
        self._path = f"{directory}/.lock"
        self._calls = calls
        self._fd = -1

    def __enter__(self) -> None:
        self._fd = self._calls.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._calls.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self._calls.close(self._fd)
            raise

    def __exit__(self, *_: object) -> None:
        self._calls.close(self._fd)
