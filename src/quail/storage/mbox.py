"""Mbox delivery: one message appended to a file that holds many (mbox(5), facts 6.10).

The file is locked with flock(2) while it grows, looked up again if another has taken its place by then, and cut back to its
old length when a write fails; dot-lock files are not used. That is all the safety this format has: after a crash half a
message may be at its end. A Maildir has no such moment.

A line of the message that begins with `From `, or with any number of `>` and then `From `, gets one more `>`: a reader that
takes one away from each such line has the message as it was.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import errno
import fcntl
import os
import stat
from _collections_abc import Callable, Iterable

from quail.storage.calls import SystemCalls
from quail.storage.durable import NOT_BY_ITSELF, sync_directory, write_all

LOCK_WAIT = 30.0  # seconds
LOCKED = b"File has been locked for 30 seconds straight. (#4.3.0)"

_FROM = b"From "
_GREATER = ord(">")
_LINE_FEED = ord("\n")
_PIECE = 1 << 16
_REPLACED_AT_MOST = 100  # times that others replace the file before our turn comes
# A FIFO without a reader, or a terminal, must not keep the delivery waiting nor become its own.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_FSYNC = (errno.EINVAL, errno.EROFS)  # of what is no file


class OpenError(OSError):
    """The file can't be opened, so nothing was tried."""


class SlowLockError(OSError):
    """Somebody else has kept the file locked for all the time there was."""


class Quoting:
    """The message as it stands in an mbox: feed() it in pieces of any size, end() it once."""

    __slots__ = ("_held", "_is_line_start", "_is_whole")

    def __init__(self) -> None:
        """Before the first line."""
        self._held = b""  # the beginning of a `From `, perhaps
        self._is_line_start = True  # nothing but `>` since the last line feed
        self._is_whole = True  # no line is unfinished

    def feed(self, piece: bytes) -> bytes:
        """What can be written of it now."""
        data = self._held + piece
        if not data:
            return data
        end = len(data) - _beginning_of_from(data)
        parts: list[bytes] = []
        start = 0
        at = data.find(_FROM, 0, end)
        while at >= 0:
            if self._opens_line(data, at):
                parts += (data[start:at], b">")
                start = at
            at = data.find(_FROM, at + len(_FROM), end)
        parts.append(data[start:end])
        if end:
            self._is_line_start = self._opens_line(data, end)
            self._is_whole = data[end - 1] == _LINE_FEED
        self._held = data[end:]
        return b"".join(parts)

    def _opens_line(self, data: bytes, at: int) -> bool:
        while at and data[at - 1] == _GREATER:
            at -= 1
        return data[at - 1] == _LINE_FEED if at else self._is_line_start

    def end(self) -> bytes:
        """What was held back, the end of an unfinished line, and the empty line that ends the message."""
        return self._held + (b"\n" if self._is_whole and not self._held else b"\n\n")


def _beginning_of_from(data: bytes) -> int:
    """How many bytes at the end of data a `From ` may begin with."""
    for size in range(len(_FROM) - 1, 0, -1):
        if data.endswith(_FROM[:size]):
            return size
    return 0


Message = tuple[bytes, Iterable[bytes]]
"""What stands before a message in the file (the From_ line and fields), and the message in chunks of any size."""


def deliver(
    calls: SystemCalls, path: str, head: bytes, chunks: Iterable[bytes], *, lock_wait: float = LOCK_WAIT
) -> None:
    """Append `head` and the message in `chunks`, durably. Errors: see deliver_all."""
    deliver_all(calls, path, [(head, chunks)], lock_wait=lock_wait)


def deliver_all(
    calls: SystemCalls,
    path: str,
    messages: Iterable[Message],
    *,
    lock_wait: float = LOCK_WAIT,
    then: Callable[[], None] | None = None,
) -> None:
    """Append messages, durably, all of them or none; `messages` is asked for them when the file is locked.

    then: called when they are durable, before the lock is given back. OpenError, SlowLockError, or any other OSError of
    writing; then the file is as long as it was, if it could be locked. An exception out of `messages` does the same and
    passes on. SIGALRM is used: for the main thread of a process alone.
    """
    fd, status, is_locked = _open(calls, path, lock_wait)
    try:
        is_file = stat.S_ISREG(status.st_mode)
        try:
            _append(calls, fd, _gap(calls, path, status) if is_file else b"", messages)
            _sync(calls, fd, is_file=is_file)
        except BaseException:
            if is_locked and is_file:
                _cut(calls, fd, status.st_size)
            raise
        if is_file and not status.st_size:
            _sync_name(calls, path, fd)
        if then is not None:
            then()
    finally:
        _close(calls, fd)


def _open(calls: SystemCalls, path: str, patience: float) -> tuple[int, os.stat_result, bool]:
    """The file that has the name, what is known of it, and whether it is locked. OpenError, SlowLockError.

    Whoever had the lock may have put another file in the place of this one, and what is written here would be lost.
    """
    for _ in range(_REPLACED_AT_MOST):
        try:
            fd = calls.open(path, _APPEND, 0o600)
        except OSError as error:
            raise OpenError(*error.args) from error
        try:
            is_locked = _lock(calls, fd, patience)
            status = calls.fstat(fd)
            if not (is_locked and stat.S_ISREG(status.st_mode) and _is_replaced(calls, path, status)):
                return fd, status, is_locked
        except BaseException:
            _close(calls, fd)
            raise
        _close(calls, fd)
    raise SlowLockError(errno.ETIMEDOUT, "lock")


def _is_replaced(calls: SystemCalls, path: str, status: os.stat_result) -> bool:
    try:
        now = calls.stat(path)
    except FileNotFoundError:
        return True
    return (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino)


def _close(calls: SystemCalls, fd: int) -> None:
    try:
        calls.close(fd)
    except OSError:
        pass  # what matters is synced


def _append(calls: SystemCalls, fd: int, gap: bytes, messages: Iterable[Message]) -> None:
    waiting = [gap]
    size = 0
    for head, chunks in messages:
        quoting = Quoting()
        waiting.append(head)
        size += len(head)
        for chunk in chunks:
            for start in range(0, len(chunk), _PIECE):
                piece = quoting.feed(chunk[start : start + _PIECE])
                waiting.append(piece)
                size += len(piece)
                if size >= _PIECE:
                    write_all(calls, fd, b"".join(waiting))
                    waiting, size = [], 0
        waiting.append(quoting.end())
    write_all(calls, fd, b"".join(waiting))


def _gap(calls: SystemCalls, path: str, status: os.stat_result) -> bytes:
    """What separates the message from half a line that a crash has left at the end of the file."""
    if not status.st_size:
        return b""
    try:
        fd = calls.open(path, _LOOK)
    except OSError:
        return b""  # it may be written to and not read
    try:
        seen = calls.fstat(fd)
        is_same = (seen.st_dev, seen.st_ino) == (status.st_dev, status.st_ino)
        return b"\n\n" if is_same and calls.pread(fd, 1, status.st_size - 1) not in (b"\n", b"") else b""
    except OSError:
        return b""
    finally:
        calls.close(fd)


def _sync(calls: SystemCalls, fd: int, *, is_file: bool) -> None:
    try:
        calls.fsync(fd)
    except OSError as error:
        if is_file or error.errno not in _NO_FSYNC:
            raise


def _sync_name(calls: SystemCalls, path: str, fd: int) -> None:
    """The file was empty, so this may be the delivery that has made it. A failure here takes nothing back: the message is in
    the file, and is tried again.
    """
    try:
        sync_directory(calls, os.path.dirname(os.path.realpath(path)))
    except OSError as error:
        if error.errno not in NOT_BY_ITSELF:
            raise
        calls.syncfs(fd)


def _cut(calls: SystemCalls, fd: int, size: int) -> None:
    try:
        calls.ftruncate(fd, size)
    except OSError:
        pass  # the first error is the one to report


def _lock(calls: SystemCalls, fd: int, patience: float) -> bool:
    """Whether the file is locked; a file system that has no locks does not stop the delivery. SlowLockError."""

    def give_up(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise SlowLockError(errno.ETIMEDOUT, "lock")

    before = signal.signal(signal.SIGALRM, give_up)
    # Again each second: an alarm that comes just before the process waits must not be the last.
    signal.setitimer(signal.ITIMER_REAL, patience, 1.0)
    try:
        calls.flock(fd, fcntl.LOCK_EX)
    except SlowLockError:
        raise
    except OSError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return True
