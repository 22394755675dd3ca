"""usage: tai64nlocal

Copy stdin to stdout; where a line begins with a time stamp as of tai64n, say it as local date and time. Exit 0 at the end of
stdin, 111 if it can't be read or stdout can't be written.
"""

import os
import time

from quail.errors import EXIT_TEMPORARY, TemporaryError
from quail.programs.run import READ_SIZE, output, program
from quail.supervise.tai64 import digits_at, moment

_MOST_DIGITS = 4096  # that are kept; a stamp has 24


@program("tai64nlocal", takes=(0, None))
def main(_args: list[bytes]) -> int:
    try:
        _copy()
    except (OSError, TemporaryError):
        return EXIT_TEMPORARY  # without a word, as the original
    return 0


def _copy() -> None:
    begun = b""  # of a stamp, with its @
    inside = False  # a line
    while data := os.read(0, READ_SIZE):
        parts: list[bytes] = []
        lines = (begun + data).split(b"\n")
        begun = b""
        for index, line in enumerate(lines):
            last = index == len(lines) - 1
            if (index == 0 and inside) or line[:1] != b"@":
                parts.append(line)
                continue
            end = 1 + digits_at(line, 1)
            if last and end == len(line) <= _MOST_DIGITS:
                begun = line  # there may be more of it
            else:
                parts.append(_said(line[:end]) + line[end:])
        inside = bool(lines[-1]) and not begun
        output(b"\n".join([*parts, b""]) if begun else b"\n".join(parts))
    output(_said(begun) if begun else b"")


def _said(stamp: bytes) -> bytes:
    """As it is, if there is no such date."""
    seconds, nanoseconds = moment(stamp[1:])
    try:
        when = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        return stamp
    if when.tm_year < 0:
        return stamp
    return b"%d-%02d-%02d %02d:%02d:%02d.%09d" % (*when[:6], nanoseconds)


if __name__ == "__main__":
    main()
