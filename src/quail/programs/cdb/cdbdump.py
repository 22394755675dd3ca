"""usage: cdbdump

Writes the records of the constant database on stdin as text, in the form that cdbmake reads. Exit 0; 100 for a wrong call,
111 if the file ends too soon or can't be read.
"""

import os

from quail.cdb.text import write_text
from quail.errors import PeerError, TemporaryError
from quail.oserrors import words
from quail.programs.run import program


@program("cdbdump", takes=0)
def main(_args: list[bytes]) -> None:
    try:
        write_text(read, put)
    except PeerError as error:
        raise TemporaryError(f"unable to read input: {error}") from error


def read(size: int) -> bytes:
    """At most so many bytes of stdin."""
    try:
        return os.read(0, size)
    except OSError as error:
        raise TemporaryError(f"unable to read input: {words(error)}") from error


def put(data: bytes) -> None:
    """Write all of data on stdout; what fails is said in freecdb's words."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError as error:
        raise TemporaryError(f"unable to flush output: {words(error)}") from error


if __name__ == "__main__":
    main()
