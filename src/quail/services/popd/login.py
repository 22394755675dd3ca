"""One POP3 connection before its log-in: the protocol machine between the client and authd.

Who is accepted leaves: a process of the user has the connection then, and this one lets it go without a word.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from quail.message.logtext import safe
from quail.net.authd_protocol import ACCEPTED, REFUSED, Request
from quail.net.resolver import Resolver
from quail.pop3 import login
from quail.pop3.login import AUTHENTICATE, CLOSE, Login
from quail.services.inbound.worker import NAME_PATIENCE
from quail.users.check import APOP, PLAIN

if TYPE_CHECKING:
    from quail.services.popd.service import Popd

LEAST = 1.0  # seconds that a wrong password takes: it does not tell whether there is such a user, nor how busy the machine is
_LINGER = 30.0  # seconds that a peer gets to take the last reply
_HIGH_WATER = 64 << 10  # bytes that a peer may send ahead while it has to wait


class PopConnection(asyncio.Protocol):
    """`last` is when the peer was last heard, in the event loop's time."""

    __slots__ = (
        "_ahead",
        "_delay",
        "_early",
        "_machine",
        "_naming",
        "_paused",
        "_peer",
        "_peer_full",
        "_service",
        "_transport",
        "counted",
        "last",
    )  # fmt: skip

    def __init__(self, service: "Popd") -> None:
        """Made for each accepted connection."""
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._machine: Login | None = None
        self._peer = ""
        self._naming: asyncio.Task[None] | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._early: list[bytes] = []
        self._ahead = 0
        self._paused = False
        self._peer_full = False
        self.counted = False
        self.last = 0.0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, unless limits or rules say otherwise; before that find out the peer's name if that is asked for."""
        self._transport = cast(asyncio.Transport, transport)
        service = self._service
        self.last = service.loop.time()
        peer = transport.get_extra_info("peername")
        if not peer:  # it has gone again already
            transport.close()
            return
        self._peer = peer[0]
        service.sessions.add(self)
        refusal = service.count(self, self._peer)
        if refusal is not None:
            self._refuse(refusal)
        elif service.resolver is None:
            self._greet(None)
        else:
            self._naming = service.loop.create_task(self._find_name(service.resolver))

    async def _find_name(self, resolver: Resolver) -> None:
        try:
            name = await resolver.name_of(self._peer, patience=NAME_PATIENCE)
        except asyncio.CancelledError:  # the peer has gone, or the service stops
            name = None
        self._naming = None
        if self._transport is not None:
            early, self._early, self._ahead = self._early, [], 0
            self._resume()
            self._greet(name)
            for data in early:  # what the peer has said meanwhile, or its end
                self.data_received(data) if data else self.eof_received()

    def _greet(self, name: bytes | None) -> None:
        machine = self._service.admit(self._peer, name)
        if isinstance(machine, bytes):
            self._refuse(machine)
            return
        self.last = self._service.loop.time()
        self._machine = machine
        machine.start()
        self._work()

    def _refuse(self, reply: bytes) -> None:
        assert self._transport is not None
        if reply:
            self._transport.write(reply + b"\r\n")
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Whatever the peer sends."""
        machine = self._machine
        if machine is None:
            self._hear_early(data)
            return
        self.last = self._service.loop.time()
        machine.receive(data)
        if not machine.waiting:
            self._work()

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read."""
        if self._machine is not None:
            self._machine.receive(b"")
            if not self._machine.waiting:
                self._work()
        else:
            self._hear_early(b"")
        return True

    def _hear_early(self, data: bytes) -> None:
        """Before the greeting, while the peer's name is looked up; nothing is heard after the end."""
        if self._naming is not None:
            self._early.append(data)
            self._ahead += len(data)
            if self._ahead > _HIGH_WATER:
                self._pause()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or its connection is somebody else's now."""
        del exc
        self._service.leave(self, self._peer)
        self._transport = None
        self._machine = None
        if self._naming is not None:
            self._naming.cancel()
        if self._delay is not None:
            self._delay.cancel()

    def pause_writing(self) -> None:
        """The peer does not read our replies: it is not read either."""
        self._peer_full = True
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._peer_full = False
        self._resume()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        transport, machine = self._transport, self._machine
        if transport is None or transport.is_closing() or self._peer_full or (machine is not None and machine.waiting):
            return
        if self._paused:
            self._paused = False
            transport.resume_reading()

    # The machine's side.

    def _work(self) -> None:
        """Everything that can be done without waiting; then write."""
        machine, transport = self._machine, self._transport
        if machine is None or transport is None:
            return
        event = machine.next_event()
        output = machine.take_output()
        if output:
            transport.write(output)
        if event is None:
            return
        if event[0] is CLOSE:
            transport.close()
            self._machine = None
            self.last = self._service.loop.time()
        elif event[0] is AUTHENTICATE:
            self._authenticate(*event[1:])

    def _authenticate(self, user: bytes, secret: bytes, challenge: bytes | None) -> None:
        service, machine, transport = self._service, self._machine, self._transport
        assert machine is not None
        assert transport is not None
        now = service.loop.time()
        seconds = service.guard.refused_for(self._peer, user, now)
        if seconds > 0:
            self._log(user, f"refused unseen: too many wrong passwords, for {seconds:.0f} seconds more")
            machine.verdict(login.TROUBLE, b"too many wrong passwords, try again later")
            self._work()
            return
        self._pause()  # what comes now is for the process of the user
        if transport.get_write_buffer_size():  # the client does not read, and replies would come out of order
            self.close()
            return
        rest = machine.rest()
        request = Request(
            0,
            PLAIN if challenge is None else APOP,
            service=b"pop3",
            user=user,
            secret=secret,
            challenge=challenge or b"",
            peer=self._peer.encode(),
            rest=rest,
        )
        connection = transport.get_extra_info("socket").fileno()
        service.authd.ask(request, connection, lambda letter, text: self._judged(letter, text, user, rest, now))

    def _judged(self, letter: bytes, text: bytes, user: bytes, rest: bytes, asked: float) -> None:
        """The verdict. A failure is answered when its time has come."""
        service, machine = self._service, self._machine
        now = service.loop.time()
        if letter == ACCEPTED:
            service.guard.succeeded(self._peer, user, now)
            self._log(user, "ok")
            self.close()
            return
        wait = 0.0
        if letter == REFUSED:
            wait = max(0.0, asked + LEAST - now) + service.guard.failed(self._peer, user, now)
            self._log(user, "failed")
        else:
            self._log(user, "can't be judged now")
        if machine is None:  # the client has gone
            return
        machine.receive(rest) if rest else None
        outcome = login.REFUSED if letter == REFUSED else login.TROUBLE
        self._delay = service.loop.call_later(wait, self._tell, outcome, text)

    def _tell(self, outcome: int, text: bytes) -> None:
        self._delay = None
        if self._machine is None:
            return
        self.last = self._service.loop.time()
        self._machine.verdict(outcome, text)
        self._resume()
        self._work()

    def _log(self, user: bytes, how: str) -> None:
        self._service.log(f"{self._peer} log-in of {safe(user)}: {how}")

    def check_silence(self, now: float, patience: float) -> None:
        """Give up a peer that has said nothing for too long, and cut off one that does not take the last reply either."""
        if self._machine is None:
            if now - self.last > _LINGER and self._naming is None:
                self.close()
            return
        if not self._machine.waiting and now - self.last > patience:
            self._machine.timeout()
            self._work()

    def shut_down(self) -> None:
        """The service stops: nothing begins that is not at hand."""
        if self._naming is not None:
            self._naming.cancel()
        elif self._machine is not None:
            self._machine.shutdown()
            if not self._machine.waiting:
                self._work()

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()
