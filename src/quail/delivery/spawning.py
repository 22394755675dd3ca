"""The loop of qmail-lspawn and qmail-rspawn as programs of their own: commands on descriptor 0, reports on descriptor 1.

Each command becomes a child; what the child writes and how it ends becomes the report. A child has ended when its process has:
whoever still has its output open, a program in the background perhaps, is not waited for.
"""

import os
import select
import signal
import stat
from collections.abc import Callable

from quail.delivery.refusal import Refusal
from quail.net.lspawn_protocol import DEFERRED
from quail.net.spawn_protocol import IN_USE, LIMIT, TOO_BIG, Command, Commands, Report, encode_report

CANNOT_OPEN = DEFERRED, b"qmail-spawn unable to open message. (#4.3.0)\n"
WRONG_TYPE = DEFERRED, b"Sorry, message has wrong type. (#4.3.5)\n"
WRONG_OWNER = DEFERRED, b"Sorry, message has wrong owner. (#4.3.5)\n"
NO_PIPE = DEFERRED, b"qmail-spawn unable to create pipe. (#4.3.0)\n"
NO_FORK = DEFERRED, b"qmail-spawn unable to fork. (#4.3.0)\n"

_COMMANDS, _REPORTS = 0, 1
_CHUNK = 1 << 16

Start = Callable[[Command, int, int], int]
"""Begin a delivery, given the message and where its output goes, both descriptors; its process. OSError, Refusal."""


class _Child:
    """A process, the number of its delivery, and the descriptors that tell of it (`output` is -1 when that has ended)."""

    __slots__ = ("ended", "number", "output", "pid", "text")

    def __init__(self, number: int, pid: int, output: int) -> None:
        self.number = number
        self.pid = pid
        self.output = output
        self.ended = os.pidfd_open(pid)
        self.text = bytearray()


class Spawner:
    """run() is the life of the program. The working directory has the messages."""

    def __init__(self, start: Start, made_report: Callable[[int, bytes], Report], *, owner: int, keep: int) -> None:
        """made_report(code, output): the report of a child (a negative code: its signal); `output` are its first `keep` bytes.
        owner: the uid to whom messages belong.
        """
        self._start = start
        self._made_report = made_report
        self._owner = owner
        self._keep = keep
        self._commands = Commands()
        self._children: dict[int, _Child] = {}  # by both descriptors
        self._numbers: set[int] = set()
        self._poll = select.poll()

    def run(self) -> None:
        """Until nobody gives commands any more and all deliveries have ended."""
        _write(bytes((LIMIT,)))
        self._poll.register(_COMMANDS, select.POLLIN)
        listening = True
        while listening or self._numbers:
            for fd, _ in self._poll.poll():
                child = self._children.get(fd)
                if fd == _COMMANDS and listening:
                    listening = self._take()
                elif child is not None and fd == child.output:
                    self._listen(child)
                elif child is not None:
                    self._bury(child)

    def _take(self) -> bool:
        """Whether there may be more commands."""
        try:
            data = os.read(_COMMANDS, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        for command in self._commands.feed(data):
            trouble = self._begin(command)
            if trouble is not None:
                _write(encode_report(command.number, trouble))
        if not data:
            self._poll.unregister(_COMMANDS)
        return bool(data)

    def _begin(self, command: Command) -> Report | None:
        """A report if nothing has begun."""
        if command.number >= LIMIT:
            return TOO_BIG
        if command.number in self._numbers:
            return IN_USE
        if command.trouble is not None:
            return command.trouble
        try:
            message = os.open(command.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return CANNOT_OPEN
        try:
            status = os.fstat(message)
            if not stat.S_ISREG(status.st_mode):
                return WRONG_TYPE
            if status.st_uid != self._owner:
                return WRONG_OWNER
            self._fork(command, message)
        except Refusal as refusal:
            return refusal.letter, refusal.text
        finally:
            os.close(message)
        return None

    def _fork(self, command: Command, message: int) -> None:
        try:
            output, theirs = os.pipe()
        except OSError as error:
            raise Refusal(*NO_PIPE) from error
        try:
            os.set_blocking(output, False)
            pid = self._start(command, message, theirs)
            child = _watched(command.number, pid, output)
        except (OSError, Refusal) as error:
            os.close(output)
            raise error if isinstance(error, Refusal) else Refusal(*NO_FORK) from error
        finally:
            os.close(theirs)
        self._numbers.add(child.number)
        for fd in (child.output, child.ended):
            self._children[fd] = child
            self._poll.register(fd, select.POLLIN)

    def _listen(self, child: _Child) -> None:
        """Take what it has written, and beyond what is kept forget it, so that it need not wait."""
        try:
            data = os.read(child.output, _CHUNK)
        except BlockingIOError:
            return
        child.text += data[: self._keep - len(child.text)]
        if not data:
            self._forget(child.output)
            child.output = -1

    def _forget(self, fd: int) -> None:
        del self._children[fd]
        self._poll.unregister(fd)
        os.close(fd)

    def _bury(self, child: _Child) -> None:
        """The process has ended: report it."""
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if not pid:
            return  # the news was of another, whose descriptor this one has got
        if child.output >= 0:
            self._listen(child)  # a pipe holds no more than this reads
        if child.output >= 0:
            self._forget(child.output)
        self._forget(child.ended)
        self._numbers.remove(child.number)
        _write(encode_report(child.number, self._made_report(os.waitstatus_to_exitcode(status), bytes(child.text))))


def _watched(number: int, pid: int, output: int) -> _Child:
    """OSError, and then it does not go on: it is told as not begun, and is begun again."""
    try:
        return _Child(number, pid, output)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _write(data: bytes) -> None:
    """All of it, however long the other side takes. When that is gone deliveries come to their end, and nobody hears of it."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(_REPORTS, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(_REPORTS, select.POLLOUT)
            poll.poll()
        except OSError:
            return
