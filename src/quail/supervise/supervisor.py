"""supervise: keep the one service of a directory, as svc wants it, and tell its status. Waits for events, never looks in turns.

Nothing that goes wrong later ends it: a run that can't be started is tried again each second, a machine without memory or
processes after a minute, a status that can't be written is a warning.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import time
from _collections_abc import Callable

from quail.oserrors import words
from quail.supervise import status
from quail.supervise.events import Events, reap
from quail.supervise.keeper import DOWN, NO_FORK_WAIT, UP, Keeper
from quail.supervise.servicedir import ServiceDir

_CANT_START = 111


class Supervisor:
    """Of the service in the current directory, called `name` in messages. `say` writes a line on standard error."""

    __slots__ = ("_changed", "_events", "_files", "_keeper", "_name", "_say", "_written")

    def __init__(self, name: str, say: Callable[[str], None], *, down: bool) -> None:
        """`down`: it is not to be started now. TemporaryError if another supervise has the directory, or it can't be used."""
        self._name = name
        self._say = say
        self._files = ServiceDir(name)
        self._keeper = Keeper(time.monotonic(), DOWN if down else UP)
        self._changed = time.time_ns()
        self._written = b""
        self._announce()
        self._files.announce_life()
        self._events = Events(signal.SIGCHLD)
        self._events.watch(self._files.fileno())

    def run(self) -> None:
        """Until it was told to go, and the service has ended."""
        keeper = self._keeper
        self._start_due()
        while True:
            self._announce()
            if keeper.done:
                return
            self._events.wait(None if keeper.due is None else max(0.0, keeper.due - time.monotonic()))
            self._events.arrived()
            for pid, _ in reap():
                if pid == keeper.pid:
                    keeper.ended(time.monotonic())
                    self._changed = time.time_ns()
            for letter in self._files.commands():
                for number in keeper.command(letter, time.monotonic()):
                    self._signal(number)
                self._start_due()
            self._start_due()

    def _signal(self, number: int) -> None:
        try:
            os.kill(self._keeper.pid, number)
        except OSError:
            pass  # a service of another account: nobody waits for an answer

    def _start_due(self) -> None:
        now = time.monotonic()
        if self._keeper.due is None or now < self._keeper.due:
            return
        try:
            pid = os.fork()
        except OSError as error:
            self._warn(f"unable to fork for {self._name}, sleeping {NO_FORK_WAIT:.0f} seconds: {words(error)}")
            self._keeper.not_started(now)
            return
        if pid == 0:
            self._become_service()
        self._keeper.started(pid, now)
        self._changed = time.time_ns()

    def _become_service(self) -> None:
        """Never returns. The service has what supervise was started with."""
        try:
            self._events.close()
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which the interpreter, or supervise, ignores
                signal.signal(number, signal.SIG_DFL)
            os.execv("./run", ["./run"])  # noqa: S606  no shell is meant
        except OSError as error:
            self._say(f"supervise: fatal: unable to start {self._name}/run: {words(error)}")
        finally:
            os._exit(_CANT_START)

    def _announce(self) -> None:
        """Tell others, unless it is what they have been told."""
        keeper = self._keeper
        data = status.pack(self._changed, keeper.pid, paused=keeper.paused, want=keeper.want)
        if data == self._written:
            return
        trouble = self._files.write_status(data)
        if trouble is None:
            self._written = data
        else:
            self._warn(trouble)

    def _warn(self, text: str) -> None:
        self._say(f"supervise: warning: {text}")
