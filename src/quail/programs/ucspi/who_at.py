"""usage: who@ [ host ]

Shows who is logged in at host, as its systat service says. Exit 0.
"""

from quail.net.asking import ask
from quail.net.line_ends import DelCr, Visible, joined
from quail.programs.run import program


@program("who@")
def main(args: list[bytes]) -> int:
    ask(args[0] if args else b"0", b"11", b"", joined(DelCr(), Visible()))
    return 0


if __name__ == "__main__":
    main()
