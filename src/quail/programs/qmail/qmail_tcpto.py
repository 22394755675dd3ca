"""usage: qmail-tcpto

Print the addresses that let connections time out. Exit 0, or 111 with the reason. Source: the page qmail-tcpto(8).
"""

import time

from quail.errors import TemporaryError
from quail.programs.run import enter_home, output, program
from quail.storage.tcpto import PATH, Tcpto


@program("qmail-tcpto", takes=0)
def main(_args: list[bytes]) -> None:
    enter_home()
    table = Tcpto.open(PATH, write=False)
    if table.trouble:
        raise TemporaryError(table.trouble)
    lines = (
        f"{ip} timed out {ago} seconds ago; # recent timeouts: {count}\n"
        for ip, ago, count in table.entries(time.time())
    )
    output("".join(lines).encode())


if __name__ == "__main__":
    main()
