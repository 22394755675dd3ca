"""A program that takes mail in the queue's stead: $QMAILQUEUE, which a site sets to have its mail looked at first.

It is run in the home, by its path alone, without arguments: it reads the message from descriptor 0 and the envelope from
descriptor 1, as qmail-queue does, may write some words on descriptor 6 (or 4, as simscan does), and says with its exit code
what has become of the message (quail.queue.exits, facts 3.2). An envelope that ends without its last NUL means that the
message is abandoned.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import select
from _collections_abc import Callable, Iterable
from fcntl import F_DUPFD_CLOEXEC, fcntl

from quail.queue import exits
from quail.queue.handover import Reply

MESSAGE, ENVELOPE = 0, 1  # where the program has them
WORDS = (4, 6)  # and where its words for us go: one pipe, as notqmail (6) and the older patches (4) have it
SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""Those that a program finds as if nobody had ignored them: whoever waits for it may, and the interpreter ignores some."""

_READ_SIZE = 4096

TIME_LIMIT = 86_400.0  # seconds that it may take to read on, or to end; qmail-queue gives itself as many


class QueueProgram:
    """Has the same send() as the queue's own Client. For the main thread alone: it sets signals."""

    def __init__(self, command: bytes, home: str) -> None:
        """`command` is a path, seen from the home if it is relative."""
        self._command = command
        self._home = home

    def send(
        self,
        sender: bytes,
        recipients: Iterable[bytes],
        chunks: Iterable[bytes],
        _attributes: Iterable[tuple[bytes, bytes]] = (),
    ) -> Reply:
        """Give it one message; K and the number of its process, or why not. No trouble of the program is raised.

        The rest of the chunks is not asked for once the program does not read on. An exception out of `chunks` abandons
        the message and passes on.
        """
        envelope = encode(sender, recipients)
        return exits.UNFIT if envelope is None else self._send(chunks, lambda: envelope)

    def send_body_first(self, chunks: Iterable[bytes], envelope: Callable[[], tuple[bytes, list[bytes]]]) -> Reply:
        """As Client's. The message and the envelope are given to the program in this order anyway."""
        return self._send(chunks, lambda: encode(*envelope()))

    def _send(self, chunks: Iterable[bytes], envelope: Callable[[], bytes | None]) -> Reply:
        """`envelope` gives None if it can't be one, and then the message is abandoned."""
        sigpipe = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the program would leave no exit code
        try:
            try:
                child = _Child(self._command, self._home)
            except OSError:
                return exits.CANNOT_RUN
            return child.take(chunks, envelope)
        finally:
            for number, handler in ((signal.SIGPIPE, sigpipe), (signal.SIGCHLD, sigchld)):
                if handler is not None:
                    signal.signal(number, handler)


class _Child:
    """The program's process, and our ends of its pipes."""

    def __init__(self, command: bytes, home: str) -> None:
        """OSError if there can be no process."""
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes += os.pipe()
            self._pid = os.fork()
        except OSError:
            for fd in pipes:
                os.close(fd)
            raise
        if self._pid == 0:
            _become(command, home, (pipes[0], pipes[2], pipes[5]))
        _, self._message, _, self._envelope, self._words_fd, _ = pipes
        for fd in (pipes[0], pipes[2], pipes[5]):
            os.close(fd)
        for fd in (self._message, self._envelope, self._words_fd):
            os.set_blocking(fd, False)
        self._late = False
        self._words = b""
        self._silent = False  # it has closed its end, or never looked at it
        self._poll = select.poll()
        self._poll.register(self._words_fd, select.POLLIN)
        try:
            self._ended = os.pidfd_open(self._pid)
        except OSError:
            self._ended = -1
            self._finish()
            raise
        self._poll.register(self._ended, select.POLLIN)

    def take(self, chunks: Iterable[bytes], envelope: Callable[[], bytes | None]) -> Reply:
        """Write it all and wait for the program's end."""
        try:
            whole = all(self._write(self._message, chunk) for chunk in chunks)
            if whole:
                os.close(self._message)
                self._message = -1
                records = envelope()
                if records is None:
                    self._finish()
                    return exits.UNFIT
                whole = self._write(self._envelope, records)
        except BaseException:
            self._finish()
            raise
        status = self._finish()
        if self._late:
            return exits.reply(exits.TIMEOUT)
        if status is None:
            return exits.LOST
        if os.WIFSIGNALED(status):
            return exits.CRASHED
        code = os.WEXITSTATUS(status)
        if code == exits.QUEUED:
            return Reply(b"K", b"%d" % self._pid) if whole else exits.reply(exits.READ_ERROR)
        return exits.reply(code, self._words)

    def _write(self, fd: int, data: bytes) -> bool:
        """Whether the program has taken it all."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                if not self._writable(fd):
                    return False
            except OSError:
                return False  # it has closed its end
        return True

    def _writable(self, fd: int) -> bool:
        """Wait until fd takes more, and meanwhile for what the program says; False once it has ended."""
        self._poll.register(fd, select.POLLOUT)
        try:
            while True:
                events = self._wait()
                if fd in events:
                    return True
                if self._ended in events or not events:
                    return False  # whoever it has left behind with its descriptors may never read on
        finally:
            self._poll.unregister(fd)

    def _wait(self) -> dict[int, int]:
        """What has happened; nothing if it has taken too long, and then the program is killed."""
        events = dict(self._poll.poll(TIME_LIMIT * 1000))
        if not events and not self._late:
            self._late = True
            signal.pidfd_send_signal(self._ended, signal.SIGKILL)
        if self._words_fd in events or self._ended in events:
            self._listen()
        return events

    def _listen(self) -> None:
        if self._silent:
            return
        try:
            data = os.read(self._words_fd, _READ_SIZE)
        except BlockingIOError:
            return
        self._words = (self._words + data)[: exits.MAX_WORDS]
        if not data:
            self._silent = True
            self._poll.unregister(self._words_fd)

    def _finish(self) -> int | None:
        """Let it come to its end, and close everything; its wait status, or None if that is lost."""
        for fd in (self._envelope, self._message):
            if fd >= 0:
                os.close(fd)
        ended = self._ended < 0
        while not ended:
            ended = self._ended in self._wait()
        if self._ended >= 0:
            os.close(self._ended)
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:
            status = None
        os.close(self._words_fd)
        return status


def encode(sender: bytes, recipients: Iterable[bytes]) -> bytes | None:
    """The envelope as qmail-queue reads it; None if an address can't be in one."""
    records = [b"F" + sender, *(b"T" + recipient for recipient in recipients)]
    return None if any(b"\0" in record for record in records) else b"\0".join(records) + b"\0\0"


def _become(command: bytes, home: str, ends: tuple[int, int, int]) -> None:
    """In the new process: be the program, or end with the code that says why not."""
    try:
        message, envelope, words = (fcntl(end, F_DUPFD_CLOEXEC, WORDS[-1] + 1) for end in ends)
        for fd, place in ((message, MESSAGE), (envelope, ENVELOPE), *((words, place) for place in WORDS)):
            os.dup2(fd, place)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            os.chdir(home)
        except OSError:
            os._exit(exits.NO_HOME)
        environment = os.environb | {b"QMAILHOME": os.fsencode(home)}
        os.execve(command, [command], environment)  # noqa: S606  what the operator, or the user for himself, has set
    finally:
        os._exit(exits.CANNOT_EXECUTE)
