"""usage: setuidgid account child

Run child with the uid and the gid of account, and no other groups. Exit 100 for a wrong call, 111 if the account is unknown,
if its uid can't be taken on, or if child can't be run; else as child does.
"""

import os

from quail.programs.daemontools.chain import account, attempt, go_on
from quail.programs.run import program


@program("setuidgid", takes=(2, None))
def main(args: list[bytes]) -> None:
    uid, gid = account(args[0])
    attempt("setgid", lambda: os.setgroups([gid]))
    attempt("setgid", lambda: os.setgid(gid))
    attempt("setuid", lambda: os.setuid(uid))
    go_on(args[1:], anew=True)  # what a process of root became, its new user could not look into


if __name__ == "__main__":
    main()
