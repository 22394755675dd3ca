"""usage: setlock [ -nNxX ] file program [ arg ... ]

Run program while file is locked. -n: don't wait for the lock; -x: exit 0 in silence if it can't be had; -N, -X: as without.
Exit 100 for a wrong call, 111 if the file can't be opened or locked or the program can't be run; else as the program does.
"""

import fcntl
import os

from quail.errors import TemporaryError, UsageError
from quail.programs.daemontools.chain import attempt, go_on, options
from quail.programs.run import program, say

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK


@program("setlock")
def main(args: list[bytes]) -> int:
    try:
        letters, left = options(args, "nNxX")
    except ValueError as error:
        say(f"setlock: illegal option -- {error}")
        raise UsageError from error
    if len(left) < 2:
        raise UsageError
    waits = letters.rfind("n") <= letters.rfind("N")
    tells = letters.rfind("x") <= letters.rfind("X")
    name = os.fsdecode(left[0])
    try:
        fd = attempt(f"open {name}", lambda: os.open(left[0], _FLAGS, 0o600))
        attempt(f"lock {name}", lambda: fcntl.flock(fd, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB)))
    except TemporaryError:
        if tells:
            raise
        return 0
    os.set_inheritable(fd, True)
    return go_on(left[1:])


if __name__ == "__main__":
    main()
