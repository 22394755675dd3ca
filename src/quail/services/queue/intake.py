"""Connections to run/queue.sock: one message after another becomes an entry for the journal. docs/formats/handover.md."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

from quail.errors import PeerError
from quail.message import received
from quail.net.frames import frame
from quail.queue import records
from quail.queue.handover import ABANDON_LENGTH, MAX_ADDRESS, MAX_ENVELOPE, Envelope, decode_envelope
from quail.queue.journal import INLINE_BODY
from quail.queue.records import Accepted
from quail.queue.store import Entry, LargeBody, Store
from quail.services.queue.writer import Writer

DEADLINE = (
    1260.0  # seconds without a byte in the middle of a message; longer than the longest silence of an SMTP client
)
IDLE_DEADLINE = 3600.0  # seconds between messages
MAX_CHUNK = 1 << 20
INLINE_TOTAL = 64 << 20  # bytes of unfinished messages in memory; above it they go to files early
MAX_FOR_UID = 500  # connections of one ordinary user
MAX_FOR_SERVICES = 20_000  # of the services' own accounts

_HIGH_WATER = 256 << 10  # unread bytes at which a client is made to wait
_CREDENTIALS = struct.Struct("3i")
_TOO_LONG = b"Denvelope address too long for qq (#5.1.3)"
_DISK_FULL = b"Zqueue disk is nearly full, try again later (#4.3.1)"
_WRITE_ERROR = b"Zqq write error or disk full (#4.3.0)"
_STOPPING = b"Zmail system is stopping, try again later (#4.3.2)"
_FORMAT = b"Dqq internal bug (#4.3.0)"


class Client(Protocol):
    """Who hands a message in."""

    @property
    def uid(self) -> int:
        """As the kernel knows it."""

    @property
    def pid(self) -> int:
        """0 if it is not known."""

    def reply(self, payload: bytes) -> None:
        """The answer: K, Z or D and its text."""


class Incoming:
    """A message on its way in. `parts` are its bytes so far, unless they have gone to a file."""

    __slots__ = ("accepted", "connection", "large", "number", "parts", "refusal", "size", "time")

    def __init__(self, connection: Client, number: int, accepted: Accepted, time: float) -> None:
        """`time` in seconds since 1970."""
        self.connection = connection
        self.number = number
        self.accepted = accepted
        self.time = time
        self.parts: list[bytes] = []
        self.size = 0
        self.large: LargeBody | None = None
        self.refusal: bytes | None = None


class Intake:
    """What all connections share."""

    def __init__(
        self,
        store: Store[Any],
        writer: Writer,
        *,
        now: Callable[[], float],
        log: Callable[[str], None],
        service_uids: frozenset[int],
        invoked_by: Callable[[int], bytes],
    ) -> None:
        """`service_uids` may hold many connections; `invoked_by` gives the words of the Received line for a uid."""
        self.store = store
        self.writer = writer
        self.now = now
        self.log = log
        self.service_uids = service_uids
        self.invoked_by = invoked_by
        self.stopping = False
        self.inline_total = 0
        self.connections: set[Connection] = set()
        self.by_uid: dict[int, int] = {}

    def connection(self) -> "Connection":
        """Protocol factory."""
        return Connection(self)

    def sweep(self, clock: float) -> None:
        """Close connections past their deadline; `clock` is the event loop's time."""
        for connection in [c for c in self.connections if c.deadline < clock]:
            connection.close()

    def settled(self, incoming: Incoming) -> None:
        """The message is durable: say so."""
        self._leave(incoming)
        incoming.connection.reply(b"K%d" % incoming.number)

    def refused(self, incoming: Incoming, reply: bytes = _WRITE_ERROR) -> None:
        """It is not, and never will be."""
        if incoming.large is not None:
            self.store.discard_large(incoming.large)
            incoming.large = None
        self._leave(incoming)
        incoming.connection.reply(reply)

    def _leave(self, incoming: Incoming) -> None:
        if incoming.parts:
            self.inline_total -= incoming.size
            incoming.parts = []

    def begin(self, connection: Client, envelope: Envelope) -> Incoming:
        """A message begins; what is wrong with it is kept for its end."""
        accepted = Accepted(
            envelope.sender,
            dict(enumerate(envelope.recipients)),
            uid=connection.uid,
            pid=connection.pid,
            attributes=envelope.attributes,
        )
        incoming = Incoming(connection, self.store.new_number(), accepted, self.now())
        if self.stopping:
            incoming.refusal = _STOPPING
        elif self.writer.refusing:
            incoming.refusal = _DISK_FULL
        elif len(envelope.sender) > MAX_ADDRESS or any(len(r) > MAX_ADDRESS for r in envelope.recipients):
            incoming.refusal = _TOO_LONG
        self.add(incoming, received.from_queue(incoming.number, self.invoked_by(connection.uid), incoming.time))
        return incoming

    def add(self, incoming: Incoming, data: bytes) -> None:
        """More of the body."""
        if incoming.refusal is not None:
            return
        incoming.size += len(data)
        if incoming.large is None:
            incoming.parts.append(data)
            self.inline_total += len(data)
            if incoming.size <= INLINE_BODY and self.inline_total <= INLINE_TOTAL:
                return
            data = b"".join(incoming.parts)
        try:
            if incoming.large is None:
                self.inline_total -= len(data)
                incoming.parts = []
                incoming.large = self.store.new_large_body(incoming.number)
            self.store.large_write(incoming.large, data)
        except OSError as error:
            self.log(f"warning: unable to write queue/mess/{incoming.number}: {error}")
            incoming.refusal = _WRITE_ERROR
            self.abandon(incoming)

    def abandon(self, incoming: Incoming) -> None:
        """Forget what has come of the message."""
        self._leave(incoming)
        if incoming.large is not None:
            self.store.discard_large(incoming.large)
            incoming.large = None

    def end(self, incoming: Incoming) -> None:
        """The message is whole."""
        if incoming.refusal is not None:
            self.abandon(incoming)
            incoming.connection.reply(incoming.refusal)
            return
        accepted = incoming.accepted
        entry = Entry(
            records.ACCEPTED,
            incoming.number,
            int(incoming.time * 1e6),
            accepted.encode(),
            tuple(incoming.parts),
            incoming.large,
            source=incoming,
        )
        self.writer.submit(entry)


class Connection(asyncio.Protocol):
    """One client: envelope, body, reply, and again. While a message waits for the disk the next is not looked at."""

    __slots__ = (
        "_at",
        "_buffer",
        "_incoming",
        "_intake",
        "_paused",
        "_transport",
        "_waiting",
        "deadline",
        "pid",
        "uid",
    )

    def __init__(self, intake: Intake) -> None:
        """Made for each accepted connection."""
        self._intake = intake
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._incoming: Incoming | None = None
        self._waiting = False  # for the reply
        self._paused = False
        self.deadline = 0.0
        self.uid = self.pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Who is it, and are there too many of them already?"""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, self.uid, _ = _CREDENTIALS.unpack(credentials)
        intake = self._intake
        intake.connections.add(self)
        count = intake.by_uid[self.uid] = intake.by_uid.get(self.uid, 0) + 1
        if count > (MAX_FOR_SERVICES if self.uid in intake.service_uids else MAX_FOR_UID):
            intake.log(f"warning: uid {self.uid} has {count - 1} connections to run/queue.sock: one more is refused")
            transport.close()
        self._touch(IDLE_DEADLINE)

    def _touch(self, seconds: float) -> None:
        self.deadline = asyncio.get_running_loop().time() + seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """What was not whole is forgotten; what waits for the disk is queued all the same, its client will ask again."""
        del exc
        intake = self._intake
        intake.connections.discard(self)
        intake.by_uid[self.uid] -= 1
        if not intake.by_uid[self.uid]:
            del intake.by_uid[self.uid]
        if self._incoming is not None and not self._waiting:
            intake.abandon(self._incoming)
        self._incoming = None
        self._transport = None

    def close(self) -> None:
        """Past its deadline, or the service stops."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Any number of bytes of any number of frames."""
        self._touch(DEADLINE)
        self._buffer += data
        if not self._waiting:
            self._work()
        elif len(self._buffer) > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _work(self) -> None:
        buffer = self._buffer
        at, end = 0, len(buffer)
        try:
            while not self._waiting and end - at >= 4:
                size = int.from_bytes(buffer[at : at + 4], "big")
                incoming = self._incoming
                if size == ABANDON_LENGTH and incoming is not None:
                    self._intake.abandon(incoming)
                    self._incoming = None
                    at += 4
                    continue
                if size > (MAX_ENVELOPE if incoming is None else MAX_CHUNK):
                    raise PeerError(f"frame of {size} bytes")
                stop = at + 4 + size
                if stop > end:
                    break
                payload = bytes(buffer[at + 4 : stop])
                at = stop
                if incoming is None:
                    self._incoming = self._intake.begin(self, decode_envelope(payload))
                elif payload:
                    self._intake.add(incoming, payload)
                else:
                    self._waiting = True
                    self._intake.end(incoming)
        except PeerError as error:
            self._intake.log(f"warning: uid {self.uid} pid {self.pid} on run/queue.sock: {error}")
            if self._incoming is not None and not self._waiting:
                self._intake.abandon(self._incoming)
                self._incoming = None
            if self._transport is not None:
                self._transport.write(frame(_FORMAT))
                self._transport.close()
            at = end
        del buffer[:at]

    def reply(self, payload: bytes) -> None:
        """The answer to the message at hand; then the next one."""
        self._waiting = False
        self._incoming = None
        if self._transport is None:
            return
        self._transport.write(frame(payload))
        if not self._intake.stopping:
            self._touch(IDLE_DEADLINE)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        if not self._waiting:
            self._work()


def own_uids() -> frozenset[int]:
    """In a single home every service is the starter."""
    return frozenset({os.geteuid()})
