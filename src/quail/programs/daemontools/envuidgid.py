"""usage: envuidgid account child

Run child with $UID and $GID set to those of account, for a child that takes them on itself. Exit 100 for a wrong call, 111 if
the account is unknown or child can't be run; else as child does.
"""

import os

from quail.programs.daemontools.chain import account, go_on
from quail.programs.run import program


@program("envuidgid", takes=(2, None))
def main(args: list[bytes]) -> None:
    uid, gid = account(args[0])
    os.environb[b"GID"] = b"%d" % gid
    os.environb[b"UID"] = b"%d" % uid
    go_on(args[1:])


if __name__ == "__main__":
    main()
