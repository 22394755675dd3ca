"""One log directory: `current`, to which lines are appended, and old files, named by the time at which they were finished.

    lock        held by the one multilog that writes here
    current     mode 0644 while it is written to; 0744 when it was left in good order
    previous    a full current that is not an old file yet, or that the processor reads
    processed   what the processor makes of it; 0744 when it is complete and safe
    state       what the processor has left for its next run; newstate while it does
    @LABEL.s    an old file that was finished; @LABEL.u one that was being written when multilog or the machine died

Every step of a rotation leaves something from which the next start goes on, and none but the processor leaves less than
there was. Where a call fails it is tried again until it succeeds: the caller's lines wait. All names are looked up in the
directory as it was opened, wherever it is moved.
"""

import fcntl
import os
from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.supervise.multilog import processor
from quail.supervise.multilog.script import Directory
from quail.supervise.multilog.trouble import Trouble
from quail.supervise.tai64 import LABEL_SIZE, label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

_MARGIN = 2000  # bytes before the largest size from where on the end of a line is the end of the file
_OPEN, _SAFE = 0o644, 0o744
_SAFE_BIT = 0o100
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_FINISHED, _UNFINISHED = ".s", ".u"


class LogDirectory:
    """Locked, recovered and open for as long as the process lives."""

    __slots__ = ("_action", "_calls", "_clock", "_fd", "_folder", "_held", "_name", "_say", "_trouble")

    def __init__(
        self,
        action: Directory,
        trouble: Trouble,
        *,
        clock: Callable[[], int],
        say: Callable[[str], None],
        calls: SystemCalls = REAL,
    ) -> None:
        """TemporaryError if it can't be used. `clock` is in microseconds; `say` is for a processor that can't start."""
        self._action, self._name = action, action.path
        self._trouble, self._clock, self._say, self._calls = trouble, clock, say, calls
        try:
            calls.mkdir(self._name, 0o700)
        except OSError:
            pass  # it is there, or it can't be opened either
        name = self._name
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
        self._folder = _needed(f"open directory {name}", calls.open, name, flags)
        lock = _needed(f"lock directory {name}", self._open, "lock", _APPEND, 0o600)
        _needed(f"lock directory {name}", calls.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = self._size_if_safe()
        if size is None:
            self._recover()
        self._held = size or 0
        self._fd = _needed(f"write to {name}/current", self._open, "current", _APPEND, 0o600)
        _needed(f"set mode of {name}/current", calls.fchmod, self._fd, _OPEN)

    def write(self, data: bytes) -> None:
        """Append lines, or a part of a long one; rotate wherever `current` has become large enough."""
        size = self._action.size
        at, end = 0, len(data)
        while at < end:
            if self._held >= size:
                self.rotate()
            stop = end
            until_margin = size - _MARGIN - self._held
            if end - at >= until_margin:
                room = size - self._held
                feed = data.find(b"\n", at + max(until_margin - 1, 0), at + room)
                stop = feed + 1 if feed >= 0 else min(at + room, end)
            piece = memoryview(data)[at:stop] if at or stop < end else data
            written = self._trouble.insist(
                f"unable to write to {self._name}/current", self._calls.write, self._fd, piece
            )
            at += written
            self._held += written
            if self._held >= size - _MARGIN and written and data[at - 1] == 10:
                self.rotate()

    @property
    def is_empty(self) -> bool:
        """Whether `current` is."""
        return not self._held

    def rotate(self) -> None:
        """Make an old file of `current`, however short, and begin a new one."""
        name, insist, calls = self._name, self._trouble.insist, self._calls
        full = self._fd
        insist(f"unable to write {name}/current to disk", calls.fsync, full)
        there = insist(f"unable to rename current to previous in directory {name}", self._rename, "current", "previous")
        self._fd = insist(f"unable to create {name}/current", self._open, "current", _APPEND, 0o600)
        self._held = 0
        insist(f"unable to set mode of {name}/current", calls.fchmod, self._fd, _OPEN)
        insist(f"unable to set mode of {name}/previous", calls.fchmod, full, _SAFE)
        self._close(full)
        if not there:
            return  # somebody has taken it away, with what was in it
        if self._action.processor is None:
            self._finish("previous", _FINISHED)
        else:
            self._process(self._action.processor)

    def close(self) -> None:
        """Leave `current` in good order, for the next start to append to."""
        self._trouble.insist(f"unable to write {self._name}/current to disk", self._calls.fsync, self._fd)
        self._trouble.insist(f"unable to set mode of {self._name}/current", self._calls.fchmod, self._fd, _SAFE)

    def _size_if_safe(self) -> int | None:
        """Bytes of a `current` that was left in good order; None if there is none."""
        try:
            status = self._calls.stat("current", dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TemporaryError(f"unable to stat {self._name}/current: {words(error)}") from error
        return status.st_size if status.st_mode & _SAFE_BIT else None

    def _recover(self) -> None:
        """After a crash: what a processor had not finished it will do again, or never; what was being written is kept."""
        for unfinished in ("state", "newstate"):
            self._discard(unfinished)
        try:
            complete = bool(self._calls.stat("processed", dir_fd=self._folder).st_mode & _SAFE_BIT)
        except FileNotFoundError:
            complete = False
        except OSError as error:
            raise TemporaryError(f"unable to stat {self._name}/processed: {words(error)}") from error
        if complete:
            self._discard("previous")
            self._finish("processed", _FINISHED)
        else:
            self._discard("processed")
            self._finish("previous", _UNFINISHED)
        self._finish("current", _UNFINISHED)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._close(_needed(f"write to {self._name}/state", self._open, "state", flags, _OPEN))

    def _process(self, command: bytes) -> None:
        """Have `previous` made into `processed`, and that into an old file."""
        name, insist = self._name, self._trouble.insist
        while True:
            what = f"unable to fork for processor in {name}"
            pid = insist(what, processor.start, command, self._folder, self._say)
            if insist(f"wait failed for processor in {name}", processor.has_succeeded, pid):
                break
            self._trouble.pause(f"processor failed in {name}")
        self._secure("processed", _SAFE)
        self._secure("newstate", None)
        insist(f"unable to remove {name}/previous", self._remove, "previous")
        insist(f"unable to rename newstate to state in directory {name}", self._rename, "newstate", "state")
        self._finish("processed", _FINISHED)

    def _secure(self, file: str, mode: int | None) -> None:
        """What a processor has written, on disk."""
        path, insist = f"{self._name}/{file}", self._trouble.insist
        fd = insist(f"unable to create {path}", self._open, file, _APPEND, 0o600)
        insist(f"unable to write {path} to disk", self._calls.fsync, fd)
        if mode is not None:
            insist(f"unable to set mode of {path}", self._calls.fchmod, fd, mode)
        self._close(fd)

    def _finish(self, file: str, code: str) -> None:
        """Make an old file of it, if it is there, and remove the oldest that are too many."""
        path, calls, insist = f"{self._name}/{file}", self._calls, self._trouble.insist
        while True:
            try:
                status = calls.stat(file, dir_fd=self._folder)
                break
            except FileNotFoundError:
                return
            except OSError as error:
                self._trouble.pause(f"unable to stat {path}", error)
        named = status.st_nlink > 1 and self._is_named(status)
        while not named:
            old = label(self._clock()).decode() + code
            try:
                calls.link(file, old, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                break
            except FileExistsError:
                pass  # of the same microsecond, which is over
            except OSError as error:
                self._trouble.pause(f"unable to link to {self._name}/{old}", error)
        insist(f"unable to remove {path}", self._remove, file)
        self._trim()

    def _is_named(self, status: os.stat_result) -> bool:
        """Whether a crash came after the old file's name was made. Links that others have made don't count."""
        for old in self._trouble.insist(f"unable to read {self._name}", self._old_files):
            try:
                other = self._calls.stat(old, dir_fd=self._folder)
            except OSError:
                continue
            if (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino):
                return True
        return False

    def _trim(self) -> None:
        self._trouble.insist(f"unable to read {self._name}", self._remove_oldest)

    def _remove_oldest(self) -> None:
        names = self._old_files()
        for old in names[: max(0, len(names) + 1 - self._action.files)]:
            try:
                self._remove(old)
            except IsADirectoryError:
                pass  # none of ours

    def _old_files(self) -> list[str]:
        """Their names, the oldest first."""
        everything = self._calls.listdir(self._folder)  # type: ignore[arg-type]  # mypy sees one of listdir's overloads
        names = [name for name in everything if name[:1] == "@"]
        return sorted([name for name in names if len(os.fsencode(name)) >= LABEL_SIZE], key=os.fsencode)

    def _open(self, file: str, flags: int, mode: int) -> int:
        return self._calls.open(file, flags, mode, dir_fd=self._folder)

    def _close(self, fd: int) -> None:
        """A descriptor of what is safe, or empty: its end can do no harm."""
        try:
            self._calls.close(fd)
        except OSError:
            pass

    def _rename(self, old: str, new: str) -> bool:
        """Whether it was there."""
        try:
            self._calls.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except FileNotFoundError:
            return False
        return True

    def _remove(self, file: str) -> None:
        try:
            self._calls.unlink(file, dir_fd=self._folder)
        except FileNotFoundError:
            pass

    def _discard(self, file: str) -> None:
        """What will be written over if it stays."""
        try:
            self._calls.unlink(file, dir_fd=self._folder)
        except OSError:
            pass


def _needed(what: str, call: "Callable[P, T]", *args: "P.args", **kwargs: "P.kwargs") -> "T":
    """What call returns; TemporaryError if a start is impossible without it."""
    try:
        return call(*args, **kwargs)
    except OSError as error:
        raise TemporaryError(f"unable to {what}: {words(error)}") from error
