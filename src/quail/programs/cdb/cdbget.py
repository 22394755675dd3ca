"""usage: cdbget key [skip]

Writes the data of a key of the constant database on stdin, a file; with skip, of a later record of the same key. Exit 0; 100 if
there is none, or for a wrong call; 111 if the file can't be read.
"""

import errno
import os

from quail.cdb.reader import Reader
from quail.cdb.window import Window
from quail.errors import EXIT_PERMANENT, PeerError, TemporaryError, UsageError
from quail.oserrors import words
from quail.programs.cdb.cdbdump import put
from quail.programs.run import program

_NO_FILE = (errno.ESPIPE, errno.ENODEV, errno.EINVAL)  # of seeking, of mapping


@program("cdbget", takes=(1, 2))
def main(args: list[bytes]) -> int | None:
    key, skip = [*args, b""][:2]
    if not key or skip.strip(b"0123456789"):
        raise UsageError
    # No file has so many records.
    number = int(skip or b"0") if len(skip) < 20 else 1 << 32
    try:
        data = Reader(Window(os.dup(0), os.fstat(0).st_size)).get(key, number)
    except PeerError as error:
        raise TemporaryError("unable to read input: protocol error") from error
    except OSError as error:
        raise unreadable(error) from error
    if data is None:
        return EXIT_PERMANENT
    put(data)
    return None


def unreadable(error: OSError) -> TemporaryError:
    """What to say of a database on stdin that can't be read; one that comes through a pipe can't be looked up in."""
    return TemporaryError(f"unable to read input: {'protocol error' if error.errno in _NO_FILE else words(error)}")


if __name__ == "__main__":
    main()
