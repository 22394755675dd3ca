"""What serve hands to a service that it forks."""

import os
import signal
import socket
from collections.abc import Mapping

from quail.supervise.log import LineLog

HELD_BACK = (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Context:
    """The service's share of the installation; its working directory is the home.

    sockets are listening, non-blocking and inherited, by name; they outlive a crash of the service. life_fd gives EOF when
    serve has died: then the service ends at once. log writes one line (prefix and newline are added). The service calls
    ready() once its signal handlers can act. nofile is the limit of open files, soft and hard, that serve was started with.
    uids are those of a system home's accounts, by name; none in a single home.
    """

    __slots__ = ("counters", "home", "life_fd", "log", "mode", "nofile", "sockets", "uids", "worker")

    def __init__(
        self,
        *,
        home: str,
        mode: str,
        sockets: dict[str, socket.socket],
        life_fd: int,
        worker: int,
        log: LineLog,
        nofile: tuple[int, int],
        uids: Mapping[str, int],
        counters: memoryview | None = None,
    ) -> None:
        """`home` is absolute; `mode` is single or system; `counters` is memory shared by the workers of one service."""
        self.home = home
        self.mode = mode
        self.sockets = sockets
        self.life_fd = life_fd
        self.worker = worker
        self.log = log
        self.nofile = nofile
        self.uids = uids
        self.counters = counters

    def service_uids(self) -> frozenset[int]:
        """The uids that services run as, and nobody's mail is delivered as (alias is none of them)."""
        if not self.uids:
            return frozenset({os.geteuid()})  # in a single home every service is the starter
        return frozenset(uid for name, uid in self.uids.items() if name != "alias")

    @staticmethod
    def ready() -> None:
        """The service's signal handlers stand and can act: TERM, HUP and ALRM, held back since the fork, come through now."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
