"""The workers of lspawn: forked when there is work, kept a few seconds when there is none (DESIGN.md, Processes).

Each uid has its own workers, at most two: one writes while the other waits for the disk. A worker has a bounded number of
tasks at a time; the rest waits here. Nothing that a worker sends is trusted: an unknown tag is dropped, a broken frame ends
the worker.
"""

import os
import signal
import socket
from collections import deque
from collections.abc import Callable

from quail.delivery import worker
from quail.delivery.settings import Settings
from quail.errors import PeerError
from quail.net.lspawn_protocol import (
    DEFERRED,
    DELIVERED,
    FAILED,
    LOG,
    MAX_REPORT,
    MAX_REPORT_TEXT,
    Job,
    decode_report,
    encode_task,
)
from quail.net.pollloop import FrameStream, Loop

WORKERS_PER_UID = 2
TASKS_PER_WORKER = 2 * worker.BATCH  # one batch at work, one on its way
CROWD = worker.BATCH  # tasks of every worker before another one is forked
IDLE = 5.0  # seconds that a worker is kept without a task
IDLE_OF_MANY = 3.0  # the same, when there are many
SLACK = 600.0  # seconds that a delivery may take beyond what its programs may
CRASHED = b"qmail-local crashed.\n"
STUCK = b"Deliveries of this user do not come to an end, and were stopped: tried again later. (#4.3.0)\n"
CANNOT_FORK = b"qmail-spawn unable to fork. (#4.3.0)\n"
TOO_LONG = b"\nError report too long, sorry.\n"
_LETTERS = DELIVERED + DEFERRED + FAILED + LOG


class Task:
    """A job, whose it is (the owner's fields as users gave them), and its descriptor or -1."""

    __slots__ = ("descriptor", "given", "job", "origin", "owner")

    def __init__(self, origin: object, job: Job, descriptor: int) -> None:
        """`origin` is the caller's: where the report goes."""
        self.origin = origin
        self.job = job
        self.descriptor = descriptor
        self.owner = b""
        self.given = 0.0  # when a worker got it

    def close(self) -> None:
        """Give the descriptor back, unless it was handed on."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _Worker:
    __slots__ = ("idle_since", "last_tag", "pid", "stream", "tasks")

    stream: FrameStream

    def __init__(self, pid: int, now: float) -> None:
        self.pid = pid
        self.tasks: dict[int, Task] = {}
        self.last_tag = 0
        self.idle_since = now

    def give(self, task: Task, now: float) -> None:
        task.given = now
        self.last_tag = (self.last_tag + 1) & 0xFFFFFFFF
        self.tasks[self.last_tag] = task
        descriptor, task.descriptor = task.descriptor, -1
        self.stream.send(encode_task(self.last_tag, task.owner, task.job), descriptor)


class Pool:
    """All workers of one uid. Reports go to on_report(task, letter, text)."""

    def __init__(
        self,
        loop: Loop,
        *,
        settings: Settings,
        on_report: Callable[[Task, bytes, bytes], None],
        log: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """Forks nothing yet. `settings` say whose pool it is."""
        self._loop = loop
        self._settings = settings
        self._on_report = on_report
        self._log = log
        self._clock = clock
        self._workers: list[_Worker] = []
        self._retired: list[_Worker] = []
        self._waiting: deque[Task] = deque()
        self.children: set[int] = set()  # every process forked here; who reaps one takes it out

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it any more: no task and no process, idle or ending."""
        return not (self._waiting or self._workers or self._retired or self.children)

    def give(self, task: Task) -> None:
        """Pass the task to a worker, now or when one has room."""
        chosen = self._with_room()
        if chosen is None:
            self._waiting.append(task)
        else:
            chosen.give(task, self._clock())

    def _with_room(self) -> _Worker | None:
        best: _Worker | None = None
        for one in self._workers:
            if best is None or len(one.tasks) < len(best.tasks):
                best = one
        if (best is None or len(best.tasks) >= CROWD) and len(self._workers) < WORKERS_PER_UID:
            best = self._fork() or best
        return best if best is not None and len(best.tasks) < TASKS_PER_WORKER else None

    def _fork(self) -> _Worker | None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._log(f"can't make a socket for a delivery worker: {error}")
            return None
        try:
            pid = os.fork()
        except OSError as error:
            self._log(f"can't fork a delivery worker: {error}")
            ours.close()
            theirs.close()
            return None
        if pid == 0:
            worker.run(theirs, self._settings)
        theirs.close()
        born = _Worker(pid, self._clock())
        born.stream = FrameStream(
            self._loop,
            ours,
            MAX_REPORT,
            lambda _, frames: self._reports(born, frames),
            lambda _, why: self._lost(born, why),
        )
        self._workers.append(born)
        self.children.add(pid)
        return born

    def _reports(self, one: _Worker, frames: list[bytes]) -> None:
        for frame in frames:
            try:
                report = decode_report(frame, _LETTERS)
            except PeerError as error:
                one.stream.close()
                self._lost(one, str(error))
                return
            if report.letter == LOG:
                self._log(f"delivery worker {one.pid}: {os.fsdecode(report.text)}")
                continue
            task = one.tasks.pop(report.tag, None)
            if task is not None:
                self._on_report(task, report.letter, _bounded(report.text))
        if not one.tasks:
            one.idle_since = self._clock()
            if one in self._retired:
                self._retired.remove(one)
                one.stream.close()
        self._feed()

    def _lost(self, one: _Worker, reason: str, report: bytes = CRASHED) -> None:
        """The worker's socket has ended. Its process is reaped elsewhere; one that lives on finds its socket closed."""
        (self._retired if one in self._retired else self._workers).remove(one)
        self._log(f"delivery worker {one.pid} is gone with {len(one.tasks)} deliveries{': ' if reason else ''}{reason}")
        for task in one.tasks.values():
            self._on_report(task, DEFERRED, report)
        one.tasks.clear()
        self._feed()

    def _feed(self) -> None:
        while self._waiting:
            chosen = self._with_room()
            if chosen is None:
                break
            chosen.give(self._waiting.popleft(), self._clock())

    def tick(self, idle: float = IDLE) -> None:
        """Let workers go that have been idle for so many seconds. Call it each second: work that no worker can be forked for
        is put off, and so is work that does not end.
        """
        self._end_stuck()
        self._feed()
        if not self._workers:
            while self._waiting:
                task = self._waiting.popleft()
                task.close()
                self._on_report(task, DEFERRED, CANNOT_FORK)
        limit = self._clock() - idle
        for one in [one for one in self._workers if not one.tasks and one.idle_since <= limit]:
            self._workers.remove(one)
            one.stream.close()

    def _end_stuck(self) -> None:
        """A user may stop his worker, or have it wait for a disk of his own making: it must not keep its deliveries for ever.
        Programs have a limit of their own; without that one there is none here either.
        """
        if not self._settings.program_timeout:
            return
        limit = self._clock() - (2 * self._settings.program_timeout + SLACK)
        for one in self._workers + self._retired:
            oldest = next(iter(one.tasks.values()), None)
            if oldest is not None and oldest.given < limit:
                if one.pid in self.children:  # not reaped yet, so the number is still its own
                    os.kill(one.pid, signal.SIGKILL)
                one.stream.close()
                self._lost(one, "it does not come to an end", STUCK)

    def forget(self, origin: object) -> None:
        """Drop the waiting tasks of an origin that is gone; those with a worker are finished."""
        kept = [task for task in self._waiting if task.origin is not origin]
        for task in self._waiting:
            if task.origin is origin:
                task.close()
        self._waiting = deque(kept)

    def renew(self, settings: Settings) -> None:
        """Use other settings from now on: present workers finish what they have and end."""
        self._settings = settings
        for one in self._workers:
            if one.tasks:
                self._retired.append(one)
            else:
                one.stream.close()
        self._workers.clear()

    def close(self) -> None:
        """Hang up: workers end after the batch they are at, and nobody hears their reports."""
        for one in self._workers + self._retired:
            one.stream.close()
        self._workers.clear()
        self._retired.clear()


def _bounded(text: bytes) -> bytes:
    """The text as qmail-lspawn passes it on: up to its first NUL, and not too long."""
    end = text.find(b"\0")
    if end >= 0:
        text = text[:end]
    return text if len(text) <= MAX_REPORT_TEXT else text[:MAX_REPORT_TEXT] + TOO_LONG
