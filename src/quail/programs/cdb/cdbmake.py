"""usage: cdbmake cdb cdb.tmp

Reads records on stdin, `+KLEN,DLEN:KEY->DATA` and a line feed each, up to an empty line, and puts them into a constant
database, by way of cdb.tmp in the same file system. Exit 0; 100 for a wrong call, 111 for anything else: cdb stays
as it was then.
"""

import os
from _collections_abc import Callable, Iterator

from quail.cdb.layout import HEADER_SIZE
from quail.cdb.maker import Maker, TooMuchError
from quail.cdb.text import TextReader
from quail.errors import PeerError, TemporaryError
from quail.oserrors import words
from quail.programs.run import program
from quail.storage.durable import Replacement


@program("cdbmake", takes=2)
def main(args: list[bytes]) -> None:
    make(args, lambda maker: TextReader(lambda size: os.read(0, size), maker).run())


def make(args: list[bytes], fill: Callable[[Maker], None]) -> None:
    """Replace the cdb that is the first of two arguments, by way of the second; `fill` adds the records.

    TemporaryError with freecdb's words, PeerError of `fill` among it, and the old file stays.
    """
    path, tmp = map(os.fsdecode, args)
    try:
        new = Replacement(path, tmp)
    except OSError as error:
        raise TemporaryError(f"unable to create {tmp}: {words(error)}") from error
    try:
        new.write(bytes(HEADER_SIZE))
        maker = Maker(sink=new.write)
        fill(maker)
        header = maker.header()
        for table in maker.tables():
            new.write(table)
        new.write_start(header)
        new.commit()
    except PeerError as error:
        raise TemporaryError(f"unable to read input: {error}") from error
    except TooMuchError as error:
        raise TemporaryError(f"unable to create {tmp}: out of memory") from error
    except OSError as error:
        failed = f"unable to rename {tmp} to {path}" if error.filename2 is not None else f"unable to create {tmp}"
        raise TemporaryError(f"{failed}: {words(error)}") from error
    finally:
        new.close()


def input_lines() -> Iterator[bytes]:
    """The lines on stdin, the last one perhaps without its line feed. PeerError if they can't be read."""
    rest = b""
    try:
        while part := os.read(0, 1 << 18):
            if b"\n" not in part:
                rest += part
                continue
            *lines, rest = (rest + part).split(b"\n")
            yield from lines
    except OSError as error:
        raise PeerError(words(error)) from error
    if rest:
        yield rest


if __name__ == "__main__":
    main()
