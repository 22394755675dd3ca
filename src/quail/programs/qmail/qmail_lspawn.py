"""usage: qmail-lspawn defaultdelivery

Make local deliveries for a qmail-send: commands on descriptor 0, reports on descriptor 1 (qmail-lspawn(8)). Exit 0 when there
are no more commands and all deliveries have ended, 100 if called wrongly, 111 if it can't begin.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
from functools import partial

from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.delivery import shed, spawned
from quail.delivery.spawning import Spawner
from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words
from quail.programs.run import home, program
from quail.users.accounts import Accounts

MESSAGES = "queue/mess"


@program("qmail-lspawn", takes=(1, None))
def main(args: list[bytes]) -> int:
    folder = os.path.abspath(home())
    deliveries, owner = _home(folder, args[0])
    _enter(f"{folder}/{MESSAGES}")
    shed.prepare()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Spawner(partial(spawned.start, deliveries), spawned.report, owner=owner, keep=spawned.KEEP).run()
    return 0


def _home(folder: str, default_delivery: bytes) -> tuple[spawned.Home, int]:
    """What deliveries go by, and to whom messages belong."""
    control = Control(f"{folder}/control")
    environment = dict(os.environb)
    lookup_as = service_uids = None
    owner = os.getuid()
    if control.line("mode") == SYSTEM.encode():
        if os.geteuid() != 0:
            raise TemporaryError(f"{folder} is a system home: only root can deliver in it")
        try:
            accounts = Accounts.load()
        except PermanentError as error:
            raise TemporaryError(str(error)) from error
        lookup_as = (accounts["qmailp"].uid, accounts["qmailp"].gid)
        service_uids = frozenset(uid for name, uid in accounts.uids().items() if name != "alias")
        owner = accounts["qmailq"].uid
    deliveries = spawned.Home(
        folder,
        default_delivery,
        environment=environment,
        program_timeout=control.integer("programtimeout"),
        lookup_as=lookup_as,
        service_uids=service_uids,
    )
    return deliveries, owner


def _enter(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise TemporaryError(f"unable to chdir to {path}: {words(error)}") from error


if __name__ == "__main__":
    main()
