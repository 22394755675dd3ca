"""A session and a worker that take mail: who is written to is asked of the users service, and the message goes to the queue."""

import asyncio
import time
from typing import Generic, Protocol, TypeVar

from quail.message.logtext import safe
from quail.queue.handover import Reply
from quail.services.inbound.handoff import Handoff, HandoffPool
from quail.services.inbound.programs import ProgramHandoff, ProgramPool, Programs
from quail.services.inbound.recipients import Recipients
from quail.services.inbound.session import Machine, Session
from quail.services.inbound.worker import Worker
from quail.supervise.context import Context

GATHER = 32 << 10  # bytes of a message kept here before it has to be streamed to the queue


class MailWorker(Worker):
    """Has the connections to queue and users that its sessions share."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop, *, rules: str, closed: bool = False) -> None:
        """As Worker's; a subclass says what a session is."""
        super().__init__(context, loop, rules=rules, closed=closed)
        self.pool = HandoffPool(loop, "run/queue.sock")
        self.programs = Programs(loop, context.home, self.log)
        self.recipients = Recipients(loop, "run/users.sock")

    def sweep(self) -> None:
        """See Worker."""
        self.recipients.sweep()

    def close(self) -> None:
        """See Worker."""
        self.pool.close()
        self.recipients.close()
        super().close()


class MailMachine(Machine, Protocol):
    """What is answered to it."""

    def recipient_verdict(self, refusal: bytes | None) -> None:
        """Whether a recipient exists: None, or the reply that refuses him."""

    def message_done(self, reply: bytes) -> None:
        """What becomes of the message."""


M = TypeVar("M", bound=MailMachine)
W = TypeVar("W", bound=MailWorker)


class MailSession(Session[W, M], Generic[W, M]):
    """Gathers a message in `_message`, as frames of the hand-over, and streams it when it gets long."""

    __slots__ = ("_handoff", "_message", "_message_size", "_pool", "_program", "_queue_full")

    def __init__(self, service: W) -> None:
        """See Session."""
        super().__init__(service)
        self._handoff: Handoff | ProgramHandoff | None = None
        self._pool: HandoffPool | ProgramPool = service.pool
        self._program: bytes | None = None
        self._message: list[bytes] = []
        self._message_size = 0
        self._queue_full = False

    # What a protocol says for itself.

    def _recipient_reply(self, letter: bytes) -> bytes | None:
        """To an answer of the users service: None if there is such a recipient."""
        raise NotImplementedError

    def _queue_reply(self, reply: Reply, now: float) -> bytes:
        """To what the queue says."""
        raise NotImplementedError

    def _is_whole(self) -> bool:
        """Whether the queue has all of the message at hand, or will have."""
        raise NotImplementedError

    def _story(self) -> str:
        """Whose message it is, for the log."""
        raise NotImplementedError

    # The rest is alike.

    def _hand_over_by(self, environment: dict[bytes, bytes]) -> None:
        """Who takes the mail of a client whose rule says this: the queue, or a program."""
        self._program = environment.get(b"QMAILQUEUE")
        if self._program is not None:
            self._pool = self._service.programs.pool(self._program, environment)

    def has_gone(self) -> bool:
        """Whether nobody is there any more who waits for a reply."""
        return self._machine is None

    def _may_hear(self) -> bool:
        return not self._queue_full

    def _forget(self) -> None:
        """A message that the queue has not got whole is abandoned; one that it has is delivered."""
        if self._handoff is not None and not self._is_whole():
            self._handoff.abandon()
            self._handoff = None
        self._message.clear()

    def _recipient(self, address: bytes) -> None:
        machine = self._machine
        assert machine is not None
        if self._service.recipients.is_known(address):
            machine.recipient_verdict(None)
            return

        def answered(letter: bytes, text: bytes) -> None:
            if self._machine is None:
                return
            refusal = self._recipient_reply(letter)
            if refusal is not None:
                why = f" ({safe(text)})" if text else ""
                self._service.log(f"{self._peer} recipient <{safe(address)}> refused: {safe(refusal)}{why}")
            self._machine.recipient_verdict(refusal)
            self._go_on()

        self._service.recipients.ask(address, answered)

    def _body(self, data: bytes) -> None:
        self._message += (len(data).to_bytes(4, "big"), data)
        self._message_size += len(data)
        if self._message_size > GATHER or self._handoff is not None:
            self._send()

    def _send(self) -> None:
        if self._handoff is None:
            self._handoff = self._pool.acquire(self)
        self._handoff.write(b"".join(self._message))
        self._message.clear()

    def _submit(self) -> None:
        """The end of the message: the queue gets what it has not got yet."""
        if self._handoff is not None:
            self._send()
        else:
            self._pool.submit(b"".join(self._message), self)
            self._message.clear()

    def _abandon(self, reason: str) -> None:
        self._message.clear()
        if self._handoff is not None:
            self._handoff.abandon()
            self._handoff = None
        self._queue_full = False
        self._resume()
        self._service.log(f"{self._peer} {self._story()} given up: {reason}")

    def handed_over(self, reply: Reply) -> None:
        """The queue's answer, at the end or, when it has gone, in the middle."""
        self._handoff = None
        self._queue_full = False
        self._message.clear()
        if self._machine is None:
            return
        self._machine.message_done(self._queue_reply(reply, time.time()))
        if reply.letter != b"K":
            what = f"refused: {safe(reply.text)}"
        elif self._program is None:
            what = f"msg {reply.text.decode()}"
        else:
            what = f"taken by {safe(self._program)}, process {reply.text.decode()}"
        self._service.log(f"{self._peer} {self._story()}: {what}")
        self._go_on()

    def pause_message(self, paused: bool) -> None:
        """The queue is slower than the peer."""
        self._queue_full = paused
        if paused:
            self._pause()
        else:
            self._resume()


def to_so_many(sender: bytes, recipients: int) -> str:
    """How the log tells of a message."""
    return f"message from <{safe(sender)}> to {recipients} recipient{'s' if recipients != 1 else ''}"
