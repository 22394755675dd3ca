"""popd: POP3 clients until their log-in, as an account that can read nothing (DESIGN.md, Processes)."""

import asyncio
import os
import time
from collections.abc import Callable

from quail.control.reader import Control
from quail.errors import TemporaryError
from quail.policy.logins import Guard
from quail.pop3.login import Login, Settings
from quail.services.inbound import worker
from quail.services.popd.authd_client import AuthdClient
from quail.services.popd.login import PopConnection
from quail.supervise.context import Context

PATIENCE = 600.0  # seconds of silence; RFC 1939 s3 has no less
UNREADABLE = b"-ERR [SYS/TEMP] unable to read controls"


class Popd(worker.Worker):
    """The service."""

    STOPPING = b"-ERR [SYS/TEMP] shutting down, try again later"
    TOO_MANY = b"-ERR [SYS/TEMP] too many connections, try again later"

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        """As Worker's."""
        super().__init__(context, loop, rules="pop3")
        self.patience = PATIENCE
        self.guard = Guard()
        self.authd = AuthdClient(loop, "run/authd.sock")
        self._settings = Settings()
        self._greeted = 0

    def read_control(self, control: Control) -> None:
        """See Worker."""
        host = control.required("me")
        self._apop = bool(control.integer("apop"))
        self._host = host

    def session_for(self, line: str, *, local: bool) -> Callable[[], asyncio.BaseProtocol]:
        """See Worker."""
        del line, local
        return lambda: PopConnection(self)

    def admit(self, peer: str, name: bytes | None) -> Login | bytes:
        """The machine that the client talks with; or what to say before the connection is closed, which may be nothing."""
        if self.stopping:
            return self.STOPPING
        try:
            if self.environment(peer, name) is None:
                return b""
        except TemporaryError as error:
            self.log(f"warning: {peer} dropped: {error}")
            return UNREADABLE
        return Login(self._settings, self._challenge() if self._apop else None)

    def _challenge(self) -> bytes:
        """Like no other, of any process before or after this one (RFC 1939 s7)."""
        self._greeted += 1
        return b"<%d.%d.%d@%b>" % (os.getpid(), time.time(), self._greeted, self._host)

    def sweep(self) -> None:
        """See Worker."""
        self.authd.sweep()

    def close(self) -> None:
        """See Worker."""
        self.authd.close()
        super().close()


def run(context: Context) -> None:
    """Entry point of the service."""
    worker.run(context, Popd)
