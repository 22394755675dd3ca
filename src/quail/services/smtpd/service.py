"""One smtpd worker: listeners, limits, rules, and the clock for all its sessions."""

import asyncio
import os
import signal

import uvloop

from quail.control.nameservers import Server
from quail.control.places import rules_file
from quail.control.reader import Control
from quail.errors import QuailError, TemporaryError
from quail.net.interfaces import local_addresses
from quail.net.resolvconf import nameservers
from quail.net.resolver import Resolver
from quail.net.tcprules import Rules
from quail.policy import smtp as policy
from quail.services.smtpd.census import Census
from quail.services.smtpd.handoff import HandoffPool
from quail.services.smtpd.recipients import Recipients
from quail.services.smtpd.session import NAME_PATIENCE, SmtpSession
from quail.smtp.settings import Settings
from quail.supervise.context import Context

STOPPING = b"421 4.3.2 shutting down; try again later"
TOO_MANY_CONNECTIONS = b"421 4.7.0 too many connections; try again later"
_SWEEP = 1.0  # seconds between looks at silent sessions
_GRACE = 8.0  # seconds that sessions get at TERM


class Smtpd:
    """One worker."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        """Control files are read here: ConfigError, TemporaryError."""
        assert context.counters is not None
        self.loop = loop
        self.resolver: Resolver | None = None  # None: clients are not looked up
        self.sessions: set[SmtpSession] = set()
        self.pool = HandoffPool(loop, "run/queue.sock")
        self.recipients = Recipients(loop, "run/users.sock")
        self._context = context
        self._census = Census(context.counters, context.worker)
        self._rules = Rules(rules_file(context.mode, "smtp"))
        self._nameservers: list[Server] | None = None
        self._lines: list[str] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._stopping = False
        self._read_control()

    def _read_control(self) -> None:
        control = Control()
        self._policy = policy.Rules(control, local_addresses())
        self._max_total = control.integer("concurrencyincoming")
        self._max_each = control.integer("maxconnectionsperip")
        self._local_name = control.required("me")
        servers, look_up = nameservers(control), control.integer("remotelookup")
        if not look_up:
            self.resolver = None
        elif self.resolver is None or servers != self._nameservers:
            self.resolver = Resolver(
                nameservers=servers, patience=NAME_PATIENCE
            )  # who still waits for the old one is answered
        self._nameservers = servers

    def log(self, text: str) -> None:
        """One line; lines of one turn of the loop are written together."""
        if not self._lines:
            self.loop.call_soon(self._flush_log)
        self._lines.append(text)

    def _flush_log(self) -> None:
        lines, self._lines = self._lines, []
        self._context.log.lines(lines)

    async def start(self) -> None:
        """Listen."""
        loop = self.loop
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, self._reread)
        loop.add_reader(self._context.life_fd, os._exit, 111)
        for listener in self._context.sockets.values():
            self._servers.append(await loop.create_server(lambda: SmtpSession(self), sock=listener))
        self._sweep()

    def count(self, session: SmtpSession, peer: str) -> bytes | None:
        """None if one more is within the limits; else what to say before the connection is closed."""
        census = self._census
        if self._stopping:
            return STOPPING
        if census.total() >= self._max_total or census.from_address(peer) >= self._max_each:
            self.log(f"{peer} refused: too many connections")
            return TOO_MANY_CONNECTIONS
        census.enter(peer)
        session.counted = True
        return None

    def admit(self, session: SmtpSession, peer: str, name: bytes | None) -> Settings | bytes:
        """What the session is served with; or what to say before the connection is closed, which may be nothing.

        `name` is the peer's, None if it isn't known.
        """
        if self._stopping:
            return STOPPING
        try:
            decision = self._rules.decide(peer.encode(), name)
            if decision.deny:
                self.log(f"{peer} denied by rule {(decision.rule or b'').decode('ascii', 'replace')}:")
                return b""
            session.environment = {
                b"TCPREMOTEIP": peer.encode(),
                b"TCPLOCALHOST": self._local_name,
                **({b"TCPREMOTEHOST": name} if name is not None else {}),
                **dict(decision.environment),
            }
            return self._policy.settings(session.environment)
        except TemporaryError as error:
            self.log(f"warning: {peer} dropped: {error}")
            return policy.UNREADABLE_CONTROLS

    def leave(self, session: SmtpSession, peer: str) -> None:
        """The connection is gone."""
        self.sessions.discard(session)
        if session.counted:
            self._census.leave(peer)
        if self._stopping and not self.sessions:
            self.loop.stop()

    def _sweep(self) -> None:
        self.loop.call_later(_SWEEP, self._sweep)  # whatever comes of it this time
        self.recipients.sweep()
        now = self.loop.time()
        for session in list(self.sessions):
            try:
                session.check_silence(now, self._policy.timeout)
            except Exception as error:
                # A bug costs one session its connection, not all others their clock.
                self.log(f"alert: internal error, connection dropped: {error!r}")
                session.close()

    def _reread(self) -> None:
        try:
            self._read_control()
        except QuailError as error:
            self.log(f"alert: unable to reread controls: {error}; going on with what they said before")

    def _terminate(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        for server in self._servers:
            server.close()
        for session in list(self.sessions):
            session.shut_down()
        if self.sessions:
            self.loop.call_later(_GRACE, self.loop.stop)
        else:
            self.loop.stop()

    def close(self) -> None:
        """After the loop has stopped."""
        self.pool.close()
        self.recipients.close()
        self._flush_log()


def run(context: Context) -> None:
    """Entry point of the service."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    service = Smtpd(context, loop)
    loop.run_until_complete(service.start())
    loop.call_soon(context.ready)  # signals act only while the loop runs
    loop.run_forever()
    service.close()
