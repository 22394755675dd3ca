"""serve's core: fork services, start again what ends, pass signals, stop in order. No thread and no event loop in here.

A service that ends is started again at once, but no sooner than a second after its last start; one that gives up again and
again by itself (a malformed control file, say) waits longer each time, up to ten seconds. All of them hold one end of a
pipe whose other end only this process has: when it dies, however it dies, they end too.
"""

import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping

from quail.errors import QuailError, TemporaryError
from quail.storage.durable import replace_file
from quail.supervise.context import HELD_BACK, Context
from quail.supervise.descriptors import close_others
from quail.supervise.events import Events, reap
from quail.supervise.identity import become
from quail.supervise.keeper import AGAIN_AFTER, Keeper
from quail.supervise.log import LineLog
from quail.supervise.logprogram import LogProgram

LONGEST_WAIT = 10.0  # seconds between two starts of a service that gives up
_PASSED_ON = (signal.SIGHUP, signal.SIGALRM)


class Member:
    """One service process. `stage` is its turn when all stop: lower ones first, each with `grace` seconds.

    `identity` is the uid and gid that it runs as, without other groups; None to stay who serve is. `descriptors` are kept open
    in it, beside the sockets. One that is `vital` can't be started again: all end with it.
    """

    __slots__ = (
        "counters", "descriptors", "grace", "identity", "keeper", "name", "prefix", "run", "sockets", "stage", "vital",
        "worker",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        run: Callable[[Context], None],
        sockets: tuple[str, ...],
        *,
        stage: int,
        grace: float,
        prefix: str,
        worker: int = 0,
        identity: tuple[int, int] | None = None,
        counters: memoryview | None = None,
    ) -> None:
        """`run` is called in the child; `sockets` name the listeners that it inherits; `prefix` begins its lines;
        `counters`: see Context.
        """
        self.name = name
        self.run = run
        self.sockets = sockets
        self.stage = stage
        self.grace = grace
        self.prefix = prefix
        self.worker = worker
        self.identity = identity
        self.counters = counters
        self.descriptors: tuple[int, ...] = ()
        self.vital = False
        self.keeper = Keeper(time.monotonic(), longest=LONGEST_WAIT)


class Tree:
    """The services of one home. The working directory is the home."""

    def __init__(
        self,
        members: list[Member],
        sockets: dict[str, socket.socket],
        *,
        home: str,
        mode: str,
        log: LineLog,
        nofile: tuple[int, int],
        uids: Mapping[str, int] | None = None,
        signals_for: dict[int, tuple[str, ...]] | None = None,
        pids_path: str = "run/pids.json",
        log_program: LogProgram | None = None,
        process_name: str = "quail-serve",
    ) -> None:
        """`nofile`, `uids`: see Context. `signals_for` narrows a passed signal to services of these names; `pids_path` is
        where it tells who they are. `log_program`, which runs already, is started again when it ends. `process_name`: what ps
        shows of this process.
        """
        self._members = members
        self._sockets = sockets
        self._home = home
        self._mode = mode
        self._log = log
        self._nofile = nofile
        self._uids = uids or {}
        self._signals_for = signals_for or {}
        self._life_read, self._life_write = os.pipe2(os.O_CLOEXEC)
        self._events: Events | None = None
        self._pids_path = pids_path
        self._last_pids = b""
        self._log_program = log_program
        self._process_name = process_name

    def run(self, started: Callable[[], None]) -> None:
        """Until TERM or INT; `started` is called when every service has been forked. TemporaryError when a vital one has
        failed, after the others have been stopped.
        """
        _rename(self._process_name)
        gc.collect()
        gc.freeze()
        events = self._events = Events(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *_PASSED_ON)
        self._ended()  # a log program may have died before we heard of such things
        for member in self._members:
            self._fork(member)
        self._write_pids()
        started()
        failed = None
        while failed is None:
            events.wait(self._next_start())
            if self._stop_wanted(events):  # first: services that got the same signal have ended as they should
                break
            for member, status in self._ended():
                if member.vital:
                    failed = f"{member.name} {_ending(status)}" if status else ""
                else:
                    self._log(f"{member.name} {_ending(status)}; starting it again")
            if failed is None:
                self._start_due()
        self._stop_all(events)
        if failed:
            raise TemporaryError(failed)

    def _stop_wanted(self, events: Events) -> bool:
        for number in events.arrived():
            if number in (signal.SIGTERM, signal.SIGINT):
                return True
            if number in _PASSED_ON:
                names = self._signals_for.get(number)
                for member in self._members:
                    if names is None or member.name in names:
                        self._kill(member, number)
        return False

    # Starting.

    def _fork(self, member: Member) -> None:
        now = time.monotonic()
        # A signal for a child that can't act on it yet waits: else an early HUP would kill it, an early TERM be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            pid = os.fork()
        except OSError as error:  # for want of memory or processes, which may be there again a second later
            self._log(f"alert: unable to start {member.name}: {error}; trying again")
            member.keeper.not_started(now, AGAIN_AFTER)
        else:
            if pid == 0:
                self._child(member)
            member.keeper.started(pid, now)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)

    def _child(self, member: Member) -> None:
        """Never returns."""
        code = 111
        log = self._log.named(member.prefix)
        name = "" if member.prefix else f"{member.name}: "
        try:
            if self._events is not None:
                self._events.close()
            # What a signal asks for, a service does at its start anyway; one that does not handle it must not die of it.
            for number in _PASSED_ON:
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for serve, which then tells us
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.close(self._life_write)
            for socket_name, listener in self._sockets.items():
                if socket_name not in member.sockets:
                    listener.close()
            sockets = (self._sockets[each].fileno() for each in member.sockets)
            close_others({self._life_read, *sockets, *member.descriptors})
            name_process(member.name)
            if member.identity is not None:
                become(*member.identity)
            context = Context(
                home=self._home,
                mode=self._mode,
                sockets={each: self._sockets[each] for each in member.sockets},
                life_fd=self._life_read,
                worker=member.worker,
                log=log,
                nofile=self._nofile,
                uids=self._uids,
                counters=member.counters,
            )
            member.run(context)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 111
        except QuailError as error:
            log(f"fatal: {name}{error}")
            code = error.exit_code
        except BaseException:
            import traceback  # noqa: PLC0415  only a bug needs it

            for line in traceback.format_exc().splitlines():
                log(f"fatal: {name}{line}")
        finally:
            os._exit(code)

    def _next_start(self) -> float | None:
        dues = [member.keeper.due for member in self._members if member.keeper.due is not None]
        if self._log_program is not None and self._log_program.due is not None:
            dues.append(self._log_program.due)
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _start_due(self) -> None:
        now = time.monotonic()
        if self._log_program is not None:
            self._log_program.tend(now)
        for member in self._members:
            if member.keeper.due is not None and now >= member.keeper.due:
                self._fork(member)
        self._write_pids()

    def _write_pids(self) -> None:
        """run/pids.json, for operators and their tools: `{"queue": [123], ...}`."""
        pids: dict[str, list[int]] = {}
        for member in self._members:
            pids.setdefault(member.name, []).append(member.keeper.pid)
        inner = ", ".join(f'"{name}": {numbers}' for name, numbers in sorted(pids.items()))
        data = f'{{"serve": [{os.getpid()}], {inner}}}\n'.encode()
        if data != self._last_pids:
            self._last_pids = data
            try:
                replace_file(self._pids_path, data)
            except OSError as error:
                self._log(f"warning: unable to write {self._pids_path}: {error}")

    def _ended(self) -> list[tuple[Member, int]]:
        """Those that have ended since the last call, with their wait status."""
        members = {member.keeper.pid: member for member in self._members}
        reaped = reap()
        if self._log_program is not None:
            for pid, status in reaped:
                self._log_program.ended(pid, status, time.monotonic())
        ended = [(members[pid], status) for pid, status in reaped if pid in members]
        for member, status in ended:
            member.keeper.ended(time.monotonic(), by_itself=os.WIFEXITED(status))
        return ended

    # Stopping.

    def _kill(self, member: Member, number: int) -> None:
        if member.keeper.pid:
            os.kill(member.keeper.pid, number)

    def _stop_all(self, events: Events) -> None:
        """Stage by stage; a second TERM or INT leaves no grace."""
        hurry = False
        for stage in sorted({member.stage for member in self._members}):
            group = [member for member in self._members if member.stage == stage]
            for member in group:
                self._kill(member, signal.SIGTERM)
            deadline = time.monotonic() + max(member.grace for member in group)
            while any(member.keeper.pid for member in group):
                left = deadline - time.monotonic()
                if left <= 0 or hurry:
                    for member in group:
                        self._kill(member, signal.SIGKILL)
                    left = 5.0
                events.wait(min(left, 1.0))
                hurry = self._stop_wanted(events) or hurry
                self._ended()
                if self._log_program is not None:
                    self._log_program.tend(time.monotonic())


def name_process(name: str) -> None:
    """What ps and top show (comm) of a service."""
    _rename(f"quail-{name}")


def _rename(name: str) -> None:
    """15 bytes at most."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)  # no text file: its codec would cost each fork 2 ms
        try:
            os.write(fd, name[:15].encode())
        finally:
            os.close(fd)
    except OSError:
        pass


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was killed by signal {os.WTERMSIG(status)}"
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"
