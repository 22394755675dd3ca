"""usage: qmail-newmrh

Compiles control/morercpthosts into control/morercpthosts.cdb: the domains beyond the first fifty or so for which this host
accepts mail. Exit 0, or 111 with the old cdb untouched. Source: the page qmail-newmrh(8).
"""

import os

from quail.cdb.maker import Maker
from quail.programs.run import enter_home, program, read_file, write_file

TEXT = "control/morercpthosts"


@program("qmail-newmrh")
def main(_args: list[bytes]) -> None:
    os.umask(0o033)
    enter_home()
    maker = Maker()
    for line in read_file(TEXT).split(b"\n"):
        host = line.rstrip(b" \t").lower()
        if host and not host.startswith(b"#"):
            maker.add(host, b"")
    write_file(TEXT + ".cdb", TEXT + ".tmp", maker.to_bytes())


if __name__ == "__main__":
    main()
