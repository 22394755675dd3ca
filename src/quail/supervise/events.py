"""Waiting for signals and descriptors at once: a process that keeps others sleeps until something has happened."""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import select
from types import FrameType

_ENOUGH = 4096  # bytes of the pipe that are read at once; what is left wakes the next wait


class Events:
    """The signals that a process waits for. At most one of these at a time: the kernel's side of it is the process's.

    Signals that arrive while nobody waits are kept. A child closes what it has inherited: close().
    """

    __slots__ = ("_arrived", "_numbers", "_poll", "_read", "_write")

    def __init__(self, *numbers: int) -> None:
        """`numbers` of the signals; from now on they only wake, whatever they did before."""
        self._arrived: list[int] = []
        self._numbers = numbers
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.append(number)

    def watch(self, fd: int) -> None:
        """Something to read at fd ends a wait, too."""
        self._poll.register(fd, select.POLLIN)

    def wait(self, seconds: float | None) -> None:
        """Until a signal, something to read, or so many seconds (None: for ever). It may end for no reason."""
        if self._arrived:
            return
        if self._poll.poll(None if seconds is None else max(0, int(seconds * 1000) + 1)):
            try:
                os.read(self._read, _ENOUGH)
            except BlockingIOError:
                pass  # it was another descriptor

    def arrived(self) -> list[int]:
        """The signals since the last call, in their order; one that came twice before anybody looked may be there once."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        """In a child that does not wait for them: the signals do what they do by default."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)


def reap() -> list[tuple[int, int]]:
    """Pid and wait status of each child that has ended, also of one that this process did not start itself."""
    ended = []
    try:
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(one)
    except ChildProcessError:
        pass
    return ended
