"""Cdb files by path. A missing file is None; every other trouble, damage included, is a TemporaryError that names the file.

Updates replace the file (write another, rename it), so an open Database goes on with the old content in peace. Look-ups never
lock and never wait for an update.
"""

import os
import stat
from _collections_abc import Iterator

from quail.cdb.reader import MemoryReader, Reader
from quail.cdb.window import Window
from quail.errors import PeerError, TemporaryError
from quail.oserrors import words

_READ_WHOLE = 1 << 20  # files up to this size are kept in memory: quick, and out of reach of whoever writes in place

_Identity = tuple[int, int, int, int, int]


class Database:
    """An open cdb file, as it was when it was opened; closed when it is forgotten."""

    __slots__ = ("_reader", "identity", "path")

    def __init__(self, path: str, reader: Reader, identity: _Identity) -> None:
        self.path = path
        self.identity = identity
        self._reader = reader

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.identity[2]

    def get(self, key: bytes, skip: int = 0, *, hashed: int | None = None) -> bytes | None:
        """As Reader.get."""
        try:
            return self._reader.get(key, skip, hashed=hashed)
        except (PeerError, OSError) as error:
            raise _trouble(self.path, error) from error

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record, key and data, in the order in which they were added."""
        try:
            yield from self._reader.items()
        except (PeerError, OSError) as error:
            raise _trouble(self.path, error) from error


def open_cdb(path: str, *, mapped: bool = False) -> Database | None:
    """Open a cdb file; None if there is no such file. For `mapped` see mapped.py."""
    try:
        # A FIFO in its place must not make a service wait for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _trouble(path, error) from error
    status = os.fstat(fd)
    window = Window(fd, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        raise TemporaryError(f"unable to read {path}: not a regular file")
    try:
        reader: Reader
        if mapped:
            from quail.cdb.mapped import MappedReader  # noqa: PLC0415  services never map

            reader = MappedReader(fd)
        elif status.st_size <= _READ_WHOLE:
            reader = MemoryReader(window[0 : status.st_size])
        else:
            reader = Reader(window)
        return Database(path, reader, _identity(status))
    except (PeerError, OSError) as error:
        raise _trouble(path, error) from error


class Follower:
    """A path whose cdb file may come, go and be replaced during the life of a service."""

    __slots__ = ("_database", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._database: Database | None = None

    def current(self) -> Database | None:
        """The file as it is now, the same Database until it changes; None if there is no such file. Costs one stat."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self._database = None
            return None
        except OSError as error:
            raise _trouble(self.path, error) from error
        if self._database is None or self._database.identity != _identity(status):
            self._database = open_cdb(self.path)
        return self._database


def _identity(status: os.stat_result) -> _Identity:
    """What differs between a file and its replacement, even if the new one got the old one's inode number."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _trouble(path: str, error: PeerError | OSError) -> TemporaryError:
    return TemporaryError(f"unable to read {path}: {words(error) if isinstance(error, OSError) else error}")
