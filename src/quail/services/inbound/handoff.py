"""Connections to the queue. docs/formats/handover.md.

A message that is gathered whole goes over one connection that all sessions share: many of them, and their replies, travel
together. A longer one has a connection to itself while it lasts, which is then kept for the next.
"""

import asyncio
from collections import deque
from typing import Protocol, cast

from quail.errors import PeerError
from quail.net.frames import Splitter
from quail.net.unix_stream import connect
from quail.queue.handover import ABANDON, MAX_REPLY, Reply, decode_reply

MAX_IDLE = 64  # connections kept for the next message
_HIGH_WATER = 64 << 10  # bytes of one turn of the loop that are not kept back for its end
GONE = Reply(b"Z", b"the queue is not available (#4.3.0)")


class Borrower(Protocol):
    """A session with a message on its way."""

    def handed_over(self, reply: Reply) -> None:
        """The queue's answer; GONE when it went away without one."""

    def pause_message(self, paused: bool) -> None:
        """The queue takes no more just now, or does again; handed_over() ends a pause, too."""


class Handoff(asyncio.Protocol):
    """One connection. `borrowers` wait for their replies, in order; a streaming one is alone."""

    __slots__ = (
        "_flush_due",
        "_loop",
        "_paused",
        "_pool",
        "_splitter",
        "_transport",
        "_unsent",
        "_unsent_size",
        "_unwanted",
        "borrowers",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: "HandoffPool") -> None:
        """Made by the pool."""
        self._loop = loop
        self._pool = pool
        self._splitter = Splitter(MAX_REPLY)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._flush_due = False
        self._paused = False
        self._unwanted = False
        self.borrowers: deque[Borrower] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """What was written before goes out now."""
        self._transport = cast(asyncio.Transport, transport)
        if self._paused:
            self.resume_writing()
        self._flush()
        if self._unwanted:
            transport.close()

    def lend(self, borrower: Borrower) -> None:
        """The next reply is the borrower's."""
        self.borrowers.append(borrower)
        if self._paused:
            borrower.pause_message(True)

    def write(self, data: bytes) -> None:
        """Frames of a message; those of one turn of the loop go out together, unless they are many: the transport must be able
        to say stop before the peer has been read on and on.
        """
        self._unsent.append(data)
        self._unsent_size += len(data)
        if self._unsent_size > _HIGH_WATER:
            if self._transport is not None:
                self._flush_now()
            elif not self._paused:
                self.pause_writing()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is not None and self._unsent:
            self._flush_now()

    def _flush_now(self) -> None:
        assert self._transport is not None
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_size = 0
        self._transport.write(data)

    def abandon(self) -> None:
        """Give the streamed message up; the connection can be used again."""
        self.write(ABANDON)
        self.borrowers.clear()
        self._pool.give_back(self)

    def data_received(self, data: bytes) -> None:
        """Replies."""
        try:
            for payload in self._splitter.feed(data):
                if not self.borrowers:
                    raise PeerError("a reply that nobody waits for")
                reply = decode_reply(payload)
                borrower = self.borrowers.popleft()
                if not self.borrowers:
                    self._pool.give_back(self)
                borrower.handed_over(reply)
        except PeerError:
            self.close()

    def pause_writing(self) -> None:
        """Called by the transport."""
        self._paused = True
        for borrower in self.borrowers:
            borrower.pause_message(True)

    def resume_writing(self) -> None:
        """Called by the transport."""
        self._paused = False
        for borrower in self.borrowers:
            borrower.pause_message(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The queue was stopped or died: a message without a reply is not known to be queued."""
        del exc
        self._transport = None
        self.failed()

    def failed(self) -> None:
        """No connection, or none any more."""
        self._pool.forget(self)
        while self.borrowers:
            self.borrowers.popleft().handed_over(GONE)

    def close(self) -> None:
        """Drop the connection; one that is still being made, as soon as it is."""
        self._unwanted = True
        if self._transport is not None:
            self._transport.close()


class HandoffPool:
    """All connections of this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        """Connects when the first message comes."""
        self._loop = loop
        self._path = path
        self._shared: Handoff | None = None
        self._idle: list[Handoff] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, frames: bytes, borrower: Borrower) -> None:
        """A whole message."""
        if self._shared is None:
            self._shared = self._new()
        self._shared.lend(borrower)
        self._shared.write(frames)

    def acquire(self, borrower: Borrower) -> Handoff:
        """A connection for one message that is written piece by piece."""
        handoff = self._idle.pop() if self._idle else self._new()
        handoff.lend(borrower)
        return handoff

    def _new(self) -> Handoff:
        handoff = Handoff(self._loop, self)
        task = self._loop.create_task(self._connect(handoff))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return handoff

    async def _connect(self, handoff: Handoff) -> None:
        sock = None
        try:
            sock = connect(self._path)
            await self._loop.create_unix_connection(lambda: handoff, sock=sock)
        except OSError:  # the queue is down, or there are no more descriptors
            if sock is not None:
                sock.close()
            handoff.failed()

    def give_back(self, handoff: Handoff) -> None:
        """It has no message any more."""
        if handoff is self._shared:
            return
        if len(self._idle) < MAX_IDLE:
            self._idle.append(handoff)
        else:
            handoff.close()

    def forget(self, handoff: Handoff) -> None:
        """It is of no use any more."""
        if handoff is self._shared:
            self._shared = None
        if handoff in self._idle:
            self._idle.remove(handoff)

    def close(self) -> None:
        """At the end."""
        for handoff in [*self._idle, *([self._shared] if self._shared is not None else [])]:
            handoff.close()
