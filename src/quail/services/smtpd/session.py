"""One SMTP or LMTP session: the protocol machine between the peer, the users service and the queue."""

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING

from quail.policy import smtp as policy
from quail.queue.handover import END as END_OF_MESSAGE
from quail.queue.handover import Reply, encode_envelope
from quail.services.inbound.mail import MailSession, to_so_many
from quail.services.inbound.worker import LOCAL
from quail.smtp.server import ABANDON, BEGIN, BODY, CLOSE, END, RECIPIENT, Session

if TYPE_CHECKING:
    from quail.services.smtpd.service import Smtpd

_PEER = struct.Struct("=iII")  # pid, uid, gid: unix(7), SO_PEERCRED


class SmtpSession(MailSession["Smtpd", Session]):
    """`environment` is what the peer's rule says, and its address.

    Who has come by a Unix socket is called UID@local, by the uid that the kernel tells: so it is counted, logged, and looked
    up in the access rules.
    """

    __slots__ = ("_info", "_local", "_recipients", "_sender", "environment", "lmtp")

    def __init__(self, service: "Smtpd", *, lmtp: bool = False, local: bool = False) -> None:
        """Made for each accepted connection. local: to a Unix socket."""
        super().__init__(service)
        self._info: bytes | None = None
        self._local = local
        self.lmtp = lmtp
        self._sender = b""
        self._recipients = 0
        self.environment: dict[bytes, bytes] = {}

    def _who(self, transport: asyncio.BaseTransport) -> str | None:
        if not self._local:
            return super()._who(transport)
        uid = _uid_of(transport.get_extra_info("socket"))
        self._info = b"%d" % uid
        return f"{uid}@{LOCAL}"

    def _has_name(self) -> bool:
        return not self._local

    def _admit(self, name: bytes | None) -> Session | bytes:
        settings = self._service.admit(self, LOCAL if self._local else self._peer, name, self._info)
        if isinstance(settings, bytes):
            return settings
        self._hand_over_by(self.environment)
        machine = Session(settings)
        machine.start()
        return machine

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
                self._end_session()
                return
        output = machine.take_output()
        if output:
            transport.write(output)

    def _recipient_reply(self, letter: bytes) -> bytes | None:
        return policy.recipient_reply(letter)

    def _queue_reply(self, reply: Reply, now: float) -> bytes:
        return policy.queue_reply(reply.letter, reply.text, now)

    def _is_whole(self) -> bool:
        return self._machine is None or self._machine.waiting

    def _story(self) -> str:
        return to_so_many(self._sender, self._recipients)

    def _begin(self, sender: bytes, recipients: list[bytes], attributes: list[tuple[bytes, bytes]]) -> None:
        machine = self._machine
        assert machine is not None
        field = policy.received(self.environment, machine.helo, time.time(), b"LMTP" if self.lmtp else b"SMTP")
        self._sender, self._recipients = sender, len(recipients)
        self._message = [encode_envelope(sender, recipients, attributes), len(field).to_bytes(4, "big"), field]
        self._message_size = 0

    def _end(self) -> None:
        self._message.append(END_OF_MESSAGE)
        self._submit()


def _uid_of(sock: socket.socket) -> int:
    return int(_PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1])
