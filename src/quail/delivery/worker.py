"""A delivery worker: a process, forked by lspawn and never exec'd, that delivers for one user until lspawn hangs up.

It takes all tasks that wait (up to a batch), delivers them together, and sends their reports. run() is the whole life of the
process and does not return. It inherits nothing but its socket (shed.py): 0 to 2 are /dev/null.
"""

import os
import socket
import traceback
from typing import NoReturn

from quail.delivery.batch import Batches, Delivery
from quail.delivery.message import Message
from quail.delivery.settings import Settings
from quail.delivery.shed import shed
from quail.net import descriptors
from quail.net.frames import Splitter
from quail.net.lspawn_protocol import DESCRIPTOR, LOG, MAX_TASK, decode_task, encode_report
from quail.net.users_protocol import decode_owner
from quail.queue.handover import Client

BATCH = 64  # tasks
CHUNK = 1 << 20  # bytes read at once
QUEUE_PATIENCE = 60.0  # seconds for each step of handing a forwarded message over
MAX_LOG = 2000  # bytes of one log line


def run(sock: socket.socket, settings: Settings) -> NoReturn:
    """Serve the socket until its end, in a process just forked."""
    status = 111
    try:
        _serve(shed(sock, settings), settings)
        status = 0
    except Exception:
        traceback.print_exc()  # of use only until 0 to 2 are the null device: after that batches report their own
    finally:
        os._exit(status)


class _Tasks:
    """What arrives on the socket, as deliveries."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._splitter = Splitter(MAX_TASK)
        self._descriptors: list[int] = []
        self._frames: list[bytes] = []

    def take(self) -> list[bytes]:
        """All tasks that are there, at least one, at most a batch; none at the end."""
        if not self._frames:
            self._read(0)
        while 0 < len(self._frames) < BATCH and self._read(socket.MSG_DONTWAIT):
            pass
        taken, self._frames = self._frames[:BATCH], self._frames[BATCH:]
        return taken

    def _read(self, flags: int) -> bool:
        """Read until a frame is complete, or once if told not to wait; whether anything came."""
        while True:
            try:
                data, ancillary, _, _ = self._sock.recvmsg(CHUNK, descriptors.SPACE, descriptors.FLAGS | flags)
            except BlockingIOError:
                return False
            if ancillary:
                self._descriptors += descriptors.received(ancillary)
            if not data:
                return False
            self._frames += self._splitter.feed(data)
            if self._frames or flags:
                return True

    def delivery(self, frame: bytes) -> Delivery:
        """The task of one frame; must be called for each in turn, since descriptors come in their order."""
        owner_fields, job = decode_task(frame)
        owner = decode_owner(owner_fields)
        descriptor = self._descriptors.pop(0) if job.flags & DESCRIPTOR else -1
        return Delivery(
            job.tag,
            os.fsdecode(owner.home),
            owner.dash,
            owner.ext,
            job.sender,
            job.recipient,
            Message(job.body, descriptor),
        )


def _serve(sock: socket.socket, settings: Settings) -> None:
    lines: list[bytes] = []

    def log(text: str) -> None:
        lines.append(encode_report(0, LOG, text.strip().encode(errors="backslashreplace")[-MAX_LOG:]))

    def done(finished: list[Delivery]) -> None:
        reports = [encode_report(delivery.tag, delivery.letter, delivery.text) for delivery in finished]
        sock.sendall(b"".join(lines + reports))
        lines.clear()

    batches = Batches(settings.default_delivery, Client(settings.queue_path, timeout=QUEUE_PATIENCE), log)
    tasks = _Tasks(sock)
    while frames := tasks.take():
        deliveries = [tasks.delivery(frame) for frame in frames]
        batches.deliver(deliveries, done)
        for delivery in deliveries:
            if delivery.message.descriptor >= 0:
                os.close(delivery.message.descriptor)
