"""One worker of QMTP or QMQP: what its sessions share."""

import asyncio
from collections.abc import Callable

from quail.control.reader import Control
from quail.errors import TemporaryError
from quail.policy.qmtp import Rules
from quail.qmqp.server import Session as QmqpMachine
from quail.qmtp.exchange import Exchange
from quail.qmtp.server import Session as QmtpMachine
from quail.services.inbound import worker
from quail.services.inbound.mail import MailWorker
from quail.services.qmtpd.session import NetstringSession
from quail.supervise.context import Context


class Service(MailWorker):
    """One worker. `protocol`: as Received fields name it."""

    protocol: bytes

    def session_for(self, line: str, *, local: bool) -> Callable[[], asyncio.BaseProtocol]:
        """See Worker."""
        del line, local
        return lambda: NetstringSession(self)

    def read_control(self, control: Control) -> None:
        """See Worker."""
        self.patience = control.integer("timeoutsmtpd")

    def machine(self, environment: dict[bytes, bytes]) -> Exchange:
        """What serves a peer whose rule says this. TemporaryError if that can't be found out."""
        raise NotImplementedError

    def admit(self, peer: str, name: bytes | None) -> tuple[dict[bytes, bytes], Exchange] | None:
        """What a peer is served with, None if it is not; why not is in the log. `name` is None if it isn't known."""
        if self.stopping:
            return None
        try:
            environment = self.environment(peer, name)
            return None if environment is None else (environment, self.machine(environment))
        except TemporaryError as error:
            self.log(f"warning: {peer} dropped: {error}")
            return None


class Qmtpd(Service):
    """Relays and others that speak QMTP come by the rules of SMTP."""

    protocol = b"QMTP"

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        """As Worker's."""
        super().__init__(context, loop, rules="smtp")

    def read_control(self, control: Control) -> None:
        """See Worker."""
        rules = Rules(control)
        super().read_control(control)
        self._policy = rules

    def machine(self, environment: dict[bytes, bytes]) -> Exchange:
        """See Service."""
        return QmtpMachine(self._policy.settings(environment))


class Qmqpd(Service):
    """Who comes in may send mail to anybody: nobody comes in whom no rule allows."""

    protocol = b"QMQP"

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        """As Worker's."""
        super().__init__(context, loop, rules="qmqp", closed=True)

    def machine(self, environment: dict[bytes, bytes]) -> Exchange:
        """See Service."""
        del environment
        return QmqpMachine()


def run_qmtpd(context: Context) -> None:
    """Entry point of the service."""
    worker.run(context, Qmtpd)


def run_qmqpd(context: Context) -> None:
    """Entry point of the service."""
    worker.run(context, Qmqpd)
