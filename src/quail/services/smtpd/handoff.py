"""Connections to the queue, kept and lent to one session at a time. docs/formats/handover.md."""

import asyncio
import socket
from typing import Protocol, cast

from quail.errors import PeerError
from quail.net.frames import Splitter
from quail.queue.handover import ABANDON, MAX_REPLY, Reply, decode_reply

MAX_IDLE = 64  # connections kept for the next message
GONE = Reply(b"Z", b"the queue is not available (#4.3.0)")


class Borrower(Protocol):
    """A session with a message on its way."""

    def handed_over(self, reply: Reply) -> None:
        """The queue's answer; GONE when it went away without one."""

    def pause_message(self, paused: bool) -> None:
        """The queue takes no more just now, or does again."""


class Handoff(asyncio.Protocol):
    """One connection. It belongs to `borrower` from acquire() until the reply or abandon()."""

    __slots__ = ("_pool", "_splitter", "_transport", "_unsent", "borrower")

    def __init__(self, pool: "HandoffPool") -> None:
        """Made by the pool."""
        self._pool = pool
        self._splitter = Splitter(MAX_REPLY)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self.borrower: Borrower | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """What was written before goes out now."""
        self._transport = cast(asyncio.Transport, transport)
        if self._unsent:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def write(self, data: bytes) -> None:
        """Frames of the message at hand."""
        if self._transport is None:
            self._unsent.append(data)
        else:
            self._transport.write(data)

    def abandon(self) -> None:
        """Give the message up; the connection can be used again."""
        self.write(ABANDON)
        self.borrower = None
        self._pool.give_back(self)

    def data_received(self, data: bytes) -> None:
        """The reply."""
        try:
            for payload in self._splitter.feed(data):
                borrower, self.borrower = self.borrower, None
                reply = decode_reply(payload)
                if borrower is None:
                    raise PeerError("a reply that nobody waits for")
                self._pool.give_back(self)
                borrower.handed_over(reply)
        except PeerError:
            self.close()

    def pause_writing(self) -> None:
        """Called by the transport."""
        if self.borrower is not None:
            self.borrower.pause_message(True)

    def resume_writing(self) -> None:
        """Called by the transport."""
        if self.borrower is not None:
            self.borrower.pause_message(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The queue was stopped or died: a message without a reply is not known to be queued."""
        del exc
        self._transport = None
        self.failed()

    def failed(self) -> None:
        """No connection, or none any more."""
        self._pool.forget(self)
        borrower, self.borrower = self.borrower, None
        if borrower is not None:
            borrower.handed_over(GONE)

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.close()


class HandoffPool:
    """All connections of this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        """Connects when the first message comes."""
        self._loop = loop
        self._path = path
        self._idle: list[Handoff] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def acquire(self, borrower: Borrower) -> Handoff:
        """A connection for one message."""
        handoff = self._idle.pop() if self._idle else None
        if handoff is None:
            handoff = Handoff(self)
            task = self._loop.create_task(self._connect(handoff))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        handoff.borrower = borrower
        return handoff

    async def _connect(self, handoff: Handoff) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self._path)
            await self._loop.create_unix_connection(lambda: handoff, sock=sock)
        except OSError:
            sock.close()
            handoff.failed()

    def give_back(self, handoff: Handoff) -> None:
        """It has no message any more."""
        if len(self._idle) < MAX_IDLE:
            self._idle.append(handoff)
        else:
            handoff.close()

    def forget(self, handoff: Handoff) -> None:
        """It is of no use any more."""
        if handoff in self._idle:
            self._idle.remove(handoff)

    def close(self) -> None:
        """At the end."""
        for handoff in list(self._idle):
            handoff.close()
