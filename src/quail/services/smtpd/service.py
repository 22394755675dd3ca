"""One smtpd worker: what its sessions share."""

import asyncio
from collections.abc import Callable

from quail.control.reader import Control
from quail.errors import TemporaryError
from quail.net.interfaces import local_addresses
from quail.policy import smtp as policy
from quail.services.inbound import worker
from quail.services.inbound.mail import MailWorker
from quail.services.smtpd.session import SmtpSession
from quail.smtp.settings import Settings
from quail.supervise.context import Context


class Smtpd(MailWorker):
    """One worker."""

    STOPPING = b"421 4.3.2 shutting down; try again later"
    TOO_MANY = b"421 4.7.0 too many connections; try again later"

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        """As Worker's."""
        super().__init__(context, loop, rules="smtp")

    def read_control(self, control: Control) -> None:
        """See Worker."""
        self._policy = policy.Rules(control, local_addresses())
        self.patience = self._policy.timeout

    def session_for(self, line: str, *, local: bool) -> Callable[[], asyncio.BaseProtocol]:
        """See Worker."""
        lmtp = line == "lmtp"
        return lambda: SmtpSession(self, lmtp=lmtp, local=local)

    def admit(self, session: SmtpSession, peer: str, name: bytes | None, info: bytes | None) -> Settings | bytes:
        """What the session is served with; or what to say before the connection is closed, which may be nothing.

        As Worker.environment has it: `peer` an address or LOCAL, `name` its name and `info` who is there, if they are known.
        """
        if self.stopping:
            return self.STOPPING
        try:
            environment = self.environment(peer, name, info)
            if environment is None:
                return b""
            session.environment = environment
            return self._policy.settings(environment, lmtp=session.lmtp)
        except TemporaryError as error:
            self.log(f"warning: {peer} dropped: {error}")
            return policy.UNREADABLE_CONTROLS


def run(context: Context) -> None:
    """Entry point of the service."""
    worker.run(context, Smtpd)
