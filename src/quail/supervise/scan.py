"""svscan: start supervise for each folder of a directory, and for its log, and start again those that have ended.

It looks at the directory every five seconds, and never ends. A service is what stat(2) says it is (device and inode), so
one that is renamed, or linked twice, is not started twice. Whether it has a log is looked at when it is new. Then there is
a pipe between the two as long as svscan knows the service: what it writes while its log is away is not lost.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import stat
import sys
import time
from _collections_abc import Callable

from quail.oserrors import words
from quail.supervise.descriptors import close_others, inherited
from quail.supervise.events import Events, reap

MOST_SERVICES = 1000
INTERVAL = 5.0  # seconds
_CANT_START = 111


class Service:
    """What svscan knows of one: pids, 0 while nothing runs, and the two ends of the pipe to its log, if it has one."""

    __slots__ = ("log_pid", "pid", "pipe", "present")

    def __init__(self, pipe: tuple[int, int] | None) -> None:
        """A new one, found right now."""
        self.pid = 0
        self.log_pid = 0
        self.pipe = pipe
        self.present = True


class Scanner:
    """Of the current directory.

    `start` is called in a child with a folder of its working directory that supervise is to run in, and never returns, or
    raises OSError. `warn` gets what goes wrong.
    """

    def __init__(self, start: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Nothing is started yet."""
        self._start = start
        self._warn = warn
        self._inherited = inherited()
        self._services: dict[tuple[int, int], Service] = {}
        self._events: Events | None = None

    def run(self) -> None:
        """For ever."""
        self._events = Events(signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        while True:
            self.scan()
            self._sleep(time.monotonic() + INTERVAL)

    def _sleep(self, until: float) -> None:
        assert self._events is not None
        while (left := until - time.monotonic()) > 0:
            self._events.wait(left)
            if self._events.arrived():
                self.ended([pid for pid, _ in reap()])

    def ended(self, pids: list[int]) -> None:
        """These children have ended. What is to run again is started by the next scan."""
        for service in self._services.values() if pids else ():
            if service.pid in pids:
                service.pid = 0
            if service.log_pid in pids:
                service.log_pid = 0

    def scan(self) -> None:
        """Look at the directory once, and start what does not run. Services that are gone and have ended are forgotten."""
        try:
            names = os.listdir(".")
        except OSError as error:
            self._warn(f"unable to read directory: {words(error)}")
            return
        for service in self._services.values():
            service.present = False
        for name in names:
            if not name.startswith("."):
                self._look_at(name)
        for identity, service in list(self._services.items()):
            if not service.present and not service.pid and not service.log_pid:
                del self._services[identity]
                for fd in service.pipe or ():
                    os.close(fd)

    def _look_at(self, name: str) -> None:
        try:
            found = os.stat(name)
        except OSError as error:
            self._warn(f"unable to stat {name}: {words(error)}")
            return
        if not stat.S_ISDIR(found.st_mode):
            return
        identity = (found.st_dev, found.st_ino)
        service = self._services.get(identity)
        if service is None:
            service = self._new(name)
            if service is None:
                return
            self._services[identity] = service
        service.present = True
        if not service.pid:
            service.pid = self._fork(name, service, log=False)
        if service.pipe is not None and not service.log_pid:
            service.log_pid = self._fork(name, service, log=True)

    def _new(self, name: str) -> Service | None:
        if len(self._services) >= MOST_SERVICES:
            self._warn(f"unable to start {name}: running too many services")
            return None
        try:
            os.stat(f"{name}/log")
        except FileNotFoundError:
            return Service(None)
        except OSError as error:
            self._warn(f"unable to stat {name}/log: {words(error)}")
            return None
        try:
            return Service(os.pipe2(os.O_CLOEXEC))
        except OSError as error:
            self._warn(f"unable to create pipe for {name}: {words(error)}")
            return None

    def _fork(self, name: str, service: Service, *, log: bool) -> int:
        """The child's pid, 0 if there is none."""
        what = f"{name}/log" if log else name
        try:
            pid = os.fork()
        except OSError as error:
            self._warn(f"unable to fork for {what}: {words(error)}")
            return 0
        if pid == 0:
            self._child(name, service, log=log)
        return pid

    def _child(self, name: str, service: Service, *, log: bool) -> None:
        """Never returns."""
        doing = "start supervise"
        try:
            if self._events is not None:
                self._events.close()
            if service.pipe is not None:
                os.dup2(service.pipe[0] if log else service.pipe[1], 0 if log else 1)
            close_others(self._inherited)  # by exec they would be closed, but there may be none
            if log:
                doing = "switch to"
                os.chdir(name)
                doing = "start supervise"
            self._start("log" if log else name)
        except OSError as error:
            self._warn(f"unable to {doing} {name}{'/log' * log}: {words(error)}")
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(_CANT_START)
