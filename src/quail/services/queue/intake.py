"""Connections to run/queue.sock: one message after another becomes an entry for the journal. docs/formats/handover.md."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from quail.errors import PeerError
from quail.message import received
from quail.net.frames import frame
from quail.queue import records
from quail.queue.handover import (
    ABANDON_LENGTH,
    MAX_ADDRESS,
    MAX_ENVELOPE,
    Envelope,
    TooManyRecipientsError,
    decode_envelope,
)
from quail.queue.journal import INLINE_BODY
from quail.queue.records import Accepted
from quail.queue.store import Entry, LargeBody, Store
from quail.services.queue.shares import Shares, TooMuchError
from quail.services.queue.writer import Writer

DEADLINE = (
    1260.0  # seconds without a byte in the middle of a message; longer than the longest silence of an SMTP client
)
IDLE_DEADLINE = 3600.0  # seconds between messages
MAX_CHUNK = 1 << 20
MAX_AT_WORK = 256  # messages of one connection that wait for their replies
INLINE_TOTAL = 64 << 20  # bytes of unfinished messages in memory; above it they go to files early
RECIPIENT = 200  # bytes of memory that a recipient takes beside its address

_CREDENTIALS = struct.Struct("3i")
_TOO_LONG = b"Denvelope address too long for qq (#5.1.3)"
_DISK_FULL = b"Zqueue disk is nearly full, try again later (#4.3.1)"
_WRITE_ERROR = b"Zqq write error or disk full (#4.3.0)"
_STOPPING = b"Zmail system is stopping, try again later (#4.3.2)"
_TOO_MANY = b"Dtoo many recipients (#5.5.3)"
_TOO_MUCH = b"Ztoo much mail from you at once, try again later (#4.3.2)"
_FORMAT = b"Dqq internal bug (#4.3.0)"


class Client(Protocol):
    """Who hands a message in."""

    @property
    def uid(self) -> int:
        """As the kernel knows it."""

    @property
    def pid(self) -> int:
        """0 if it is not known."""

    def reply(self, incoming: "Incoming", payload: bytes) -> None:
        """The answer: K, Z or D and its text."""


class Incoming:
    """A message on its way in. `parts` are its bytes so far, unless they have gone to a file; `answer` is the reply once it
    is known. `accepted` is None while the envelope has not come, which is behind the body when that `is_whole` before it.
    """

    __slots__ = (
        "accepted", "answer", "connection", "is_whole", "large", "number", "parts", "refusal", "size", "time", "weight",
    )  # fmt: skip

    def __init__(self, connection: Client, number: int, time: float) -> None:
        """`time` in seconds since 1970."""
        self.connection = connection
        self.number = number
        self.accepted: Accepted | None = None
        self.is_whole = False
        self.time = time
        self.parts: list[bytes] = []
        self.size = 0
        self.large: LargeBody | None = None
        self.refusal: bytes | None = None
        self.answer: bytes | None = None
        self.weight = 0  # bytes of memory for its envelope


class Intake:
    """What all connections share."""

    def __init__(
        self,
        store: Store[Any],
        writer: Writer,
        *,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        log: Callable[[str], None],
        service_uids: frozenset[int],
        invoked_by: Callable[[int], bytes],
    ) -> None:
        """`service_uids`: see Shares. `invoked_by` gives the words of the Received line for a uid."""
        self.store = store
        self.writer = writer
        self.loop = loop
        self.now = now
        self.log = log
        self.shares = Shares(service_uids)
        self.invoked_by = invoked_by
        self.stopping = False
        self.inline_total = 0
        self.connections: set[Connection] = set()

    def connection(self) -> "Connection":
        """Protocol factory."""
        return Connection(self)

    def sweep(self, clock: float) -> None:
        """Close connections past their deadline; `clock` is the event loop's time."""
        for connection in [c for c in self.connections if c.deadline < clock]:
            connection.close()
        self.shares.forget_lines()

    def complain(self, uid: int, text: str) -> None:
        """A line in the log about a user, who may give cause for thousands a second."""
        end = self.shares.line(uid)
        if end is not None:
            self.log(f"warning: uid {uid} {text}{end}")

    def settled(self, incoming: Incoming) -> None:
        """The message is durable: say so."""
        self._leave(incoming)
        incoming.connection.reply(incoming, b"K%d" % incoming.number)

    def refused(self, incoming: Incoming, reply: bytes = _WRITE_ERROR) -> None:
        """It is not, and never will be."""
        if incoming.large is not None:
            self.store.discard_large(incoming.large)
            incoming.large = None
        self._leave(incoming)
        incoming.connection.reply(incoming, reply)

    def _leave(self, incoming: Incoming) -> None:
        if incoming.parts:
            self.inline_total -= incoming.size
            incoming.parts = []

    def begin(self, connection: Client, envelope: Envelope | None, refusal: bytes | None = None) -> Incoming:
        """A message begins; what is wrong with it is kept for its end. Without an envelope, address() follows."""
        incoming = Incoming(connection, self.store.new_number(), self.now())
        if refusal is not None:
            incoming.refusal = refusal
        elif self.stopping:
            incoming.refusal = _STOPPING
        elif self.writer.refusing:
            incoming.refusal = _DISK_FULL
        if envelope is not None:
            self.address(incoming, envelope)
        self.add(incoming, received.from_queue(incoming.number, self.invoked_by(connection.uid), incoming.time))
        return incoming

    def address(self, incoming: Incoming, envelope: Envelope) -> None:
        """Where the message comes from and goes to."""
        connection = incoming.connection
        incoming.accepted = Accepted(
            envelope.sender,
            dict(enumerate(envelope.recipients)),
            uid=connection.uid,
            pid=connection.pid,
            attributes=envelope.attributes,
        )
        if incoming.refusal is not None:
            return
        if len(envelope.sender) > MAX_ADDRESS or any(len(r) > MAX_ADDRESS for r in envelope.recipients):
            incoming.refusal = _TOO_LONG
        elif not self.shares.has_room(connection.uid, len(envelope.recipients)):
            incoming.refusal = _TOO_MUCH
            self.complain(
                connection.uid, "has messages with too many recipients in the queue: one more is refused for now"
            )

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
        if self.writer.refusing:
            incoming.refusal = _DISK_FULL  # a body without end would take the room that marks and bounces need
            self.abandon(incoming)
            return
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

    def make_room(self) -> None:
        """The disk is nearly full: large bodies that are still on their way give back what they have taken of it."""
        for connection in self.connections:
            connection.make_room()

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
            incoming.connection.reply(incoming, incoming.refusal)
            return
        assert incoming.accepted is not None
        entry = Entry(
            records.ACCEPTED,
            incoming.number,
            int(incoming.time * 1e6),
            incoming.accepted.encode(),
            tuple(incoming.parts),
            incoming.large,
            source=incoming,
        )
        self.writer.submit(entry)


class Connection(asyncio.Protocol):
    """One client: envelope, body, envelope, body. It may send many messages before their replies, which come in order."""

    __slots__ = (
        "_at_work",
        "_buffer",
        "_flush_due",
        "_held",
        "_intake",
        "_open",
        "_paused",
        "_transport",
        "_weight",
        "deadline",
        "pid",
        "uid",
    )

    def __init__(self, intake: Intake) -> None:
        """Made for each accepted connection."""
        self._intake = intake
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._open: Incoming | None = None  # not whole yet
        self._at_work: deque[Incoming] = deque()  # whole, without a reply
        self._flush_due = False
        self._paused = False
        self._weight = 0  # of the messages that have no reply yet
        self._held = 0  # what Shares has been told
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
        try:
            intake.shares.connected(self.uid)
        except TooMuchError as error:
            intake.complain(self.uid, f"{error} to run/queue.sock: one more is refused")
            transport.close()
        self._touch(IDLE_DEADLINE)

    def _touch(self, seconds: float) -> None:
        self.deadline = self._intake.loop.time() + seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """What was not whole is forgotten; what waits for the disk is queued all the same, its client will ask again."""
        del exc
        intake = self._intake
        intake.connections.discard(self)
        intake.shares.disconnected(self.uid)
        intake.shares.hold(self.uid, -self._held)
        self._held = 0
        if self._open is not None:
            intake.abandon(self._open)
            self._open = None
        self._transport = None

    def close(self) -> None:
        """Past its deadline: at once, because a client that does not read its replies would keep an orderly end waiting."""
        if self._transport is not None:
            self._transport.abort()

    def make_room(self) -> None:
        """Refuse the message that is not whole yet, if its body is in a file; its client may never end it otherwise."""
        if self._open is not None and self._open.large is not None:
            self._open.refusal = _DISK_FULL
            self._intake.abandon(self._open)

    def data_received(self, data: bytes) -> None:
        """Any number of bytes of any number of frames."""
        self._touch(DEADLINE)
        self._buffer += data
        self._work()
        self._count()
        if len(self._at_work) >= MAX_AT_WORK and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _count(self) -> None:
        """Tell what this connection has in memory; with too much of it, it ends."""
        held = len(self._buffer) + self._weight
        more, self._held = held - self._held, held
        try:
            self._intake.shares.hold(self.uid, more)
        except TooMuchError as error:
            if self._transport is not None and not self._transport.is_closing():
                self._end(error, _TOO_MUCH)

    def _work(self) -> None:
        intake, buffer = self._intake, self._buffer
        at, end = 0, len(buffer)
        try:
            while end - at >= 4 and len(self._at_work) < MAX_AT_WORK:
                size = int.from_bytes(buffer[at : at + 4], "big")
                incoming = self._open
                if size == ABANDON_LENGTH and incoming is not None:
                    intake.abandon(incoming)
                    self._open = None
                    self._weight -= incoming.weight
                    at += 4
                    continue
                wants_envelope = incoming is None or incoming.is_whole
                if size > (MAX_ENVELOPE if wants_envelope else MAX_CHUNK):
                    raise PeerError(f"frame of {size} bytes")
                stop = at + 4 + size
                if stop > end:
                    break
                if incoming is None and not size:
                    self._open = intake.begin(self, None)
                elif wants_envelope:
                    self._open = self._address(incoming, bytes(buffer[at + 4 : stop]))
                elif size:
                    assert incoming is not None
                    intake.add(incoming, bytes(buffer[at + 4 : stop]))
                else:
                    assert incoming is not None
                    incoming.is_whole = True
                incoming = self._open
                if incoming is not None and incoming.is_whole and incoming.accepted is not None:
                    self._open = None
                    self._at_work.append(incoming)
                    intake.end(incoming)
                at = stop
        except PeerError as error:
            self._end(error, _FORMAT)
            return
        del buffer[:at]

    def _address(self, incoming: Incoming | None, payload: bytes) -> Incoming:
        """The envelope of a message that begins (None), or of one whose body has come."""
        refusal = None
        try:
            envelope = decode_envelope(payload)
        except TooManyRecipientsError:
            envelope, refusal = Envelope(b"", []), _TOO_MANY
        if incoming is None:
            incoming = self._intake.begin(self, envelope, refusal)
        else:
            incoming.refusal = incoming.refusal or refusal
            self._intake.address(incoming, envelope)
        incoming.weight = len(payload) + RECIPIENT * len(envelope.recipients)
        self._weight += incoming.weight
        return incoming

    def _end(self, error: PeerError, reply: bytes) -> None:
        """No more from this client."""
        self._intake.complain(self.uid, f"pid {self.pid} on run/queue.sock: {error}")
        if self._open is not None:
            self._intake.abandon(self._open)
            self._open = None
        if self._transport is not None:
            if not self._at_work:  # else it would be taken for the reply to an earlier message
                self._transport.write(frame(reply))
            self._transport.close()
        self._buffer.clear()

    def reply(self, incoming: Incoming, payload: bytes) -> None:
        """The answer to one of the messages; written together with others, and not before those of earlier ones."""
        incoming.answer = payload
        if not self._flush_due:
            self._flush_due = True
            self._intake.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        at_work = self._at_work
        replies = []
        while at_work and (answer := at_work[0].answer) is not None:
            self._weight -= at_work.popleft().weight
            replies.append(frame(answer))
        if self._transport is None or not replies:
            return
        self._transport.write(b"".join(replies))
        if not (at_work or self._open):
            self._touch(IDLE_DEADLINE)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._buffer:
            self._work()
        self._count()
