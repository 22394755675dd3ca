"""usage: cdbmake-12 cdb cdb.tmp

Makes a constant database of lines on stdin: the first word of each is a key, the second its data. Lines that begin with # and
empty lines do not count. Exit 0; 100 for a wrong call, 111 for anything else: cdb stays as it was then.
"""

from quail.cdb.maker import Maker
from quail.programs.cdb.cdbmake import input_lines, make
from quail.programs.run import program


@program("cdbmake-12", takes=2)
def main(args: list[bytes]) -> None:
    make(args, _fill)


def _fill(maker: Maker) -> None:
    for line in input_lines():
        if line and not line.startswith(b"#"):
            first, second = [*line.split(None, 2), b"", b""][:2]
            maker.add(first, second)


if __name__ == "__main__":
    main()
