"""usage: readproctitle name dots

Read stdin and keep the last of it in place of dots, where lists of processes show it. Exit 0 at the end of stdin, 100 if dots
has fewer than five bytes, 111 if stdin can't be read.
"""

import os

from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY
from quail.programs.run import READ_SIZE, program

_KEPT = 3  # dots in front, for what has gone
_LEAST = 5
_END_OF_ARGUMENTS = 49  # the number of the field in /proc/self/stat, proc(5)


@program("readproctitle")
def main(args: list[bytes]) -> int:
    if len(args) < 2 or len(args[-1]) < _LEAST:
        return EXIT_PERMANENT
    size = len(args[-1]) - _KEPT
    place = _place(args[-1]) + _KEPT
    memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    shown = b"." * size
    os.pwrite(memory, b"." * _KEPT + shown, place - _KEPT)
    try:
        while data := os.read(0, READ_SIZE):
            shown = (shown + data.replace(b"\0", b""))[-size:]
            os.pwrite(memory, shown, place)
    except OSError:
        return EXIT_TEMPORARY
    return 0


def _place(last: bytes) -> int:
    """Where in memory this process's last argument is: the kernel says where all of them end, each with a NUL."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[_END_OF_ARGUMENTS - 3]) - 1 - len(last)


if __name__ == "__main__":
    main()
