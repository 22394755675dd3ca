"""usage: tai64n

Copy stdin to stdout with a time stamp, a TAI64N label, before each line: when its first byte was read. Exit 0 at the end of
stdin, 111 if it can't be read or stdout can't be written.
"""

import os
import time

from quail.errors import EXIT_TEMPORARY, TemporaryError
from quail.programs.run import READ_SIZE, output, program
from quail.supervise.tai64 import label


@program("tai64n", takes=(0, None))
def main(_args: list[bytes]) -> int:
    try:
        _copy()
    except (OSError, TemporaryError):
        return EXIT_TEMPORARY  # without a word, as the original
    return 0


def _copy() -> None:
    begins = True
    while data := os.read(0, READ_SIZE):
        stamp = label(time.time_ns() // 1000) + b" "
        ends = data[-1:] == b"\n"
        stamped = data[:-1].replace(b"\n", b"\n" + stamp) + data[-1:]
        output(stamp + stamped if begins else stamped)
        begins = ends


if __name__ == "__main__":
    main()
