"""What every session with a peer of the network does alike: it greets after the limits, the rules and the peer's name have been
looked at, hears the peer no faster than it is answered, and ends. What is spoken is the machine's.
"""

import asyncio
from typing import Generic, Protocol, TypeVar, cast

from quail.net.resolver import Resolver
from quail.services.inbound.worker import NAME_PATIENCE, Worker

LINGER = 30.0  # seconds that a peer gets to take the last reply


class Machine(Protocol):
    """What a session asks of the machine that it drives. `waiting`: it can go on only with an answer that was asked for."""

    @property
    def waiting(self) -> bool: ...

    @property
    def has_more(self) -> bool:
        """Whether it has been given something that it has not looked at yet."""

    def receive(self, data: bytes) -> None:
        """What the peer has sent; nothing at its end."""

    def timeout(self) -> None:
        """The peer has been silent for too long."""

    def shutdown(self) -> None:
        """The service stops."""


M = TypeVar("M", bound=Machine)
W = TypeVar("W", bound=Worker)


class Session(asyncio.Protocol, Generic[W, M]):
    """`last` is when the peer was last heard, in the event loop's time; `counted`: the worker's own mark."""

    __slots__ = (
        "_ahead",
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

    HIGH_WATER = 256 << 10  # bytes that a peer may send ahead while it has to wait

    def __init__(self, service: W) -> None:
        """Made for each accepted connection."""
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._machine: M | None = None
        self._peer = ""
        self._naming: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._ahead = 0
        self._paused = False
        self._peer_full = False
        self.counted = False
        self.last = 0.0

    # What a protocol says for itself.

    def _admit(self, name: bytes | None) -> M | bytes:
        """The machine for this peer, whose name is None if it isn't known; or what it is told before it is sent away, which may
        be nothing.
        """
        raise NotImplementedError

    def _work(self) -> None:
        """Do everything that can be done without waiting; then write."""
        raise NotImplementedError

    def _who(self, transport: asyncio.BaseTransport) -> str | None:
        """What the peer is counted and logged as; None if it has gone again already."""
        name = transport.get_extra_info("peername")
        return name[0] if name else None

    def _has_name(self) -> bool:
        """Whether the DNS can tell the peer's name."""
        return True

    def _is_held_up(self) -> bool:
        """Whether what the peer sends has to wait."""
        assert self._machine is not None
        return self._machine.waiting

    def _may_hear(self) -> bool:
        """Whether the peer is to be read, as far as it takes our replies."""
        return True

    def _is_overdue(self, now: float, patience: float) -> bool:
        return now - self.last > patience

    def _forget(self) -> None:
        """The connection is gone; the machine is still there."""

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, unless limits or rules say otherwise; before that find out the peer's name if that is asked for."""
        self._transport = cast(asyncio.Transport, transport)
        service = self._service
        self.last = service.loop.time()
        peer = self._who(transport)
        if peer is None:
            transport.close()
            return
        self._peer = peer
        service.sessions.add(self)
        refusal = service.count(self, peer)
        if refusal is not None:
            self._refuse(refusal)
        elif service.resolver is None or not self._has_name():
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
            if data := b"".join(early):  # in one piece: what is behind a log-in goes on with it, as it does elsewhere
                self.data_received(data)
            if b"" in early:  # the peer's end, which is always the last of it
                self.eof_received()

    def _greet(self, name: bytes | None) -> None:
        machine = self._admit(name)
        if isinstance(machine, bytes):
            self._refuse(machine)
            return
        self.last = self._service.loop.time()
        self._machine = machine
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
        if self._is_held_up():
            self._ahead += len(data)
            if self._ahead > self.HIGH_WATER:
                self._pause()
        else:
            self._work()

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read."""
        if self._machine is not None:
            self._machine.receive(b"")
            if not self._is_held_up():
                self._work()
        else:
            self._hear_early(b"")
        return True

    def _hear_early(self, data: bytes) -> None:
        """Before the greeting, while the peer's name is looked up; nothing is heard after the end."""
        if self._naming is not None:
            self._early.append(data)
            self._ahead += len(data)
            if self._ahead > self.HIGH_WATER:
                self._pause()

    def connection_lost(self, exc: Exception | None) -> None:
        """What is at hand is forgotten, but for what is somebody else's already."""
        del exc
        self._service.leave(self, self._peer)
        self._transport = None
        if self._naming is not None:
            self._naming.cancel()
        self._forget()
        self._machine = None

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
        transport = self._transport
        if transport is None or transport.is_closing() or self._peer_full or not self._may_hear():
            return
        if self._paused and self._ahead <= self.HIGH_WATER:
            self._paused = False
            transport.resume_reading()

    def _go_on(self) -> None:
        """After an answer that was waited for."""
        self.last = self._service.loop.time()
        self._proceed()

    def _proceed(self) -> None:
        """Do what can be done now; a peer that has sent too much ahead is heard again when all of it has been looked at."""
        self._work()
        if self._machine is not None and not (self._is_held_up() and self._machine.has_more):
            self._ahead = 0
            self._resume()

    def _end_session(self) -> None:
        """The machine has said its last."""
        assert self._transport is not None
        self._transport.close()
        self._machine = None
        self.last = self._service.loop.time()

    # The worker's side.

    def check_silence(self, now: float, patience: float) -> None:
        """Give up a peer that has said nothing for too long, and cut off one that does not take the last reply either."""
        if self._machine is None:
            if now - self.last > LINGER:
                self.close()
        elif not self._machine.waiting and self._is_overdue(now, patience):
            self._machine.timeout()
            self._work()

    def shut_down(self) -> None:
        """The service stops: what is at hand is ended, nothing begins after it."""
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
