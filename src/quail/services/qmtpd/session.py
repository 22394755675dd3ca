"""One connection of QMTP or QMQP: the protocol's machine between the peer, the users service and the queue."""

import time
from typing import TYPE_CHECKING

from quail.net.frames import frame
from quail.policy.qmtp import LIFETIME, queue_reply, recipient_reply
from quail.policy.smtp import received
from quail.qmtp.exchange import ABANDON, BEGIN, BODY, ENVELOPE, FLUSH, RECIPIENT, Exchange
from quail.queue.handover import BODY_FIRST, END, Reply, encode_envelope
from quail.services.inbound.mail import MailSession, to_so_many

if TYPE_CHECKING:
    from quail.services.qmtpd.service import Service


class NetstringSession(MailSession["Service", Exchange]):
    """Its message comes before its envelope."""

    __slots__ = ("_began", "_environment", "_told", "_whole")

    def __init__(self, service: "Service") -> None:
        """Made for each accepted connection."""
        super().__init__(service)
        self._environment: dict[bytes, bytes] = {}
        self._began = service.loop.time()
        self._whole = False
        self._told = ""  # of the message at hand

    def _admit(self, name: bytes | None) -> Exchange | bytes:
        found = self._service.admit(self._peer, name)
        if found is None:
            return b""
        self._environment, machine = found
        self._hand_over_by(self._environment)
        return machine

    def _is_held_up(self) -> bool:
        return self._peer_full or super()._is_held_up()

    def resume_writing(self) -> None:
        """See Session. What was not answered for want of room is answered now."""
        self._peer_full = False
        self._proceed()

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
        if code:
            self._service.log(f"{self._peer} dropped: {reason}")
        self._has_written(machine)
        self._end_session()

    def _recipient_reply(self, letter: bytes) -> bytes | None:
        return recipient_reply(letter)

    def _queue_reply(self, reply: Reply, now: float) -> bytes:
        return queue_reply(reply.letter, reply.text, now)

    def _is_whole(self) -> bool:
        return self._whole

    def _story(self) -> str:
        return self._told

    def _begin(self) -> None:
        field = received(self._environment, None, time.time(), self._service.protocol)
        self._message = [frame(field)]
        self._message_size = 0
        self._whole = False
        self._told = "message"

    def _send(self) -> None:
        if self._handoff is None:
            self._message.insert(0, BODY_FIRST)
        super()._send()

    def _end(self, sender: bytes, recipients: list[bytes]) -> None:
        self._told = to_so_many(sender, len(recipients))
        self._whole = True
        envelope = encode_envelope(sender, recipients)
        self._message = (
            [*self._message, END, envelope] if self._handoff is not None else [envelope, *self._message, END]
        )
        self._submit()

    def _is_overdue(self, now: float, patience: float) -> bool:
        return super()._is_overdue(now, patience) or now - self._began > LIFETIME

    def check_silence(self, now: float, patience: float) -> None:
        """See Session. A peer may be here for so long and no longer, and its end does not wait until it reads."""
        machine = self._machine
        if machine is not None and not machine.waiting and self._is_overdue(now, patience):
            self._peer_full = False
        super().check_silence(now, patience)
