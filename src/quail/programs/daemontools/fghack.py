"""usage: fghack child

Run child and wait until every process that has its descriptors has closed them or ended, so that what puts itself into the
background stays in the foreground for us. Exit as child has, 100 for a wrong call, 111 if it was killed or can't be run.
"""

import os

from quail.errors import EXIT_TEMPORARY
from quail.programs.daemontools.chain import attempt, go_on
from quail.programs.run import program, say

_COPIES = 30  # of the pipe's end, in case that child closes some descriptors


@program("fghack", takes=(1, None))
def main(args: list[bytes]) -> int:
    reading, writing = attempt("create pipe", os.pipe)
    pid = attempt("fork", os.fork)
    if not pid:
        os.close(reading)
        _multiply(writing)
        go_on(args)
    os.close(writing)
    while os.read(reading, 4096):
        pass  # it is not for us
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        say("fghack: fatal: child crashed")
        return EXIT_TEMPORARY
    return os.WEXITSTATUS(status)


def _multiply(fd: int) -> None:
    """As many as there is room for."""
    os.set_inheritable(fd, True)
    try:
        for _ in range(_COPIES):
            os.set_inheritable(os.dup(fd), True)
    except OSError:
        pass


if __name__ == "__main__":
    main()
