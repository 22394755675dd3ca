"""What lists of processes show as the command line of a process that was forked and never exec'd."""

import os

_ARGUMENTS = (48, 49)  # numbers of the fields in /proc/self/stat that say where they begin and end, proc(5)


def show_command(argv: list[bytes]) -> None:
    """Show these words in place of those that the parent was started with, cut off where its place ends. Where the kernel does
    not let us, everything stays as it is.
    """
    try:
        fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fields = os.read(fd, 4096).rpartition(b")")[2].split()
        finally:
            os.close(fd)
        begin, end = (int(fields[number - 3]) for number in _ARGUMENTS)
        size = end - begin
        if size <= 0:
            return
        data = b"\0".join(argv)[: size - 1].ljust(size, b"\0")
        fd = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(fd, data, begin)
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        pass
