"""usage: tcpcat [ host [ port ] ]

Prints what host sends at port, the quote of the day (17) if not said otherwise. Exit 0, or 111 if it can't connect.
"""

from quail.net.asking import ask
from quail.net.line_ends import Plain
from quail.programs.run import program


@program("tcpcat")
def main(args: list[bytes]) -> int:
    host, port = [*args, *(b"0", b"17")[len(args) :]][:2]
    return ask(host, port, b"", Plain())


if __name__ == "__main__":
    main()
