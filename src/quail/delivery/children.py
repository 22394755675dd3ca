"""Deliveries that may have to wait, for a program or for a lock: each in a process of its own, forked by the worker.

So nobody else's mail waits with them. A child does what the program qmail-local does, and tells it the same way: text on
descriptors 1 and 2, which are a pipe to the worker, and an exit code. What a program writes beyond the length of a report is
read and forgotten. A child sees from its pipe when the worker is gone, and ends its program.
"""

import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from quail.delivery.batch import Delivery
from quail.delivery.order import Order
from quail.delivery.program import HURRY
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY
from quail.net.frames import Splitter
from quail.net.lspawn_protocol import DEFERRED, DELIVERED, FAILED, LOG, MAX_REPORT, MAX_REPORT_TEXT, encode_report

MOST = 20  # children at a time
PATIENCE = 60.0  # seconds that a delivery waits for its turn
CRASHED = b"qmail-local crashed.\n"
CANNOT_FORK = b"qmail-spawn unable to fork. (#4.3.0)\n"
TOO_MANY = b"%d other deliveries of this user have not ended within %d seconds: tried again later. (#4.3.2)\n"

_KEPT = MAX_REPORT_TEXT + 1  # bytes of text: one more tells lspawn that there was more
_READ = 1 << 16  # bytes; a pipe holds no more
_MAX_LOG = 2000  # bytes of a log line, which a pipe takes as a whole
_LETTERS = {0: DELIVERED, EXIT_PERMANENT: FAILED}


class _Child:
    """A process and the two descriptors that tell of it: its output, -1 when that has ended, and its end."""

    __slots__ = ("delivery", "ended", "output", "pid", "text")

    def __init__(self, delivery: Delivery, pid: int, output: int) -> None:
        self.delivery = delivery
        self.pid = pid
        self.output = output
        self.ended = os.pidfd_open(pid)
        self.text = b""

    def listen(self) -> bool:
        """Take what it has written, if anything; whether there may be more later."""
        try:
            data = os.read(self.output, _READ)
        except BlockingIOError:
            return True
        self.text += data[: _KEPT - len(self.text)]
        return bool(data)


class Children:
    """All children of one worker, and the deliveries that wait for their turn."""

    def __init__(self, sock: socket.socket, work: Callable[[Order, Callable[[str], None]], int]) -> None:
        """wait() also ends when there is something on the socket. work(order, log) is the life of a child: it returns its exit
        code, and writes its report on descriptor 1.
        """
        self._work = work
        self._waiting: deque[tuple[float, Delivery]] = deque()
        self._running: dict[int, _Child] = {}  # by both descriptors
        self._count = 0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._log: tuple[int, int] | None = None
        self._splitter = Splitter(MAX_REPORT)

    @property
    def busy(self) -> bool:
        """Whether there is a delivery without a report."""
        return bool(self._count or self._waiting)

    def give(self, deliveries: list[Delivery]) -> None:
        """Begin them, now or when it is their turn."""
        deadline = monotonic() + PATIENCE
        self._waiting.extend((deadline, delivery) for delivery in deliveries)

    def wait(self, *, patient: bool = True) -> tuple[list[Delivery], list[bytes]]:
        """Wait until there are deliveries with a report, or lines for the log (texts), or something on the socket.

        patient: else only look.
        """
        ended = self._begin()
        lines: list[bytes] = []
        timeout = max(0, self._waiting[0][0] - monotonic()) * 1000 if self._waiting else None
        for fd, _ in self._poll.poll(timeout if patient and not ended else 0):
            child = self._running.get(fd)
            if child is None:
                if self._log is not None and fd == self._log[0]:
                    lines += [line[5:] for line in self._splitter.feed(os.read(fd, _READ))]
            elif fd == child.output:
                if not child.listen():
                    self._deafen(child)
            else:
                self._bury(child)
                ended.append(child.delivery)
        ended += self._begin()  # nobody is put off while there is room: the worker may have been held up itself
        now = monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, delivery = self._waiting.popleft()
            delivery.end(DEFERRED, TOO_MANY % (MOST, PATIENCE))
            ended.append(delivery)
        return ended, lines

    def _begin(self) -> list[Delivery]:
        """Fork for those whose turn it is; returns those for which that can't be done."""
        failed = []
        while self._waiting and self._count < MOST:
            _, delivery = self._waiting.popleft()
            try:
                self._fork(delivery)
            except OSError:
                delivery.end(DEFERRED, CANNOT_FORK)
                failed.append(delivery)
        return failed

    def _fork(self, delivery: Delivery) -> None:
        if self._log is None:
            self._log = os.pipe()
            self._poll.register(self._log[0], select.POLLIN)
        output, theirs = os.pipe()
        try:
            os.set_blocking(output, False)
            pid = os.fork()
        except OSError:
            os.close(output)
            os.close(theirs)
            raise
        if pid == 0:
            _live(self._work, delivery.order, theirs, self._log[1])
        os.close(theirs)
        try:
            child = _Child(delivery, pid, output)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # who can't be watched must not go on
            os.waitpid(pid, 0)
            os.close(output)
            raise
        for fd in (child.output, child.ended):
            self._running[fd] = child
            self._poll.register(fd, select.POLLIN)
        self._count += 1

    def _deafen(self, child: _Child) -> None:
        self._forget(child.output)
        child.output = -1

    def _forget(self, fd: int) -> None:
        del self._running[fd]
        self._poll.unregister(fd)
        os.close(fd)

    def _bury(self, child: _Child) -> None:
        """The process has ended: make its report. Whoever still has the pipe is not waited for."""
        _, status = os.waitpid(child.pid, 0)
        if child.output >= 0:
            child.listen()
            self._deafen(child)
        self._forget(child.ended)
        self._count -= 1
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            child.delivery.end(DEFERRED, CRASHED)
        else:
            child.delivery.end(_LETTERS.get(code, DEFERRED), child.text)

    def close(self) -> None:
        """Have programs ended, and leave soon: a child that writes to a file, or waits for the queue, comes to its own end."""
        deadline = monotonic() + 1.5 * HURRY
        left = {child.pid: child for child in self._running.values()}
        for child in left.values():
            if child.output >= 0:
                self._deafen(child)
        for child in left.values():
            poll = select.poll()
            poll.register(child.ended, select.POLLIN)
            poll.poll(max(0, deadline - monotonic()) * 1000)


def _live(work: Callable[[Order, Callable[[str], None]], int], order: Order, output: int, log_pipe: int) -> NoReturn:
    """The child, which has its report, the log and the message open, and nothing else of the worker's."""
    code = EXIT_TEMPORARY

    def log(text: str) -> None:
        try:
            os.write(log_pipe, encode_report(0, LOG, text.strip().encode(errors="backslashreplace")[-_MAX_LOG:]))
        except OSError:
            pass  # the worker is gone

    try:
        for fd in (1, 2):
            os.dup2(output, fd)
        begin = 3
        for fd in sorted({log_pipe, order.message.descriptor, os.sysconf("SC_OPEN_MAX")}):
            if fd >= begin:
                os.closerange(begin, fd)
                begin = fd + 1
        code = work(order, log)
    finally:
        os._exit(code)
