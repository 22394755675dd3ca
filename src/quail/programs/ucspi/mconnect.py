"""usage: mconnect [ host [ port ] ]

Talks to a mail server, line by line. Exit 0 when it ends the connection, 111 if there is none.
"""

from quail.net.asking import talk
from quail.programs.run import program


@program("mconnect")
def main(args: list[bytes]) -> int:
    host, port = [*args, *(b"0", b"25")[len(args) :]][:2]
    return talk(host, port)


if __name__ == "__main__":
    main()
