"""Calls that may block for a long time (name service, other people's disks), made beside a poll loop in a few threads.

Only for services that never fork. A thread that hangs keeps its place and nothing else: the loop and the other threads go on.
Threads are started as they are needed and end with the process.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from quail.net.pollloop import READ, Loop

Result = TypeVar("Result")


class Offload:
    """The threads of one loop. All of it is called from the loop's own thread."""

    def __init__(self, loop: Loop, *, threads: int, waiting: int) -> None:
        """At most so many threads, and so many calls that wait for one."""
        self._most = threads
        self._waiting = waiting
        self._threads = 0
        self._open = 0  # calls without a result
        self._calls: SimpleQueue[Callable[[], Callable[[], None]]] = SimpleQueue()
        self._results: deque[Callable[[], None]] = deque()
        self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.add(self._news, READ, self._collect)

    def submit(self, call: Callable[[], Result], done: Callable[[Result | Exception], None]) -> bool:
        """Make the call in a thread; `done` gets what it returned or raised, in the loop. False: too many wait already."""
        if self._open >= self._threads + self._waiting:
            return False

        def work() -> Callable[[], None]:
            try:
                result: Result | Exception = call()
            except Exception as error:
                result = error
            return lambda: done(result)

        if self._open >= self._threads < self._most and not self._start() and not self._threads:
            return False
        self._open += 1
        self._calls.put(work)
        return True

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
            self._open -= 1
            self._results.popleft()()
