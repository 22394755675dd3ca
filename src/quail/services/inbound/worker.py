"""One process that takes connections from the network: listeners, limits, access rules, the peers' names, and the clock for
all sessions. What is spoken is the service's own.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import Protocol

import uvloop

from quail.control.nameservers import Server
from quail.control.places import rules_file
from quail.control.reader import Control
from quail.errors import QuailError
from quail.net.resolvconf import nameservers
from quail.net.resolver import Resolver
from quail.net.tcprules import Rules
from quail.services.inbound.census import Census
from quail.supervise.context import Context

LOCAL = "local"  # the address of those who connect by a Unix socket
NAME_PATIENCE = 5.0  # seconds that looking up a peer's name may take
_SWEEP = 1.0  # seconds between looks at silent sessions
_GRACE = 8.0  # seconds that sessions get at TERM


class Session(Protocol):
    """What the worker asks of a session; it is an asyncio.Protocol besides. `counted`: the worker's own mark."""

    counted: bool

    def check_silence(self, now: float, patience: float) -> None:
        """Called each second, with the event loop's time: give up a peer that has said nothing for `patience` seconds."""

    def shut_down(self) -> None:
        """The service stops: end what is at hand, begin nothing."""

    def close(self) -> None:
        """Drop the connection at once."""


class Worker:
    """A service says what its sessions are, and what it reads and does besides.

    `patience`: seconds that a peer may say nothing. STOPPING, TOO_MANY: what a peer is told for whom there is no session.
    """

    STOPPING = b""
    TOO_MANY = b""

    patience: float

    def __init__(
        self,
        context: Context,
        loop: asyncio.AbstractEventLoop,
        *,
        rules: str,
        closed: bool = False,
    ) -> None:
        """`rules` names the access rules (smtp, pop3, qmqp), without one of which a peer is denied if `closed`. Control files
        are read here: ConfigError, TemporaryError.
        """
        assert context.counters is not None
        self.loop = loop
        self.resolver: Resolver | None = None  # None: clients are not looked up
        self.sessions: set[Session] = set()
        self.stopping = False
        self._context = context
        self._census = Census(context.counters, context.worker)
        self._rules = Rules(rules_file(context.mode, rules), closed=closed)
        self._nameservers: list[Server] | None = None
        self._lines: list[str] = []
        self._servers: list[asyncio.AbstractServer] = []
        self.reread()

    def read_control(self, control: Control) -> None:
        """The service's own files, at the start and after HUP, `patience` among them; a QuailError leaves what was read
        before.
        """

    def sweep(self) -> None:
        """Each second."""

    def close(self) -> None:
        """After the loop has stopped."""
        self._flush_log()

    def reread(self) -> None:
        """Read all control files; a QuailError leaves the service as it was."""
        control = Control()
        limits = control.integer("concurrencyincoming"), control.integer("maxconnectionsperip")
        local_name = control.required("me")
        servers, look_up = nameservers(control), control.integer("remotelookup")
        self.read_control(control)  # nothing behind it fails
        self._max_total, self._max_each = limits
        self._local_name = local_name
        if not look_up:
            self.resolver = None
        elif self.resolver is None or servers != self._nameservers:
            # Who still waits for the old one is answered.
            self.resolver = Resolver(nameservers=servers, patience=NAME_PATIENCE)
        self._nameservers = servers

    def log(self, text: str) -> None:
        """One line; lines of one turn of the loop are written together."""
        if not self._lines:
            self.loop.call_soon(self._flush_log)
        self._lines.append(text)

    def _flush_log(self) -> None:
        lines, self._lines = self._lines, []
        self._context.log.lines(lines)

    def session_for(self, line: str, *, local: bool) -> Callable[[], asyncio.BaseProtocol]:
        """What makes a session for each connection to a listener: `line` is its word in control/listen, `local` whether it is a
        Unix socket.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """Listen."""
        loop = self.loop
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_reader(self._context.life_fd, os._exit, 111)
        for name, listener in self._context.sockets.items():
            local = listener.family == socket.AF_UNIX
            make = self.session_for(name.partition(".")[0], local=local)
            serve = loop.create_unix_server if local else loop.create_server
            self._servers.append(await serve(make, sock=listener))
        self._sweep()

    def count(self, session: Session, peer: str) -> bytes | None:
        """Count one more connection; if it is not within the limits, what to say before it is closed."""
        if self.stopping:
            return self.STOPPING
        census = self._census
        if census.total() >= self._max_total or census.from_address(peer) >= self._max_each:
            self.log(f"{peer} refused: too many connections")
            return self.TOO_MANY
        census.enter(peer)
        session.counted = True
        return None

    def environment(self, peer: str, name: bytes | None, info: bytes | None = None) -> dict[bytes, bytes] | None:
        """What the access rules say about a peer (variables of tcp-environ(5)), None if they deny it. `peer` is an address or
        LOCAL, `name` its name, `info` who is there; None if that isn't known. TemporaryError if the rules can't be read.
        """
        decision = self._rules.decide(peer.encode(), name, info)
        if decision.deny:
            who = f"{info.decode()}@{peer}" if info is not None else peer
            rule = decision.rule
            why = ": no rule allows it" if rule is None else f" by rule {rule.decode('ascii', 'replace')}:"
            self.log(f"{who} denied{why}")
            return None
        return {
            b"TCPREMOTEIP": peer.encode(),
            b"TCPLOCALHOST": self._local_name,
            **({b"TCPREMOTEHOST": name} if name is not None else {}),
            **({b"TCPREMOTEINFO": info} if info is not None else {}),
            **dict(decision.environment),
        }

    def leave(self, session: Session, peer: str) -> None:
        """The connection is gone."""
        self.sessions.discard(session)
        if session.counted:
            self._census.leave(peer)
        if self.stopping and not self.sessions:
            self.loop.stop()

    def _sweep(self) -> None:
        self.loop.call_later(_SWEEP, self._sweep)  # whatever comes of it this time
        self.sweep()
        now = self.loop.time()
        for session in list(self.sessions):
            try:
                session.check_silence(now, self.patience)
            except Exception as error:
                # A bug costs one session its connection, not all others their clock.
                self.log(f"alert: internal error, connection dropped: {error!r}")
                session.close()

    def _hang_up(self) -> None:
        try:
            self.reread()
        except QuailError as error:
            self.log(f"alert: unable to reread controls: {error}; going on with what they said before")

    def _terminate(self) -> None:
        if self.stopping:
            return
        self.stopping = True
        for server in self._servers:
            server.close()
        for session in list(self.sessions):
            session.shut_down()
        if self.sessions:
            self.loop.call_later(_GRACE, self.loop.stop)
        else:
            self.loop.stop()


def run(context: Context, make: Callable[[Context, asyncio.AbstractEventLoop], Worker]) -> None:
    """Entry point of such a service."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = make(context, loop)
    loop.run_until_complete(worker.start())
    loop.call_soon(context.ready)  # signals act only while the loop runs
    loop.run_forever()
    worker.close()
