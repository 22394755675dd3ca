"""Hand-overs to a program instead of the queue, for clients whose access rule sets QMAILQUEUE (qmail-queue(8)).

The same frames come as those for the queue (handoff.py). The message is kept in a file without a name until it is whole: only
then is the program run, with that file as its descriptor 0, so that a slow client costs no process. It never runs as root.
docs/decisions/0002-handover.md.
"""

import asyncio
import os
import signal
import stat
from collections.abc import Callable, Mapping
from typing import Protocol

from quail.errors import PeerError
from quail.message.logtext import safe
from quail.net.frames import Splitter
from quail.queue import exits
from quail.queue.handover import Envelope, Reply, TooManyRecipientsError, decode_envelope
from quail.queue.program import ENVELOPE, MESSAGE, SIGNALS, TIME_LIMIT, WORDS, encode
from quail.services.inbound.handoff import Borrower
from quail.storage.memory import memory_file
from quail.storage.spool import nameless_file, write

MOST_AT_ONCE = 16  # programs of one worker; further messages wait for their turn
_ANY_SIZE = 0xFFFFFFFF  # of a frame, which comes from this process
_BEGINNING, _BODY, _BEHIND = "beginning", "body", "behind the body"  # where a hand-over is


class Waiter(Borrower, Protocol):
    """A session that need not be there any more when the turn comes to its message."""

    def has_gone(self) -> bool:
        """Whether nobody would hear the reply."""


class Programs:
    """All programs of this process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        home: str,
        log: Callable[[str], None],
        *,
        uid: Callable[[], int] = os.geteuid,
    ) -> None:
        """`uid` tells whom they would run as."""
        self._loop = loop
        self._home = os.fsencode(home)
        self._log = log
        self._uid = uid
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._warned: set[bytes] = set()

    def pool(self, command: bytes, environment: Mapping[bytes, bytes]) -> "ProgramPool":
        """The way to a program for one session, whose variables these are."""
        return ProgramPool(self, command, {**os.environb, **environment, b"QMAILHOME": self._home})

    def hand_over(self, pool: "ProgramPool", message: "Message", envelope: Envelope | Reply, borrower: Waiter) -> None:
        """Give one message to the program; the file is closed when that has it."""
        task = self._loop.create_task(self._hand_over(pool, message, envelope, borrower))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_over(
        self, pool: "ProgramPool", message: "Message", envelope: Envelope | Reply, borrower: Waiter
    ) -> None:
        try:
            async with self._turns:
                if borrower.has_gone():
                    return  # the client sends it again, and what is overloaded need not do it twice
                reply = envelope if isinstance(envelope, Reply) else await self._reply(pool, message, envelope)
        except OSError:  # there is no memory, process or descriptor for it now
            reply = exits.CANNOT_RUN
        except Exception as error:
            self._log(f"alert: internal error, message not taken: {error!r}")
            reply = exits.reply(exits.BUG)
        finally:
            message.close()
        borrower.handed_over(reply)

    async def _reply(self, pool: "ProgramPool", message: "Message", envelope: Envelope) -> Reply:
        records = encode(envelope.sender, envelope.recipients)
        if records is None:
            return exits.UNFIT
        if self._uid() == 0:
            self._log(
                f"warning: QMAILQUEUE={safe(pool.command)} of an access rule is not run by a service that is root"
            )
            return exits.CANNOT_RUN
        self._warn_of_set_uid(pool.command)
        try:
            message.seal()
        except OSError:
            return exits.reply(exits.WRITE_ERROR)
        envelope_fd = memory_file("envelope")
        words_fd = memory_file("words")
        try:
            write(envelope_fd, records)
            os.lseek(envelope_fd, 0, os.SEEK_SET)
            places = [(message.fd, MESSAGE), (envelope_fd, ENVELOPE), *((words_fd, place) for place in WORDS)]
            try:
                pid = self._start(pool, places)
            except BlockingIOError:  # there can be no more processes
                raise
            except OSError:
                return exits.reply(exits.CANNOT_EXECUTE)
            late = await self._end_of(pid)
            return _verdict(pid, os.pread(words_fd, exits.MAX_WORDS, 0), late=late)
        finally:
            os.close(envelope_fd)
            os.close(words_fd)

    @staticmethod
    def _start(pool: "ProgramPool", places: list[tuple[int, int]]) -> int:
        """Its process id. The current directory is the home, as it is to be. OSError, as of exec."""
        return os.posix_spawn(
            pool.command,
            [pool.command],
            pool.environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, place) for fd, place in places],
            setsid=True,  # what is typed at the terminal of quail serve ends the service, not a message at work
            setsigmask=(),
            setsigdef=SIGNALS,
        )

    async def _end_of(self, pid: int) -> bool:
        """Wait for it; whether it had to be killed."""
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # nobody could tell how it ends
            return True
        ended = asyncio.Event()
        self._loop.add_reader(fd, ended.set)
        try:
            try:
                await asyncio.wait_for(ended.wait(), TIME_LIMIT)
            except TimeoutError:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                await ended.wait()
                return True
        finally:
            self._loop.remove_reader(fd)
            os.close(fd)
        return False

    def _warn_of_set_uid(self, command: bytes) -> None:
        """Once: it has fewer rights than its owner thinks, and why its mail is put off would be hard to find."""
        try:
            mode = os.stat(command).st_mode
        except OSError:
            return
        if mode & (stat.S_ISUID | stat.S_ISGID) and command not in self._warned:
            self._warned.add(command)
            self._log(
                f"warning: QMAILQUEUE={safe(command)} is set-uid, which counts for nothing under a service; "
                "serve these clients with tcpserver and qmail-smtpd"
            )


class Message:
    """A message in a file without a name."""

    def __init__(self) -> None:
        """That there is no place for it is told by seal()."""
        self._failed: OSError | None = None
        try:
            self.fd = nameless_file()
        except OSError as error:
            self.fd, self._failed = -1, error

    def write(self, data: bytes) -> None:
        """More of it."""
        if self._failed is None:
            try:
                write(self.fd, data)
            except OSError as error:
                self._failed = error

    def seal(self) -> None:
        """It is whole: let it be read from its start. OSError if it is not all there."""
        if self._failed is not None:
            raise self._failed
        os.lseek(self.fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """Nobody here needs it any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class ProgramPool:
    """What a session has in place of a HandoffPool."""

    def __init__(self, programs: Programs, command: bytes, environment: Mapping[bytes, bytes]) -> None:
        """`environment` is the program's."""
        self.command = command
        self.environment = environment
        self._programs = programs

    def submit(self, frames: bytes, borrower: Waiter) -> None:
        """A whole message."""
        self.acquire(borrower).write(frames)

    def acquire(self, borrower: Waiter) -> "ProgramHandoff":
        """For one message that is written piece by piece."""
        return ProgramHandoff(self._programs, self, borrower)


class ProgramHandoff:
    """One message; the program gets it with its last frame."""

    __slots__ = ("_borrower", "_envelope", "_message", "_pool", "_programs", "_splitter", "_stage")

    def __init__(self, programs: Programs, pool: ProgramPool, borrower: Waiter) -> None:
        """Made by the pool."""
        self._programs = programs
        self._pool = pool
        self._borrower = borrower
        self._splitter = Splitter(_ANY_SIZE)
        self._envelope: Envelope | Reply | None = None
        self._stage = _BEGINNING
        self._message = Message()

    def write(self, frames: bytes) -> None:
        """Frames as the queue takes them: the envelope is the first; or an empty one is, and it follows the body's end."""
        for payload in self._splitter.feed(frames):
            if self._stage is _BODY and payload:
                self._message.write(payload)
            elif self._stage is _BODY:
                self._stage = _BEHIND
            elif payload:
                self._envelope = _decoded(payload)
                self._stage = _BODY if self._stage is _BEGINNING else _BEHIND
            else:
                self._stage = _BODY  # before the envelope
        if self._stage is _BEHIND and self._envelope is not None:
            self._programs.hand_over(self._pool, self._message, self._envelope, self._borrower)

    def abandon(self) -> None:
        """The message is not to be taken."""
        self._message.close()


def _decoded(payload: bytes) -> Envelope | Reply:
    """The envelope, or what the queue says to one that it can't take."""
    try:
        return decode_envelope(payload)
    except TooManyRecipientsError:
        return exits.TOO_MANY
    except PeerError:
        return exits.UNFIT


def _verdict(pid: int, words: bytes, *, late: bool) -> Reply:
    """What has become of the message, once the program has ended."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return exits.LOST
    if late:
        return exits.reply(exits.TIMEOUT)
    if os.WIFSIGNALED(status):
        return exits.CRASHED
    code = os.WEXITSTATUS(status)
    return Reply(b"K", b"%d" % pid) if code == exits.QUEUED else exits.reply(code, words)
