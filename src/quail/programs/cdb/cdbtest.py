"""usage: cdbtest

Looks every key of the constant database on stdin, a file, up in it, and counts what comes out. Exit 0, whatever that is;
100 for a wrong call, 111 if the file can't be read.
"""

from quail.cdb.layout import PAIR_SIZE, cdb_hash
from quail.cdb.mapped import MappedReader
from quail.errors import PeerError, TemporaryError
from quail.programs.cdb.cdbdump import put
from quail.programs.cdb.cdbget import unreadable
from quail.programs.run import program

_LONGEST_KEY = 1024


@program("cdbtest", takes=0)
def main(_args: list[bytes]) -> None:
    found = different = bad = missing = untested = 0
    try:
        reader = MappedReader(0)
        for at, key, data in reader.records():
            if len(key) > _LONGEST_KEY:
                untested += 1
                continue
            place = reader.find(key, cdb_hash(key))
            if place is None:
                missing += 1
            elif place[0] != at + PAIR_SIZE + len(key):
                different += 1
            elif place[1] != len(data):
                bad += 1
            else:
                found += 1
    except PeerError as error:
        raise TemporaryError("unable to read input: protocol error") from error
    except OSError as error:
        raise unreadable(error) from error
    put(
        b"found: %d\ndifferent record: %d\nbad length: %d\nnot found: %d\nuntested: %d\n"
        % (found, different, bad, missing, untested)
    )


if __name__ == "__main__":
    main()
