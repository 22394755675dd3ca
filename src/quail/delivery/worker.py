"""A delivery worker: a process, forked by lspawn and never exec'd, that delivers for one user until lspawn hangs up.

It takes all tasks that wait (up to a batch), delivers them together, and sends their reports. run() is the whole life of the
process and does not return. It inherits nothing but its socket (shed.py): 0 to 2 are /dev/null. Deliveries that may have to
wait for somebody are done by its children (children.py), while it goes on.
"""

import os
import socket
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

from quail.delivery import local
from quail.delivery.batch import Batches, Delivery
from quail.delivery.children import Children
from quail.delivery.dotqmail import Plans
from quail.delivery.message import Message
from quail.delivery.order import Order
from quail.delivery.program import Runner
from quail.delivery.settings import Settings
from quail.delivery.shed import shed
from quail.message import address
from quail.net import descriptors
from quail.net.frames import Splitter
from quail.net.lspawn_protocol import DESCRIPTOR, LOG, MAX_TASK, decode_task, encode_report
from quail.net.users_protocol import decode_owner
from quail.queue.handover import Client, Reply
from quail.queue.submit import submit

BATCH = 64  # tasks
CHUNK = 1 << 20  # bytes read at once
QUEUE_PATIENCE = 60.0  # seconds for each step of handing a forwarded message over
MAX_LOG = 2000  # bytes of one log line

_DONTWAIT = int(socket.MSG_DONTWAIT)


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
        self.ended = False  # lspawn has hung up

    @property
    def left(self) -> bool:
        """Whether more have arrived than the last batch could take: the socket does not tell of those."""
        return bool(self._frames)

    def take(self, *, wait: bool) -> list[Delivery]:
        """All tasks that are there, at most a batch; at least one, unless it is told not to wait, or at the end."""
        if not self._frames:
            self._read(0 if wait else _DONTWAIT)
        while 0 < len(self._frames) < BATCH and self._read(_DONTWAIT):
            pass
        taken, self._frames = self._frames[:BATCH], self._frames[BATCH:]
        return [self._delivery(frame) for frame in taken]

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
                self.ended = True
                return False
            self._frames += self._splitter.feed(data)
            if self._frames or flags:
                return True

    def _delivery(self, frame: bytes) -> Delivery:
        """The task of one frame; for each in turn, since descriptors come in their order."""
        owner_fields, job = decode_task(frame)
        owner = decode_owner(owner_fields)
        descriptor = self._descriptors.pop(0) if job.flags & DESCRIPTOR else -1
        recipient, host = address.split(job.recipient)
        message = Message(job.body, descriptor)
        home = os.fsdecode(owner.home)
        return Delivery(job.tag, Order(owner.user, home, recipient, owner.dash, owner.ext, host, job.sender, message))


class _Reports:
    """What goes to lspawn."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines: list[bytes] = []

    def log(self, text: str) -> None:
        """A line that goes with the next reports."""
        self.log_text(text.strip().encode(errors="backslashreplace"))

    def log_text(self, text: bytes) -> None:
        self._lines.append(encode_report(0, LOG, text[-MAX_LOG:]))

    def done(self, deliveries: list[Delivery]) -> None:
        """Their reports. They go on a socket that blocks: lspawn always reads."""
        reports = [encode_report(delivery.tag, delivery.letter, delivery.text) for delivery in deliveries]
        self._sock.sendall(b"".join(self._lines + reports))
        self._lines.clear()


def _serve(sock: socket.socket, settings: Settings) -> None:
    reports = _Reports(sock)
    batches = Batches(
        settings.default_delivery,
        Client(settings.queue_path, timeout=QUEUE_PATIENCE),
        reports.log,
        programs=settings.programs,
        forwards=b"QMAILQUEUE" not in settings.environment,
    )
    children = Children(sock, lambda order, log: _deliver_alone(order, settings, log))
    tasks = _Tasks(sock)
    while not tasks.ended:
        if children.busy:
            ended, lines = children.wait(patient=not tasks.left)
            for line in lines:
                reports.log_text(line)
            if ended or lines:
                reports.done(ended)
            _close_messages(ended)
        deliveries = tasks.take(wait=not children.busy)
        if deliveries:
            apart = batches.deliver(deliveries, reports.done)
            children.give(apart)
            _close_messages([delivery for delivery in deliveries if delivery.letter])
    children.close()


def _close_messages(deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        if delivery.order.message.descriptor >= 0:
            os.close(delivery.order.message.descriptor)


def _deliver_alone(order: Order, settings: Settings, log: Callable[[str], None]) -> int:
    """The life of a child: text on descriptor 1, and the exit code of qmail-local."""
    os.environb.clear()  # it is still that of lspawn; $QMAILQUEUE must see no more of it than programs do
    os.environb.update(settings.environment)

    def forward(sender: bytes, recipients: list[bytes], chunks: Iterable[bytes]) -> Reply:
        return submit(sender, recipients, chunks, home=settings.home)

    surroundings = local.Surroundings(
        runner=Runner(time_limit=settings.program_timeout, life=1),
        environment=settings.environment,
        forward=forward,
        log=log,
    )
    plans = Plans(settings.default_delivery, programs=settings.programs)
    code, text = local.report(order, plans, surroundings)
    try:
        os.write(1, text)
    except OSError:
        pass  # the worker is gone
    return code
