"""Which descriptors a process has, and a child that is forked and never exec'd: what exec would have closed, it must close
itself.
"""

import os

_FIRST = 3  # 0 to 2 are everybody's


def close_others(kept: set[int]) -> None:
    """Close every descriptor above 2 but these."""
    begin = _FIRST
    for fd in sorted({fd for fd in kept if fd >= _FIRST} | {os.sysconf("SC_OPEN_MAX")}):
        os.closerange(begin, fd)
        begin = fd + 1


def fill_standard() -> None:
    """Where 0, 1 or 2 is closed it becomes the null device: else a socket or a lock would get that number, and lose it again
    in a child that gives its own meaning to it.
    """
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < _FIRST:
        os.set_inheritable(fd, True)
    os.close(fd)


def inherited() -> set[int]:
    """Those above 2 that an exec would leave open now; none where /proc does not tell."""
    found: set[int] = set()
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return found
    for fd in numbers:
        try:
            if fd >= _FIRST and os.get_inheritable(fd):
                found.add(fd)
        except OSError:
            pass  # that of the listing itself
    return found
