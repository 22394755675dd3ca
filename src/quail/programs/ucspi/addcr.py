"""usage: addcr

Copies its input to its output with a CR before each LF. Exit 0, or 111, without a word, if it can't read or write.
"""

from quail.errors import EXIT_TEMPORARY
from quail.net.copying import filtered
from quail.net.line_ends import AddCr
from quail.programs.run import program


@program("addcr")
def main(_: list[bytes]) -> int:
    try:
        filtered(AddCr(), 0, 1)
    except OSError:
        return EXIT_TEMPORARY
    return 0


if __name__ == "__main__":
    main()
