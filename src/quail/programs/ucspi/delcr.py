"""usage: delcr

Copies its input to its output without the CR that an LF follows. Exit 0, or 111, without a word, if it can't read or write.
"""

from quail.errors import EXIT_TEMPORARY
from quail.net.copying import filtered
from quail.net.line_ends import DelCr
from quail.programs.run import program


@program("delcr")
def main(_: list[bytes]) -> int:
    try:
        filtered(DelCr(), 0, 1)
    except OSError:
        return EXIT_TEMPORARY
    return 0


if __name__ == "__main__":
    main()
