"""The program that serve's log goes to, for qmail-start: it reads the log on descriptor 0, and is started again when it ends.

All services write into one pipe. This process has both ends of it: so nothing is lost between two lives of the program, and no
writer dies of a pipe that nobody reads. While the program is down its place is taken: what comes goes to standard error, since
a full pipe would stop the mail. Our own lines are written without waiting, or a program that reads no more would stop us too.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import select
import time

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.supervise.keeper import Keeper
from quail.supervise.log import LineLog

LONGEST_WAIT = 10.0  # seconds between two starts of a program that gives up
FAREWELL = 10.0  # seconds to read the rest of the log at the end
_GLANCE = 0.1  # seconds between looks at a pipe that we read ourselves
_OUTPUT, _ERROR = 1, 2
_PIECE = 1 << 16
_MOST_PIECES = 32  # at once: more than a pipe holds
_DEFAULT = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class LogProgram:
    """`due`: when tend() has something to do, in monotonic seconds; None while the program runs."""

    __slots__ = ("_argv", "_error", "_identity", "_keeper", "_output", "_own", "_read", "log")

    def __init__(self, argv: list[bytes], identity: tuple[int, int] | None) -> None:
        """Start it: its words, and the uid and gid that it runs as (None: ours), found through $PATH.

        From now on descriptor 2 is the log, and `log` writes there; 0 and 1 are the null device. TemporaryError if it can't be
        started; then all is as before.
        """
        self._argv = argv
        self._identity = identity
        self._keeper = Keeper(time.monotonic(), longest=LONGEST_WAIT)
        self._output, self._error = (_kept(fd) for fd in (_OUTPUT, _ERROR))
        self._read, write = os.pipe2(os.O_CLOEXEC)
        try:
            self._start(time.monotonic())
        except OSError as error:
            for fd in {self._read, write, self._output, self._error} - {-1}:
                os.close(fd)
            raise TemporaryError(f"unable to run {os.fsdecode(argv[0])}: {words(error)}") from error
        self._own = os.open(f"/proc/self/fd/{write}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.dup2(write, _ERROR)
        os.close(write)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, _OUTPUT):
            os.dup2(null, fd)
        os.close(null)
        self.log = LineLog(fd=self._own, named_fd=_ERROR)

    @property
    def due(self) -> float | None:
        if self._keeper.due is None:
            return None
        return min(self._keeper.due, time.monotonic() + _GLANCE)

    def ended(self, pid: int, status: int, now: float) -> None:
        """A child of this process has ended, which may be the program."""
        if pid != self._keeper.pid:
            return
        self._keeper.ended(now, by_itself=os.WIFEXITED(status))
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._complain(f"alert: the logger {os.fsdecode(self._argv[0])} {how}; starting it again")

    def tend(self, now: float) -> None:
        """Start it again if that is due; until then read in its place. Call it when `due` has come, or at any time."""
        if self._keeper.due is None:
            return
        if now >= self._keeper.due:
            try:
                self._start(now)
                return
            except OSError as error:
                self._complain(f"alert: unable to run {os.fsdecode(self._argv[0])}: {words(error)}; trying again")
                self._keeper.not_started(now, LONGEST_WAIT)
        self._read_instead()

    def finish(self) -> None:
        """Nothing more will be written: let it read the rest, and wait for its end, but not for ever."""
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, _ERROR)
        os.close(null)
        os.close(self._own)
        if self._keeper.pid:
            os.close(self._read)
            _await_end(self._keeper.pid)
        else:
            self._read_instead()

    def _start(self, now: float) -> None:
        """OSError if there is no such program, or no process."""
        failed, failing = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(failing)
            os.close(failing)
            failing = -1
            number = os.read(failed, 16)  # ends without a word when it is another program
        finally:
            os.close(failed)
            if failing >= 0:
                os.close(failing)
        if number:
            os.waitpid(pid, 0)
            raise OSError(int(number), os.strerror(int(number)))
        self._keeper.started(pid, now)

    def _become(self, failing: int) -> None:
        """Never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for number in _DEFAULT:
                signal.signal(number, signal.SIG_DFL)
            os.setsid()  # Ctrl-C is for us: it reads on until nobody writes any more
            os.dup2(self._read, 0)
            for fd, kept in ((_OUTPUT, self._output), (_ERROR, self._error)):
                if kept >= 0:
                    os.dup2(kept, fd)
                elif fd == _ERROR:
                    os.close(fd)
            os.chdir("/")
            os.umask(0o077)
            if self._identity is not None:
                uid, gid = self._identity
                os.setgroups([gid])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            os.execvpe(self._argv[0], self._argv, os.environb)  # noqa: S606  no shell: the caller's words are the command
        except OSError as error:
            os.write(failing, b"%d" % (error.errno or 0))
        finally:
            os._exit(111)

    def _read_instead(self) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        for _ in range(_MOST_PIECES):
            if not [True for _, events in poll.poll(0) if events & select.POLLIN]:
                return
            self._write_error(os.read(self._read, _PIECE))

    def _complain(self, text: str) -> None:
        self._write_error(os.fsencode(f"qmail-start: {text}\n"))

    def _write_error(self, data: bytes) -> None:
        if self._error >= 0:
            try:
                while data:
                    data = data[os.write(self._error, data) :]
            except OSError:
                pass  # there is nobody left to be told


def _kept(fd: int) -> int:
    """Another number for what fd is now; -1 if it is closed."""
    try:
        copy = os.dup(fd)
    except OSError:
        return -1
    if copy > _ERROR:
        return copy
    # One of 0 to 2 was closed: they get new meanings, so this must be elsewhere.
    import fcntl  # noqa: PLC0415  hardly ever needed

    moved = fcntl.fcntl(copy, fcntl.F_DUPFD_CLOEXEC, _ERROR + 1)
    os.close(copy)
    return moved


def _await_end(pid: int) -> None:
    try:
        end = os.pidfd_open(pid)
    except OSError:
        return  # it has ended, and was reaped
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.poll(FAREWELL * 1000)
    os.close(end)
