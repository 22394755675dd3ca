"""Maildir delivery, many messages at once, so that they share what durability costs.

A message is one file: written in tmp/, synced, renamed into new/, and new/ synced; only then is it delivered. A reader sees
it whole or not at all, and after a power cut a delivered message is there (the tmp/ name may be there too, which readers
remove after 36 hours). Names are TIME.M<microseconds>P<pid>Q<counter>.HOST, for processes that deliver more than once.

One request that fails costs only itself; a sync that fails costs every request that shared it, because nobody can tell
whose data it was. A failure before the rename leaves nothing behind. After it the file stays, perhaps already seen by
the owner, and the message is tried again: delivered twice rather than never.
"""

import errno
import fcntl
import os
import time
from _collections_abc import Iterable
from itertools import count

from quail.storage.calls import SystemCalls
from quail.storage.durable import NOT_BY_ITSELF, sync_directory, write_all

# qmail-local's own words (all of them soft failures)
MISSING = "Unable to chdir to maildir. (#4.2.1)"
UNREADABLE = "Unable to read message. (#4.3.0)"
TROUBLE = "Temporary error on maildir delivery. (#4.3.0)"

SHARE_FILES = 4  # from so many files on one device, syncfs costs less than an fsync each
SHARE_DIRECTORIES = 3
_PIECE = 256 * 1024
_NAMES_TRIED = 10
_LOCK_TRIES = 100
_LOCK_PAUSE = 0.01  # seconds
_PATH_FAULTS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG})
_TMP = "tmp"
_NEW = "new"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_counter = count(1)


def _syncfs_reports_errors(release: str) -> bool:
    """Tell whether this kernel's syncfs reports failed data (since Linux 5.8) and failed metadata (since 5.17)."""
    major, minor, *_ = [*release.partition("-")[0].split("."), "0"]
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= (5, 17)


SYNCFS_REPORTS_ERRORS = _syncfs_reports_errors(os.uname().release)


class Request:
    """One message for one Maildir.

    The file holds `head`, then `body`: bytes, or a descriptor whose first `size` bytes are copied (its position is neither
    used nor moved; the caller closes it). With `create` a missing Maildir is made; its parent must be there. After
    deliver() `error` is None, or the text that qmail-local would report, and `cause` the system's own error for the log.
    """

    __slots__ = ("body", "cause", "create", "error", "head", "maildir", "size")

    def __init__(self, maildir: str, head: bytes, body: bytes | int, size: int = 0, *, create: bool = False) -> None:
        """`size` counts only with a descriptor."""
        self.maildir = maildir.rstrip("/") or "/"
        self.head = head
        self.body = body
        self.size = size
        self.create = create
        self.error: str | None = None
        self.cause: OSError | None = None

    def fail(self, text: str, cause: OSError) -> None:
        self.error = text
        self.cause = cause


class _UnreadableError(OSError):
    """The message, not the Maildir, is what failed."""


class _Delivery:
    """A request on its way, with the file name it was given."""

    __slots__ = ("name", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.name = ""

    def path(self, folder: str) -> str:
        return f"{self.request.maildir}/{folder}/{self.name}"

    def write(self, calls: SystemCalls, *, sync: bool) -> bool:
        """Write the file in tmp/; False and nothing left behind if that fails."""
        request = self.request
        try:
            fd = self._create(calls)
        except OSError as exc:
            request.fail(_path_text(calls, request.maildir, exc), exc)
            return False
        try:
            try:
                if isinstance(request.body, int):
                    write_all(calls, fd, request.head)
                    _copy(calls, request.body, request.size, fd)
                else:
                    write_all(calls, fd, request.head + request.body)
                if sync:
                    calls.fsync(fd)
            finally:
                calls.close(fd)
        except OSError as exc:
            request.fail(UNREADABLE if isinstance(exc, _UnreadableError) else TROUBLE, exc)
            self.discard(calls)
            return False
        return True

    def _create(self, calls: SystemCalls) -> int:
        """Open a new file in tmp/ whose name is free in new/ too, because rename would replace a message there.

        Nobody can take the name between the look and the rename: whoever wants it must create it in tmp/ first.
        """
        for _ in range(_NAMES_TRIED):
            self.name = unique_name()
            try:
                fd = calls.open(self.path(_TMP), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            try:
                calls.stat(self.path(_NEW))
            except FileNotFoundError:
                return fd
            except OSError:
                self._abandon(calls, fd)
                raise
            self._abandon(calls, fd)
        raise FileExistsError(errno.EEXIST, "no free name", self.path(_TMP))

    def _abandon(self, calls: SystemCalls, fd: int) -> None:
        self.discard(calls)
        try:
            calls.close(fd)
        except OSError:
            pass

    def discard(self, calls: SystemCalls) -> None:
        try:
            calls.unlink(self.path(_TMP))
        except OSError:
            pass  # readers remove what stays in tmp/

    def move(self, calls: SystemCalls) -> bool:
        try:
            calls.rename(self.path(_TMP), self.path(_NEW))
        except OSError as exc:
            self.request.fail(TROUBLE, exc)
            self.discard(calls)
            return False
        return True


def deliver(calls: SystemCalls, requests: Iterable[Request]) -> None:
    """Deliver every request durably; what went wrong is in its `error`, never raised."""
    devices: dict[int, list[_Delivery]] = {}
    for request in requests:
        request.error = request.cause = None
        try:
            device = _device(calls, request)
        except OSError as exc:
            request.fail(_path_text(calls, request.maildir, exc), exc)
        else:
            devices.setdefault(device, []).append(_Delivery(request))
    for deliveries in devices.values():
        _deliver_on_device(calls, deliveries)


def make(calls: SystemCalls, path: str, *, exist_ok: bool = False) -> None:
    """Make a Maildir (mode 0700), durably, or raise OSError; `exist_ok` completes one that is partly there.

    tmp/ comes last, after the rest is durable: who finds tmp/, in this process or another, may rely on new/ to stay. Without it
    nobody has delivered here, and what is there may be left from an attempt whose sync has failed: its names may be lost
    on the disk, and only making them again brings them back.
    """
    path = path.rstrip("/") or "/"
    rest = (f"{path}/{_NEW}", f"{path}/cur")
    if exist_ok and not _exists(calls, f"{path}/{_TMP}"):
        for folder in (*rest, path):
            try:
                calls.rmdir(folder)
            except OSError:
                pass  # not there, or in use
    for folder in (path, *rest):
        _mkdir(calls, folder, exist_ok=exist_ok)
    sync_directory(calls, path)
    sync_directory(calls, os.path.dirname(path) or ".")
    _mkdir(calls, f"{path}/{_TMP}", exist_ok=exist_ok)
    sync_directory(calls, path)


def unique_name() -> str:
    """Return a name that no other delivery has; / and : in the host's name are written in octal (maildir(5))."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    host = os.uname().nodename.replace("/", "\\057").replace(":", "\\072")
    return f"{seconds}.M{nanoseconds // 1000:06d}P{os.getpid()}Q{next(_counter)}.{host}"


def _exists(calls: SystemCalls, path: str) -> bool:
    try:
        calls.stat(path)
    except FileNotFoundError:
        return False
    return True


def _mkdir(calls: SystemCalls, path: str, *, exist_ok: bool) -> None:
    try:
        calls.mkdir(path, 0o700)
    except FileExistsError:
        if not exist_ok:
            raise


def _device(calls: SystemCalls, request: Request) -> int:
    """Return the device that the Maildir lies on, after making the Maildir if that is wanted."""
    tmp = f"{request.maildir}/{_TMP}"
    try:
        return calls.stat(tmp).st_dev
    except FileNotFoundError:
        if not request.create:
            raise
    folder = calls.open(os.path.dirname(request.maildir) or ".", _DIRECTORY)
    try:
        _lock(calls, folder)
        if not _exists(calls, tmp):
            make(calls, request.maildir, exist_ok=True)
    finally:
        calls.close(folder)
    return calls.stat(tmp).st_dev


def _lock(calls: SystemCalls, folder: int) -> None:
    """Two workers of a user must not make his Maildir at the same time: each would take the other's folders for what a failed
    attempt has left. Whoever keeps the lock for other purposes is not waited for.
    """
    for _ in range(_LOCK_TRIES):
        try:
            calls.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        except OSError:
            return
        else:
            return


def _path_text(calls: SystemCalls, maildir: str, cause: OSError) -> str:
    """Return what qmail-local says when it cannot enter the Maildir, or when it can and the rest failed."""
    try:
        calls.stat(maildir + "/.")  # fails as chdir would
    except OSError as exc:
        if cause.errno in _PATH_FAULTS and exc.errno in _PATH_FAULTS:
            return MISSING
    return TROUBLE


def _copy(calls: SystemCalls, source: int, size: int, fd: int) -> None:
    """Append the first `size` bytes of `source` to `fd`."""
    offset = 0
    while offset < size:
        try:
            piece = calls.pread(source, min(_PIECE, size - offset), offset)
        except OSError as exc:
            raise _UnreadableError(exc.errno, exc.strerror) from exc
        if not piece:
            raise _UnreadableError(errno.EIO, f"message ends at {offset} of {size} bytes")
        write_all(calls, fd, piece)
        offset += len(piece)


def _deliver_on_device(calls: SystemCalls, deliveries: list[_Delivery]) -> None:
    shared = _open_shared(calls, deliveries)
    try:
        written = [delivery for delivery in deliveries if delivery.write(calls, sync=shared is None)]
        if shared is not None and written:
            try:
                calls.syncfs(shared)
            except OSError as exc:
                for delivery in written:
                    delivery.request.fail(TROUBLE, exc)
                    delivery.discard(calls)
                return
        _sync_names(calls, [delivery for delivery in written if delivery.move(calls)], shared)
    finally:
        if shared is not None:
            try:
                calls.close(shared)
            except OSError:
                pass  # it was only read


def _open_shared(calls: SystemCalls, deliveries: list[_Delivery]) -> int | None:
    """Return a descriptor for syncfs, which reports the failures since its opening, or None to sync one by one."""
    if len(deliveries) < SHARE_FILES or not SYNCFS_REPORTS_ERRORS:
        return None
    try:
        return calls.open(f"{deliveries[0].request.maildir}/{_TMP}", _DIRECTORY)
    except OSError:
        return None


def _sync_names(calls: SystemCalls, moved: list[_Delivery], shared: int | None) -> None:
    maildirs: dict[str, list[_Delivery]] = {}
    for delivery in moved:
        maildirs.setdefault(delivery.request.maildir, []).append(delivery)
    if shared is not None and len(maildirs) >= SHARE_DIRECTORIES:
        try:
            calls.syncfs(shared)
        except OSError as exc:
            for delivery in moved:
                delivery.request.fail(TROUBLE, exc)
        return
    for maildir, deliveries in maildirs.items():
        try:
            _sync_new(calls, maildir, deliveries[-1])
        except OSError as exc:
            for delivery in deliveries:
                delivery.request.fail(TROUBLE, exc)


def _sync_new(calls: SystemCalls, maildir: str, delivery: _Delivery) -> None:
    try:
        sync_directory(calls, f"{maildir}/{_NEW}")
    except OSError as error:
        if error.errno not in NOT_BY_ITSELF:
            raise
        fd = calls.open(delivery.path(_NEW), os.O_RDONLY | os.O_CLOEXEC)
        try:
            calls.syncfs(fd)
        finally:
            calls.close(fd)
