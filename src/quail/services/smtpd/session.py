"""One SMTP or LMTP session: the protocol machine between the peer, the users service and the queue."""

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from quail.message.logtext import safe
from quail.net.resolver import Resolver
from quail.policy import smtp as policy
from quail.queue.handover import END as END_OF_MESSAGE
from quail.queue.handover import Reply, encode_envelope
from quail.services.inbound.handoff import Handoff
from quail.services.inbound.worker import LOCAL, NAME_PATIENCE
from quail.smtp.server import ABANDON, BEGIN, BODY, CLOSE, END, RECIPIENT, Session

if TYPE_CHECKING:
    from quail.services.smtpd.service import Smtpd

_GATHER = 32 << 10  # bytes of a message kept here before it has to be streamed to the queue
_LINGER = 30.0  # seconds that a peer gets to take the last reply
_HIGH_WATER = 256 << 10  # bytes that a peer may send ahead while it has to wait
_PEER = struct.Struct("=iII")  # pid, uid, gid: unix(7), SO_PEERCRED


class SmtpSession(asyncio.Protocol):
    """`last` is when the peer was last heard, in the event loop's time; `environment` what its rule says, and its address.

    Who has come by a Unix socket is called UID@local, by the uid that the kernel tells: so it is counted, logged, and looked
    up in the access rules.
    """

    __slots__ = (
        "_ahead",
        "_early",
        "_handoff",
        "_info",
        "_local",
        "_machine",
        "_message",
        "_message_size",
        "_naming",
        "_paused",
        "_peer",
        "_peer_full",
        "_queue_full",
        "_recipients",
        "_sender",
        "_service",
        "_transport",
        "counted",
        "environment",
        "last",
        "lmtp",
    )  # fmt: skip

    def __init__(self, service: "Smtpd", *, lmtp: bool = False, local: bool = False) -> None:
        """Made for each accepted connection. local: to a Unix socket."""
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._machine: Session | None = None
        self._peer = ""
        self._info: bytes | None = None
        self._local = local
        self.lmtp = lmtp
        self._handoff: Handoff | None = None
        self._message: list[bytes] = []
        self._message_size = 0
        self._sender = b""
        self._recipients = 0
        self._naming: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._ahead = 0
        self._paused = False
        self._peer_full = False
        self._queue_full = False
        self.counted = False
        self.environment: dict[bytes, bytes] = {}
        self.last = 0.0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, unless limits or rules say otherwise; before that find out the peer's name if that is asked for."""
        self._transport = cast(asyncio.Transport, transport)
        service = self._service
        self.last = service.loop.time()
        if self._local:
            uid = _uid_of(transport.get_extra_info("socket"))
            self._info = b"%d" % uid
            self._peer = f"{uid}@{LOCAL}"
        else:
            peer = transport.get_extra_info("peername")
            if not peer:  # it has gone again already
                transport.close()
                return
            self._peer = peer[0]
        service.sessions.add(self)
        refusal = service.count(self, self._peer)
        if refusal is not None:
            self._refuse(refusal)
        elif service.resolver is None or self._local:
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
        settings = self._service.admit(self, LOCAL if self._local else self._peer, name, self._info)
        if isinstance(settings, bytes):
            self._refuse(settings)
            return
        self.last = self._service.loop.time()
        self._machine = Session(settings)
        self._machine.start()
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
        if machine.waiting:
            self._ahead += len(data)
            if self._ahead > _HIGH_WATER:
                self._pause()
        else:
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
        """A message that the queue has not got whole is abandoned; one that it has is delivered."""
        del exc
        self._service.leave(self, self._peer)
        self._transport = None
        if self._naming is not None:
            self._naming.cancel()
        if self._handoff is not None and self._machine is not None and not self._machine.waiting:
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
        self._resume()

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
        machine, transport = self._machine, self._transport
        if machine is None or transport is None:
            return
        while (event := machine.next_event()) is not None:
            kind = event[0]
            if kind is BODY:
                self._body(event[1])
            elif kind is RECIPIENT:
                self._recipient(event[1])
            elif kind is BEGIN:
                self._begin(*event[1:])
            elif kind is END:
                self._end()
            elif kind is ABANDON:
                self._abandon(event[1])
            elif kind is CLOSE:
                transport.write(machine.take_output())
                transport.close()
                self._machine = None
                self.last = self._service.loop.time()
                return
        output = machine.take_output()
        if output:
            transport.write(output)

    def _recipient(self, address: bytes) -> None:
        machine = self._machine
        assert machine is not None
        if self._service.recipients.is_known(address):
            machine.recipient_verdict(None)
            return

        def answered(letter: bytes, text: bytes) -> None:
            if self._machine is None:
                return
            refusal = policy.recipient_reply(letter)
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

    def _begin(self, sender: bytes, recipients: list[bytes], attributes: list[tuple[bytes, bytes]]) -> None:
        machine = self._machine
        assert machine is not None
        field = policy.received(self.environment, machine.helo, time.time(), b"LMTP" if self.lmtp else b"SMTP")
        self._sender, self._recipients = sender, len(recipients)
        self._message = [encode_envelope(sender, recipients, attributes), len(field).to_bytes(4, "big"), field]
        self._message_size = 0

    def _body(self, data: bytes) -> None:
        self._message += (len(data).to_bytes(4, "big"), data)
        self._message_size += len(data)
        if self._message_size > _GATHER or self._handoff is not None:
            self._send()

    def _send(self) -> None:
        if self._handoff is None:
            self._handoff = self._service.pool.acquire(self)
        self._handoff.write(b"".join(self._message))
        self._message.clear()

    def _end(self) -> None:
        self._message.append(END_OF_MESSAGE)
        if self._handoff is not None:
            self._send()
        else:
            self._service.pool.submit(b"".join(self._message), self)
            self._message.clear()

    def _abandon(self, reason: str) -> None:
        self._message.clear()
        if self._handoff is not None:
            self._handoff.abandon()
            self._handoff = None
        self._queue_full = False
        self._resume()
        self._service.log(f"{self._peer} message from <{safe(self._sender)}> given up: {reason}")

    def handed_over(self, reply: Reply) -> None:
        """The queue's answer, at the end or, when it has gone, in the middle."""
        self._handoff = None
        self._queue_full = False
        if self._machine is None:
            return
        self._machine.message_done(policy.queue_reply(reply.letter, reply.text, time.time()))
        what = f"msg {reply.text.decode()}" if reply.letter == b"K" else f"refused: {safe(reply.text)}"
        count = f"{self._recipients} recipient{'s' if self._recipients != 1 else ''}"
        self._service.log(f"{self._peer} message from <{safe(self._sender)}> to {count}: {what}")
        self._go_on()

    def pause_message(self, paused: bool) -> None:
        """The queue is slower than the peer."""
        self._queue_full = paused
        if paused:
            self._pause()
        else:
            self._resume()

    def check_silence(self, now: float, patience: float) -> None:
        """Give up a peer that has said nothing for too long, and cut off one that does not take the last reply either."""
        if self._machine is None:
            if now - self.last > _LINGER:
                self.close()
            return
        if not self._machine.waiting and now - self.last > patience:
            self._machine.timeout()
            self._work()

    def shut_down(self) -> None:
        """The service stops: the message at hand is taken, nothing after it."""
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


def _uid_of(sock: socket.socket) -> int:
    return int(_PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1])
