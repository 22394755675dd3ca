"""usage: finger@ [ host [ user ] ]

Shows what the finger service of host says of user, or of all users. Exit 0.
"""

from quail.net.asking import ask
from quail.net.line_ends import DelCr, Visible, joined
from quail.programs.run import program


@program("finger@")
def main(args: list[bytes]) -> int:
    host, user = [*args, *(b"0", b"")[len(args) :]][:2]
    ask(host, b"79", user + b"\r\n", joined(DelCr(), Visible()))
    return 0


if __name__ == "__main__":
    main()
