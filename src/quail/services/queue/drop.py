"""queue/drop/: where injectors leave a message when the queue is down. Anyone may write there, so nothing in it is trusted.

A file new.RANDOM holds an envelope frame and then the body, to its end (docs/formats/handover.md). It is opened without
following links and without waiting, must be a regular file with one link, and belongs to the uid that owns it. It is copied
into the journal first and unlinked after.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from itertools import islice

from quail.errors import PeerError
from quail.queue.drop_writer import LARGEST
from quail.queue.handover import MAX_ENVELOPE, Envelope, decode_envelope
from quail.storage.calls import SystemCalls
from quail.storage.durable import sync_directory

EVERY = 60.0  # seconds
SWEPT = 1000  # unfinished files looked at in one scan
QUOTA = 1000  # files of one uid looked into in one scan, messages or not
ABANDONED_AFTER = 129_600  # seconds; longer than an injector lives (qmail-queue: a day)
_PREFIX = "new."
_UNFINISHED = "tmp."
_CHUNK = 1 << 16
# What opening says of links, sockets, and files that their owner keeps from us; any other trouble may pass.
_NEVER = (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM)


class Dropped:
    """A message found in the drop. `fd` stands behind the envelope."""

    __slots__ = ("envelope", "fd", "left", "name", "uid")

    def __init__(self, name: str, uid: int, envelope: Envelope, fd: int, left: int) -> None:
        """The caller closes `fd`; `left` are the bytes of the body that body() has not given yet."""
        self.name = name
        self.uid = uid
        self.envelope = envelope
        self.fd = fd
        self.left = left

    def body(self) -> bytes:
        """The next bytes of it; empty at the end, which is where the file ended when it was opened: its owner might append to
        it for ever.
        """
        data = os.read(self.fd, min(_CHUNK, self.left))
        self.left -= len(data)
        return data


class Drop:
    """The folder. `taken` are the names whose message waits for the disk."""

    def __init__(
        self, calls: SystemCalls, directory: str, log: Callable[[str], None], now: Callable[[], float] = time.time
    ) -> None:
        """`directory` exists; `now` gives seconds since 1970."""
        self._calls = calls
        self._directory = directory
        self._log = log
        self._now = now
        self._bad: set[str] = set()
        self._put_off: set[str] = set()  # of which it has been said why
        self._opened: dict[int, int] = {}  # files of each uid in this scan
        self.taken: set[str] = set()

    def scan(self) -> list[str]:
        """Names that may hold a message; oldest name order is not known, so by name."""
        try:
            names = self._calls.listdir(self._directory)
        except OSError as error:
            self._log(f"warning: unable to read {self._directory}: {error}; will try again later")
            return []
        self._opened.clear()
        found = sorted(name for name in names if name.startswith(_PREFIX))
        self._bad.intersection_update(found)
        self._put_off.intersection_update(found)
        for name in islice((name for name in names if name.startswith(_UNFINISHED)), SWEPT):
            self._sweep(f"{self._directory}/{name}")
        return [name for name in found if name not in self.taken and name not in self._bad]

    def _sweep(self, path: str) -> None:
        """Remove what an injector that was killed has left."""
        try:
            # Of the name itself: where a link leads may be a disk that does not answer.
            if os.lstat(path).st_mtime < self._now() - ABANDONED_AFTER:
                self._calls.unlink(path)
        except OSError:
            pass  # finished meanwhile, or a folder: nothing is lost by leaving it

    def open(self, name: str) -> Dropped | None:
        """The message, or None when the file is none, which is logged once, or has to wait for another scan."""
        path = f"{self._directory}/{name}"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            fd = self._calls.open(path, flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NEVER:
                self.refuse(name, str(error))
            else:
                self.put_off(name, str(error))
            return None
        try:
            status = self._calls.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise PeerError("not a regular file with one link")
            if status.st_size > LARGEST:
                raise PeerError(f"larger than {LARGEST} bytes")
            count = self._opened[status.st_uid] = self._opened.get(status.st_uid, 0) + 1
            if count > QUOTA:
                self._calls.close(fd)
                return None
            size = int.from_bytes(_exactly(fd, 4), "big")
            envelope = decode_envelope(_exactly(fd, size))
        except OSError as error:
            self._calls.close(fd)
            self.put_off(name, str(error))
            return None
        except PeerError as error:
            self._calls.close(fd)
            self.refuse(name, str(error))
            return None
        return Dropped(name, status.st_uid, envelope, fd, max(0, status.st_size - 4 - size))

    def refuse(self, name: str, reason: str) -> None:
        self._bad.add(name)
        self._log(
            f"warning: {self._directory}/{name} is not a message ({reason}): left alone; look at it and remove it"
        )

    def put_off(self, name: str, reason: str) -> None:
        """It is tried again at the next scan; why is said once."""
        if name not in self._put_off:
            self._put_off.add(name)
            self._log(f"warning: {self._directory}/{name}: {reason}; will try again later")

    def remove(self, name: str) -> None:
        """Its message is in the journal."""
        self.taken.discard(name)
        try:
            self._calls.unlink(f"{self._directory}/{name}")
            sync_directory(self._calls, self._directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.refuse(name, f"queued, but it can't be removed: {error}")


def _exactly(fd: int, size: int) -> bytes:
    if size > MAX_ENVELOPE:
        raise PeerError(f"envelope of {size} bytes")
    data = b""
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            raise PeerError("ends in the envelope")
        data += piece
    return data
