"""A log directory's processor: what makes `processed` of `previous`, by way of sh, and keeps something for the next time.

Its current directory is the log directory; descriptor 0 reads previous, 1 writes processed, 4 reads state, what the last one
has left, and 5 writes newstate.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
from _collections_abc import Callable

from quail.errors import EXIT_TEMPORARY
from quail.oserrors import words

_SHELL = b"/bin/sh"
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
# Those that the interpreter ignores, and multilog's own.
_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGALRM)
# A directory in which nobody has ever been without a state gets an empty one.
_FILES = (
    ("previous", os.O_RDONLY, 0),
    ("processed", _WRITE, 1),
    ("state", os.O_RDONLY | os.O_CREAT, 4),
    ("newstate", _WRITE, 5),
)


def start(command: bytes, folder: int, say: Callable[[str], None]) -> int:
    """Start it in the directory open at `folder`; its pid. OSError if there can be no process now.

    A child that can't be the shell says so and exits with 111.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        os.fchdir(folder)
        opened = []
        for name, flags, target in _FILES:
            # Above all targets first, so that none is closed by the dup2 of another.
            fd = os.open(name, flags | os.O_CLOEXEC, 0o644)
            high = _above(fd)
            opened.append((high, target))
        for fd, target in opened:
            os.dup2(fd, target)
        os.execve(_SHELL, [b"sh", b"-c", command], os.environb)  # noqa: S606  it is sh that is meant
    except OSError as error:
        say(f"fatal: unable to run {os.fsdecode(command)}: {words(error)}")
    finally:
        os._exit(EXIT_TEMPORARY)


def _above(fd: int) -> int:
    """The same file at a descriptor above all that the processor gets."""
    held = [fd]
    while held[-1] <= _FILES[-1][2]:
        held.append(os.dup(held[-1]))
    for each in held[:-1]:
        os.close(each)
    return held[-1]


def has_succeeded(pid: int) -> bool:
    """Wait for its end."""
    return os.waitpid(pid, 0)[1] == 0
