"""Calls that may block for a long time (name service, other people's disks), made beside a poll loop in a few threads.

Only for services that never fork. A thread that hangs keeps its place and nothing else: the loop and the other threads go on.
Calls are in lanes, and those of one lane have few threads at once: what hangs in the hands of one user takes them from nobody
else. Threads are started as they are needed and end with the process.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from typing import TypeVar

from quail.net.pollloop import READ, Loop

Result = TypeVar("Result")

_Call = Callable[[], Callable[[], None]]
"""Returns what to do with its result in the loop."""


class _Lane:
    """Calls that share something which may hang."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[_Call] = deque()


class Offload:
    """The threads of one loop. All of it is called from the loop's own thread."""

    def __init__(self, loop: Loop, *, threads: int, threads_each: int, waiting: int, waiting_each: int) -> None:
        """At most so many threads, and so many calls that wait for one; in all, and of each lane."""
        self._most = threads
        self._most_each = threads_each
        self._waiting = waiting
        self._waiting_each = waiting_each
        self._threads = 0
        self._open = 0  # calls without a result
        self._running = 0  # of those, given to the threads
        self._lanes: dict[Hashable, _Lane] = {}
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._results: deque[Callable[[], None]] = deque()
        self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.add(self._news, READ, self._collect)

    def submit(self, lane: Hashable, call: Callable[[], Result], done: Callable[[Result | Exception], None]) -> bool:
        """Make the call in a thread; `done` gets what it returned or raised, in the loop. False: too many wait already."""
        there = self._lanes.get(lane) or _Lane()
        if len(there.waiting) >= self._waiting_each or self._open >= self._threads + self._waiting:
            return False
        if not self._threads and not self._start():
            return False

        def work() -> Callable[[], None]:
            try:
                result: Result | Exception = call()
            except Exception as error:
                result = error
            return lambda: self._finish(lane, lambda: done(result))

        self._lanes[lane] = there
        self._open += 1
        there.waiting.append(work)
        self._next(there)
        return True

    def _next(self, lane: _Lane) -> None:
        """Give the threads what is this lane's turn."""
        if lane.waiting and lane.running < self._most_each:
            lane.running += 1
            self._running += 1
            if self._running > self._threads and self._threads < self._most:
                self._start()
            self._calls.put(lane.waiting.popleft())

    def _finish(self, name: Hashable, done: Callable[[], None]) -> None:
        lane = self._lanes[name]
        lane.running -= 1
        self._running -= 1
        self._open -= 1
        self._next(lane)
        if not lane.running:
            del self._lanes[name]
        done()

    def _start(self) -> bool:
        # Signals are the loop's: in a thread they would only interrupt what it waits for, which then looks like trouble.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # the limit of processes: those that run do the work
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._threads += 1
        return True

    def _run(self) -> None:
        while True:
            self._results.append(self._calls.get()())
            os.eventfd_write(self._news, 1)

    def _collect(self, _events: int) -> None:
        try:
            os.eventfd_read(self._news)
        except BlockingIOError:
            return
        while self._results:
            self._results.popleft()()
