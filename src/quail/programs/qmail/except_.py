"""usage: except program [ arg ... ]

In a dot-qmail file: run the program with the message and turn its answer around. Exit 100 if it exits with 0, 111 if it exits
with 111 or is killed, else 0.
"""

from quail.delivery.command import succeeds
from quail.errors import EXIT_PERMANENT
from quail.programs.run import program


@program("except", takes=(1, None))
def main(args: list[bytes]) -> int:
    return EXIT_PERMANENT if succeeds(args) else 0


if __name__ == "__main__":
    main()
