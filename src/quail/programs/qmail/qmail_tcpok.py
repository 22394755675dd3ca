"""usage: qmail-tcpok

Forget which addresses let connections time out. Exit 0, or 111 with the reason. Source: the page qmail-tcpok(8).
"""

from quail.errors import TemporaryError
from quail.programs.run import enter_home, program
from quail.storage.tcpto import PATH, Tcpto


@program("qmail-tcpok", takes=0)
def main(_args: list[bytes]) -> None:
    enter_home()
    table = Tcpto.open(PATH)
    table.clear()
    if table.trouble:
        raise TemporaryError(table.trouble)


if __name__ == "__main__":
    main()
