"""usage: cdbmake-sv cdb cdb.tmp

Makes a constant database of a list of services on stdin, in the form of /etc/services: a line `smtp 25/tcp mail` gives the name
smtp for the key @25/tcp, and the port 25 for the keys smtp/tcp and mail/tcp. Exit 0; 100 for a wrong call, 111 for anything
else: cdb stays as it was then.
"""

from quail.cdb.maker import Maker
from quail.programs.cdb.cdbmake import input_lines, make
from quail.programs.run import program


@program("cdbmake-sv", takes=2)
def main(args: list[bytes]) -> None:
    make(args, _fill)


def _fill(maker: Maker) -> None:
    for line in input_lines():
        name, where, *others = [*line.partition(b"#")[0].split(), b"", b""]
        port, slash, rest = where.partition(b"/")
        if not slash:
            continue
        protocol = rest.partition(b"/")[0]
        maker.add(b"@" + port + b"/" + protocol, name)
        for each in (name, *others):
            if each:
                maker.add(each + b"/" + protocol, port)


if __name__ == "__main__":
    main()
