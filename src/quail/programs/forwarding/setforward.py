"""usage: setforward data.cdb data.tmp

Make a forwarding database of the table on stdin, `target: command, command;`, by way of data.tmp in the same file system.
Exit 0; 100 for a mistake in the table or a wrong call, 111 for anything else: data.cdb stays as it was then.
"""

import os

from quail.cdb.maker import Maker
from quail.errors import UsageError
from quail.forwarding.table import parse
from quail.programs.run import program, read_input, write_file


@program("setforward")
def main(args: list[bytes]) -> None:
    if len(args) < 2:
        raise UsageError
    path, tmp = map(os.fsdecode, args[:2])
    maker = Maker()
    for key, data in parse(read_input()):
        maker.add(key, data)
    write_file(path, tmp, maker.to_bytes())


if __name__ == "__main__":
    main()
