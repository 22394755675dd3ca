"""The hosts that let connections time out, shared by all who connect: docs/formats/tcpto.md.

Nothing in it is worth a failed delivery: a table that can't be used remembers nothing. Nothing is synced, since what a crash
takes costs one wait for a connection.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator

from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import write_all

PATH = "queue/tcpto"  # below the home
SETS, RECORDS, RECORD = 512, 8, 32
SET = RECORDS * RECORD
HEAD = b"quail tcpto 1\n".ljust(SET, b"\0")
SIZE = SET + SETS * SET
MODE = 0o640

SLOW = 2  # counted time-outs that make a host slow
MOST = 10  # and no more are counted
GAP = 120  # seconds in which time-outs count once, and in which a time that is still to come is the present
_WEIGHT = 1024  # seconds that a count is worth when a record must go
_MINUTE = 64  # seconds, as qmail counts here

_FIELDS = struct.Struct("<16sQI")
_CHECK = struct.Struct("<I")
_MAPPED = b"\0" * 10 + b"\xff\xff"
_FREE = bytes(RECORD)


class Tcpto:
    """An open table, or one that remembers nothing; `trouble` says why, or what went wrong last. IP addresses are texts, `now`
    is in seconds since 1970. No method raises for what is the matter with the file.
    """

    __slots__ = ("_calls", "_fd", "trouble")

    def __init__(self, fd: int, trouble: str = "", calls: SystemCalls = REAL) -> None:
        """`fd` of a whole table, or -1 and the trouble."""
        self._fd, self.trouble, self._calls = fd, trouble, calls

    @classmethod
    def open(cls, path: str, *, write: bool = True, calls: SystemCalls = REAL) -> "Tcpto":
        """The table at `path`. Without `write` it can only be asked."""
        try:
            fd = calls.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            return cls(-1, f"unable to open {path}: {words(error)}", calls)
        try:
            trouble = "" if _is_whole(fd, calls) else f"{path} is no table of this version"
        except OSError as error:
            trouble = f"unable to read {path}: {words(error)}"
        if trouble:
            calls.close(fd)
            fd = -1
        return cls(fd, trouble, calls)

    def close(self) -> None:
        """Give the descriptor back; what follows remembers nothing."""
        if self._fd >= 0:
            self._calls.close(self._fd)
            self._fd = -1

    def is_slow(self, ip: str, now: float, jitter: int) -> bool:
        """Whether to leave this address alone for now. `jitter`: any number, another for each attempt."""
        key = _key(ip)
        if key is None:
            return False
        for at, since, count in _live(self._read(key), now):
            if at == key:
                return count >= SLOW and now - since < (60 + (jitter & 31)) * _MINUTE
        return False

    def timed_out(self, ip: str, now: float) -> None:
        """A connection to the address was not answered in time."""
        key = _key(ip)
        if key is not None:
            self._change(key, lambda data: _counted(data, key, now))

    def answered(self, ip: str) -> None:
        """A connection to the address was taken, or failed otherwise than by time."""
        key = _key(ip)
        if key is not None and _place(self._read(key), key) is not None:  # seldom, so most need no lock
            self._change(key, lambda data: (place, _FREE) if (place := _place(data, key)) is not None else None)

    def entries(self, now: float) -> Iterator[tuple[str, int, int]]:
        """Address, seconds since it was last counted, and count, of all that are remembered."""
        try:
            data = b"" if self._fd < 0 else self._calls.pread(self._fd, SETS * SET, SET)
        except OSError:
            return
        for key, since, count in _live(data, now):
            yield _text(key), max(0, int(now) - since), count

    def clear(self) -> None:
        """Forget everything."""
        self._locked(lambda: self._write(bytes(SETS * SET), SET))

    def _read(self, key: bytes) -> bytes:
        """The set of an address; empty if it can't be read."""
        try:
            return b"" if self._fd < 0 else self._calls.pread(self._fd, SET, _offset(key))
        except OSError:
            return b""

    def _change(self, key: bytes, change: Callable[[bytes], tuple[int, bytes] | None]) -> None:
        """Replace a record of the address's set: `change` makes of the set the place in it and the new record, or None."""

        def work() -> None:
            data = self._read(key)
            made = change(data) if len(data) == SET else None
            if made is not None:
                self._write(made[1], _offset(key) + made[0])

        self._locked(work)

    def _write(self, data: bytes, offset: int) -> None:
        self._calls.pwritev(self._fd, [data], offset)  # a part, if it ever is one, damages a record, and so frees it

    def _locked(self, work: Callable[[], None]) -> None:
        if self._fd < 0:
            return
        try:
            self._calls.flock(self._fd, fcntl.LOCK_EX)
            try:
                work()
            finally:
                self._calls.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:  # what is not remembered costs a wait, and nothing else
            self.trouble = f"unable to write {PATH}: {words(error)}"


def complete(path: str, *, owner: tuple[int, int] | None = None, calls: SystemCalls = REAL) -> None:
    """Make the table if it is missing, damaged or not the owner's (uid, gid; None: the caller). OSError if that fails.

    As root in a folder of somebody else: no link is followed, and only a file that was made here is given away.
    """
    wanted = owner or (os.geteuid(), os.getegid())
    if _is_in_order(path, wanted, calls):
        return
    tmp = f"{path}.tmp"
    try:
        calls.unlink(tmp)
    except FileNotFoundError:
        pass
    fd = calls.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(calls, fd, HEAD + bytes(SIZE - len(HEAD)))
        calls.fchmod(fd, MODE)
        calls.fchown(fd, *wanted)
    finally:
        calls.close(fd)
    calls.rename(tmp, path)


def _is_in_order(path: str, owner: tuple[int, int], calls: SystemCalls) -> bool:
    try:
        fd = calls.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = calls.fstat(fd)
        as_made = (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (*owner, MODE)
        return as_made and _is_whole(fd, calls)
    finally:
        calls.close(fd)


def _is_whole(fd: int, calls: SystemCalls) -> bool:
    return calls.fstat(fd).st_size == SIZE and calls.pread(fd, len(HEAD), 0) == HEAD


def _key(ip: str) -> bytes | None:
    """The 16 bytes of an address; None for what is none, or only with its interface: nothing is remembered of that."""
    try:
        if ":" in ip:
            return socket.inet_pton(socket.AF_INET6, ip)
        return _MAPPED + socket.inet_pton(socket.AF_INET, ip)
    except (OSError, ValueError):
        return None


def _text(key: bytes) -> str:
    if key.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, key[len(_MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, key)


def _offset(key: bytes) -> int:
    return SET + zlib.crc32(key) % SETS * SET


def _place(data: bytes, key: bytes) -> int | None:
    """Where in a set the address has a record, be it damaged."""
    return next((at for at in range(0, len(data), RECORD) if data[at : at + len(key)] == key), None)


def _record(data: bytes, at: int, now: float) -> tuple[bytes, int, int] | None:
    """Address, time and count; None for a free record."""
    end = at + _FIELDS.size
    key, since, count = _FIELDS.unpack_from(data, at)
    if not 1 <= count <= MOST or since > now + GAP or _CHECK.unpack_from(data, end)[0] != zlib.crc32(data[at:end]):
        return None
    return key, since, count


def _live(data: bytes, now: float) -> Iterator[tuple[bytes, int, int]]:
    for at in range(0, len(data) - RECORD + 1, RECORD):
        record = _record(data, at, now)
        if record is not None:
            yield record


def _counted(data: bytes, key: bytes, now: float) -> tuple[int, bytes] | None:
    """Place and content of the record that a time-out makes or changes in the set; None if it does not count."""
    free = None
    weights = []
    for at in range(0, SET, RECORD):
        record = _record(data, at, now)
        if record is None:
            free = at if free is None else free
            continue
        found, since, count = record
        if found == key:
            return None if now - since < GAP else (at, _made(key, now, min(count + 1, MOST)))
        weights.append((since + _WEIGHT * count, at))
    return (min(weights)[1] if free is None else free), _made(key, now, 1)


def _made(key: bytes, now: float, count: int) -> bytes:
    fields = _FIELDS.pack(key, max(0, int(now)), count)
    return fields + _CHECK.pack(zlib.crc32(fields))
