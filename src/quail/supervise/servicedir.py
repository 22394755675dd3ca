"""The files of a service directory, by which supervise is found and told what to do: DIR/supervise with these in it.

    lock     locked (flock) as long as supervise lives: there is never a second one
    control  a FIFO; each byte is a command (keeper.py). supervise holds both ends, so it never sees an end of file
    status   18 bytes (status.py), replaced by way of status.new
    ok       a FIFO that supervise alone holds open for reading: whoever can open it for writing knows that supervise lives

They are made in this order, by either side of the original and ours alike. Every function works in the current directory, which
is DIR; `name` is what DIR is called in messages.
"""

import errno
import fcntl
import os
import stat

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.storage.calls import REAL
from quail.storage.momentary import swap_file
from quail.supervise.status import SIZE

FOLDER = "supervise"
LOCK, CONTROL, STATUS, OK = (f"{FOLDER}/{file}" for file in ("lock", "control", "status", "ok"))
NEW_STATUS = f"{STATUS}.new"
_MODE = 0o600
_BATCH = 512  # commands that are read at once


class ServiceDir:
    """supervise's side. Everything stays open until the process ends."""

    __slots__ = ("_control", "_control_end", "_lock", "_name", "_ok")

    def __init__(self, name: str) -> None:
        """Make the folder, take the lock, and open control; TemporaryError says what can't be done."""
        self._name = name
        _make_folder()
        try:
            self._lock = os.open(LOCK, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TemporaryError(f"unable to acquire {name}/{LOCK}: {words(error)}") from error
        _make_fifo(CONTROL)
        self._control = self._open(CONTROL, os.O_RDONLY)
        self._control_end = self._open(CONTROL, os.O_WRONLY)
        if not stat.S_ISFIFO(os.fstat(self._control).st_mode):  # a file would be at its end all the time
            raise TemporaryError(f"unable to read {name}/{CONTROL}: not a FIFO")
        self._ok = -1

    def announce_life(self) -> None:
        """Open ok, once the status is there: only now do others find that supervise runs."""
        _make_fifo(OK)
        self._ok = self._open(OK, os.O_RDONLY)

    def _open(self, path: str, how: int) -> int:
        what = f"unable to {'read' if how == os.O_RDONLY else 'write'} {self._name}/{path}"
        try:
            return os.open(path, how | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise TemporaryError(f"{what}: {words(error)}") from error

    def fileno(self) -> int:
        """Of control: readable when there are commands."""
        return self._control

    def commands(self) -> bytes:
        """Some that have come, in their order; none if there is none."""
        try:
            return os.read(self._control, _BATCH)
        except OSError:
            return b""

    def write_status(self, data: bytes) -> str | None:
        """Replace the status; returns what went wrong, if so."""
        try:
            swap_file(STATUS, NEW_STATUS, data)
        except OSError as error:
            where = f"{self._name}/{NEW_STATUS}"
            if error.filename2 is not None:
                return f"unable to rename {where} to status: {words(error)}"
            return f"unable to {'open' if error.filename is not None else 'write'} {where}: {words(error)}"
        return None


def _make_folder() -> None:
    """What can't be made shows when the lock is taken. Where it is a link, as a site may have it whose services lie on a
    read-only disk, its target is made.
    """
    try:
        REAL.mkdir(FOLDER, 0o700)
    except FileExistsError:
        try:
            REAL.mkdir(os.readlink(FOLDER), 0o700)
        except OSError:
            pass
    except OSError:
        pass


def _make_fifo(path: str) -> None:
    try:
        os.mkfifo(path, _MODE)
    except OSError:
        pass  # it is there, or opening it says why not


# The side of those who look and tell: svc, svok, svstat.


def is_running() -> bool:
    """Whether supervise runs here: OSError if it can't be told."""
    try:
        os.close(os.open(OK, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


def send(commands: bytes) -> bool:
    """Tell supervise; False if none runs here. OSError if it can't be told."""
    try:
        fd = os.open(CONTROL, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    try:
        os.set_blocking(fd, True)
        os.write(fd, commands)
    finally:
        os.close(fd)
    return True


def read_status() -> bytes:
    """The status as it is now, at most 18 bytes. OSError: with a file name if it can't be opened."""
    fd = os.open(STATUS, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, SIZE)
    finally:
        os.close(fd)
