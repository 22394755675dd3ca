"""usage: pgrphack child

Run child in a session and a process group of its own. Exit 100 for a wrong call, 111 if child can't be run; else as it does.
"""

import os

from quail.programs.daemontools.chain import go_on
from quail.programs.run import program


@program("pgrphack", takes=(1, None))
def main(args: list[bytes]) -> None:
    try:
        os.setsid()
    except OSError:
        pass  # it leads a group already
    go_on(args)


if __name__ == "__main__":
    main()
