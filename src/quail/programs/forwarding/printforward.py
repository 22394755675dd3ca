"""usage: printforward

Write the forwarding database on stdin as a table, which setforward reads. Exit 0; 100 if it is no such database, 111 if it
can't be read, or the table not be written.
"""

from quail.cdb.reader import MemoryReader
from quail.errors import PeerError
from quail.forwarding.table import BAD, write
from quail.programs.run import output, program, read_input


@program("printforward")
def main(_args: list[bytes]) -> None:
    data = read_input()
    try:
        for text in write(MemoryReader(data).items()):
            output(text)
    except PeerError as error:
        raise PeerError(BAD) from error


if __name__ == "__main__":
    main()
