"""usage: qmail-rspawn

Make remote deliveries for a qmail-send: commands on descriptor 0, reports on descriptor 1 (qmail-rspawn(8)). Each is done by
the program $QMAILREMOTE, or qmail-remote. Exit 0 when there are no more commands and all deliveries have ended, 111 if it can't
begin.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.delivery.refusal import Refusal
from quail.delivery.remote import report
from quail.delivery.spawning import Spawner
from quail.errors import TemporaryError
from quail.net.spawn_protocol import Command, Report
from quail.oserrors import words
from quail.programs.run import enter_home, program
from quail.storage import tcpto

MESSAGES = "queue/mess"
_OUTPUT = 1
_NOT_THERE = (FileNotFoundError, PermissionError, NotADirectoryError)


@program("qmail-rspawn")
def main(_: list[bytes]) -> int:
    enter_home()
    table = tcpto.Tcpto.open(tcpto.PATH)
    table.clear()
    table.close()
    owner = _owner()
    try:
        os.chdir(MESSAGES)
    except OSError as error:
        raise TemporaryError(f"unable to chdir to {MESSAGES}: {words(error)}") from error
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Spawner(_start, _report, owner=owner, keep=report.MOST_OUTPUT).run()
    return 0


def _owner() -> int:
    """To whom messages belong."""
    if Control().line("mode") != SYSTEM.encode():
        return os.getuid()
    import pwd  # noqa: PLC0415  a single home has no accounts

    try:
        return pwd.getpwnam("qmailq").pw_uid
    except KeyError:
        raise TemporaryError("there is no account qmailq on this machine") from None


def _start(command: Command, message: int, output: int) -> int:
    remote = os.environb.get(b"QMAILREMOTE", b"qmail-remote")
    call = (remote, command.host, command.sender, command.local + b"@" + command.host)
    actions = [(os.POSIX_SPAWN_DUP2, message, 0), (os.POSIX_SPAWN_DUP2, output, _OUTPUT)]
    try:
        return os.posix_spawnp(remote, call, os.environb, file_actions=actions, setsigdef=(signal.SIGPIPE,))
    except _NOT_THERE as error:
        raise Refusal(report.NOT_RUN.letter, report.NOT_RUN.text) from error


def _report(code: int, output: bytes) -> Report:
    record = report.of_program(code, output)
    return record.letter, record.text


if __name__ == "__main__":
    main()
