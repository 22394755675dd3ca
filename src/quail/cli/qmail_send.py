"""usage: qmail-send

Run the home's queue in the foreground, with the delivery programs that the caller has started: the log goes to descriptor 0,
commands for and reports of a qmail-lspawn are 1 and 2, those of a qmail-rspawn 3 and 4; 5 and 6 are a qmail-clean's, which has
nothing to do. Exit 0 after TERM, or when one of the two has ended; 111 if it can't be started.

It is `quail serve` with queue and users, where the queue's links are pipes.
"""

import fcntl
import os
import sys
from functools import partial

from quail.cli.home import DEFAULT_HOME, must_be_home
from quail.cli.qmail_start import NAME
from quail.cli.serve import serve_home
from quail.errors import EXIT_TEMPORARY, QuailError, TemporaryError
from quail.inherited import restore_environment
from quail.oserrors import words
from quail.queue.schedule import LOCAL, REMOTE
from quail.services.queue import service as queue
from quail.services.queue.spawner import Pipes
from quail.supervise.log import LineLog
from quail.supervise.tree import Member

SERVICES = ("queue", "users")
_LOG, _OUTPUT, _ERROR = 0, 1, 2
_PIPES = {LOCAL: (1, 2), REMOTE: (3, 4)}  # for commands, for reports
_LAST = 6
_FREE = 10  # where they are kept, out of the way of 0 to 2


def main() -> None:
    """Entry point."""
    restore_environment()
    log = LineLog(fd=_LOG)
    what = "cannot start: "
    code = EXIT_TEMPORARY
    try:
        _look_at_descriptors()
        spawners = _spawners()
        home = os.path.abspath(os.environ.get("QMAILHOME") or DEFAULT_HOME)
        must_be_home(home)
        what = ""
        _serve(home, spawners)
        code = 0
    except QuailError as error:
        log(f"alert: {what}{error}")
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        log(f"alert: {what}{where}{words(error)}")
    sys.exit(code)


def _look_at_descriptors() -> None:
    for fd in range(_LAST + 1):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            # Whoever called it so, descriptor 0 is no log of theirs, and 2 is not a daemon's.
            LineLog("qmail-send: fatal: ")(
                f"descriptor {fd} is not open: qmail-send is run by what starts qmail-lspawn, qmail-rspawn and qmail-clean and"
                " connects them; call qmail-start, which needs none of them, or quail serve"
            )
            sys.exit(EXIT_TEMPORARY)


def _spawners() -> dict[str, Pipes]:
    """Both daemons, which have said that they are there. Descriptors 1 and 2 become the log: services write to it."""
    spawners = {}
    for channel, (commands, reports) in _PIPES.items():
        spawners[channel] = Pipes(_kept(commands), _kept(reports), _limit(reports))
    for fd in (_OUTPUT, _ERROR):
        os.dup2(_LOG, fd)
    for fd in range(_ERROR + 1, _LAST - 1):
        os.close(fd)
    return spawners


def _kept(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FREE)


def _limit(reports: int) -> int:
    """What a daemon says first."""
    try:
        said = os.read(reports, 1)
    except OSError:
        said = b""
    if not said:
        raise TemporaryError("hath the daemon spawn no fire?")
    return said[0]


def _serve(home: str, spawners: dict[str, Pipes]) -> None:
    run_queue = partial(queue.run, spawners=spawners)

    def adapt(member: Member) -> None:
        if member.name == "queue":
            member.run = run_queue
            member.descriptors = tuple(fd for pipes in spawners.values() for fd in (pipes.commands, pipes.reports))
            member.vital = True  # nobody knows what deliveries another one would find under way

    serve_home(home, only=SERVICES, log=LineLog(), process_name=NAME, adapt=adapt)


if __name__ == "__main__":
    main()
