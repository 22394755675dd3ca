"""usage: date@ [ host ]

Shows what time it is at host, as its daytime service says. Exit 0.
"""

from quail.net.asking import ask
from quail.net.line_ends import DelCr, Visible, joined
from quail.programs.run import program


@program("date@")
def main(args: list[bytes]) -> int:
    ask(args[0] if args else b"0", b"13", b"", joined(DelCr(), Visible()))
    return 0


if __name__ == "__main__":
    main()
