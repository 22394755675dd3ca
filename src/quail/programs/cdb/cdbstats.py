"""usage: cdbstats

Tells how many records the constant database on stdin has, and how far from their places in the hash tables they are: d0 is at
the place itself, >9 more than nine slots off. Exit 0; 100 for a wrong call, 111 if the file can't be read.
"""

import os
import stat

from quail.cdb.layout import HEADER_SIZE
from quail.cdb.mapped import MappedReader
from quail.errors import PeerError, TemporaryError
from quail.programs.cdb.cdbdump import put
from quail.programs.cdb.cdbget import unreadable
from quail.programs.run import program

_FAR = 10
_LONGEST_KEY = 1024  # others are not counted


@program("cdbstats", takes=0)
def main(_args: list[bytes]) -> None:
    counts = [0] * (_FAR + 1)
    try:
        status = os.fstat(0)
        if status.st_size < HEADER_SIZE and not stat.S_ISFIFO(status.st_mode):
            raise TemporaryError("unable to read input: truncated file")
        for distance in MappedReader(0).distances(_LONGEST_KEY):
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
