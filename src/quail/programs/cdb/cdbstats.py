"""usage: cdbstats

Tells how many records the constant database on stdin has, and how far from their places in the hash tables they are: d0 is at
the place itself, >9 more than nine slots off. Exit 0; 100 for a wrong call, 111 if the file can't be read.
"""

import os

from quail.cdb.layout import HEADER_SIZE
from quail.cdb.reader import Reader
from quail.cdb.window import Window
from quail.errors import PeerError, TemporaryError
from quail.programs.cdb.cdbdump import put
from quail.programs.cdb.cdbget import unreadable
from quail.programs.run import program

_FAR = 10


@program("cdbstats", takes=0)
def main(_args: list[bytes]) -> None:
    counts = [0] * (_FAR + 1)
    try:
        size = os.fstat(0).st_size
        window = Window(os.dup(0), size)
        if len(window[0:HEADER_SIZE]) < HEADER_SIZE:
            raise TemporaryError("unable to read input: truncated file")
        for distance in Reader(window).distances():
            counts[min(distance, _FAR)] += 1
    except PeerError as error:
        raise TemporaryError("unable to read input: protocol error") from error
    except OSError as error:
        raise unreadable(error) from error
    labels = [*(f"d{number}" for number in range(_FAR)), f">{_FAR - 1}"]
    lines = [("records", sum(counts)), *zip(labels, counts, strict=True)]
    put("".join([f"{label:<8}{count:>10}\n" for label, count in lines]).encode())


if __name__ == "__main__":
    main()
