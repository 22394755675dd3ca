"""One connection of QMTP or QMQP: the protocol's machine between the peer, the users service and the queue."""

import asyncio
import time
from typing import TYPE_CHECKING, cast

from quail.message.logtext import safe
from quail.net.frames import frame
from quail.net.resolver import Resolver
from quail.policy.qmtp import LIFETIME, queue_reply, recipient_reply
from quail.policy.smtp import received
from quail.qmtp.exchange import ABANDON, BEGIN, BODY, ENVELOPE, FLUSH, RECIPIENT, Exchange
from quail.queue.handover import BODY_FIRST, END, Reply, encode_envelope
from quail.services.inbound.handoff import Handoff
from quail.services.inbound.worker import NAME_PATIENCE

if TYPE_CHECKING:
    from quail.services.qmtpd.service import Service

_GATHER = 32 << 10  # bytes of a message kept here before it has to be streamed to the queue
_LINGER = 30.0  # seconds that a peer gets to take the last reply
_HIGH_WATER = 256 << 10  # bytes that a peer may send ahead while it has to wait


class NetstringSession(asyncio.Protocol):
    """`last` is when the peer was last heard, in the event loop's time."""

    __slots__ = (
        "_ahead",
        "_began",
        "_early",
        "_environment",
        "_handoff",
        "_is_whole",
        "_machine",
        "_message",
        "_message_size",
        "_naming",
        "_paused",
        "_peer",
        "_peer_full",
        "_queue_full",
        "_service",
        "_story",
        "_transport",
        "counted",
        "last",
    )  # fmt: skip

    def __init__(self, service: "Service") -> None:
        """Made for each accepted connection."""
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._machine: Exchange | None = None
        self._environment: dict[bytes, bytes] = {}
        self._peer = ""
        self._handoff: Handoff | None = None
        self._message: list[bytes] = []
        self._message_size = 0
        self._is_whole = False  # the queue has all of the message, or will have
        self._story = ""  # of the message at hand, for the log
        self._naming: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._ahead = 0
        self._paused = False
        self._peer_full = False
        self._queue_full = False
        self._began = 0.0
        self.counted = False
        self.last = 0.0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, unless limits or rules say otherwise; before that find out the peer's name if that is asked for."""
        self._transport = cast(asyncio.Transport, transport)
        service = self._service
        self.last = self._began = service.loop.time()
        peer = transport.get_extra_info("peername")
        if not peer:  # it has gone again already
            transport.close()
            return
        self._peer = peer[0]
        service.sessions.add(self)
        if service.stopping or not service.enter(self, self._peer):
            transport.close()
        elif service.resolver is None:
            self._admit(None)
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
            self._admit(name)
            for data in early:  # what the peer has said meanwhile, or its end
                self.data_received(data) if data else self.eof_received()

    def _admit(self, name: bytes | None) -> None:
        found = self._service.admit(self._peer, name)
        if found is None:
            assert self._transport is not None
            self._transport.close()
            return
        self._environment, self._machine = found
        self.last = self._service.loop.time()

    def data_received(self, data: bytes) -> None:
        """Whatever the peer sends."""
        machine = self._machine
        if machine is None:
            self._hear_early(data)
            return
        self.last = self._service.loop.time()
        machine.receive(data)
        if machine.waiting or self._peer_full:
            self._ahead += len(data)
            if self._ahead > _HIGH_WATER:
                self._pause()
        else:
            self._work()

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read."""
        if self._machine is not None:
            self._machine.receive(b"")
            self._work()
        else:
            self._hear_early(b"")
        return True

    def _hear_early(self, data: bytes) -> None:
        """While the peer's name is looked up; nothing is heard after the end."""
        if self._naming is not None:
            self._early.append(data)
            self._ahead += len(data)
            if self._ahead > _HIGH_WATER:
                self._pause()

    def connection_lost(self, exc: Exception | None) -> None:
        """A message that the queue has not got whole is abandoned; one that it has is delivered."""
        del exc
        self._service.leave(self, self._peer)
        self._transport = None
        if self._naming is not None:
            self._naming.cancel()
        if self._handoff is not None and not self._is_whole:
            self._handoff.abandon()
            self._handoff = None
        self._machine = None
        self._message.clear()

    def pause_writing(self) -> None:
        """The peer does not read our replies: it is not read either."""
        self._peer_full = True
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._peer_full = False
        self._ahead = 0
        self._resume()
        self._work()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._peer_full or self._queue_full:
            return
        if self._paused:
            self._paused = False
            transport.resume_reading()

    # The machine's side.

    def _work(self) -> None:
        """Everything that can be done without waiting; then write."""
        machine = self._machine
        if machine is None or self._transport is None or self._peer_full or machine.waiting:
            return
        while (event := machine.next_event()) is not None:
            kind = event[0]
            if kind is BODY:
                self._body(event[1])
            elif kind is RECIPIENT:
                self._recipient(event[1])
            elif kind is BEGIN:
                self._begin()
            elif kind is ENVELOPE:
                self._end(event[1], event[2])
            elif kind is ABANDON:
                self._abandon(event[1])
            elif kind is FLUSH:
                if not self._has_written(machine):
                    return
            else:  # CLOSE
                self._close(machine, *event[1:])
                return
        self._has_written(machine)

    def _has_written(self, machine: Exchange) -> bool:
        """Write what there is; whether the peer takes more."""
        output = machine.take_output()
        if output and self._transport is not None:
            self._transport.write(output)
        return not self._peer_full

    def _close(self, machine: Exchange, code: int, reason: str) -> None:
        assert self._transport is not None
        if code:
            self._service.log(f"{self._peer} dropped: {reason}")
        self._has_written(machine)
        self._transport.close()
        self._machine = None
        self.last = self._service.loop.time()

    def _recipient(self, address: bytes) -> None:
        machine = self._machine
        assert machine is not None
        if self._service.recipients.is_known(address):
            machine.recipient_verdict(None)
            return

        def answered(letter: bytes, text: bytes) -> None:
            if self._machine is None:
                return
            refusal = recipient_reply(letter)
            if refusal is not None:
                why = f" ({safe(text)})" if text else ""
                self._service.log(f"{self._peer} recipient <{safe(address)}> refused: {safe(refusal)}{why}")
            self._machine.recipient_verdict(refusal)
            self._go_on()

        self._service.recipients.ask(address, answered)

    def _go_on(self) -> None:
        """After an answer that was waited for."""
        self.last = self._service.loop.time()
        self._ahead = 0
        self._resume()
        self._work()

    def _begin(self) -> None:
        field = received(self._environment, None, time.time(), self._service.protocol)
        self._message = [frame(field)]
        self._message_size = 0
        self._is_whole = False
        self._story = "message"

    def _body(self, data: bytes) -> None:
        self._message.append(frame(data))
        self._message_size += len(data)
        if self._message_size > _GATHER:
            self._send()

    def _send(self) -> None:
        if self._handoff is None:
            self._handoff = self._service.pool.acquire(self)
            self._message.insert(0, BODY_FIRST)
        self._handoff.write(b"".join(self._message))
        self._message.clear()

    def _end(self, sender: bytes, recipients: list[bytes]) -> None:
        count = f"{len(recipients)} recipient{'s' if len(recipients) != 1 else ''}"
        self._story = f"message from <{safe(sender)}> to {count}"
        self._is_whole = True
        envelope = encode_envelope(sender, recipients)
        if self._handoff is not None:
            self._message += (END, envelope)
            self._send()
        else:
            self._service.pool.submit(b"".join((envelope, *self._message, END)), self)
            self._message.clear()

    def _abandon(self, reason: str) -> None:
        self._message.clear()
        if self._handoff is not None:
            self._handoff.abandon()
            self._handoff = None
        self._queue_full = False
        self._resume()
        self._service.log(f"{self._peer} message given up: {reason}")

    def handed_over(self, reply: Reply) -> None:
        """The queue's answer, at the end or, when it has gone, in the middle."""
        self._handoff = None
        self._queue_full = False
        self._message.clear()
        if self._machine is None:
            return
        self._machine.message_done(queue_reply(reply.letter, reply.text, time.time()))
        what = f"msg {reply.text.decode()}" if reply.letter == b"K" else f"refused: {safe(reply.text)}"
        self._service.log(f"{self._peer} {self._story}: {what}")
        self._go_on()

    def pause_message(self, paused: bool) -> None:
        """The queue is slower than the peer."""
        self._queue_full = paused
        if paused:
            self._pause()
        else:
            self._resume()

    def check_silence(self, now: float, patience: float) -> None:
        """Give up a peer that has said nothing for too long, or has been here for too long, and cut off one that does not take
        the last reply either.
        """
        if self._machine is None:
            if now - self.last > _LINGER:
                self.close()
            return
        if not self._machine.waiting and (now - self.last > patience or now - self._began > LIFETIME):
            self._peer_full = False
            self._machine.timeout()
            self._work()

    def shut_down(self) -> None:
        """The service stops: the message at hand is taken, nothing after it."""
        if self._naming is not None:
            self._naming.cancel()
        elif self._machine is not None:
            self._machine.shutdown()
            self._work()

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()
