"""A Maildir as POP3 sees it: its messages as they were when the session began; read, counted, removed, moved to cur/.

There are no locks. Whoever else is in the Maildir, a delivery, a reader that renames for its flags, another session that
removes, does no harm: a message is known by its unique name (what is before the colon), and is looked for again when it is
not where it was. Messages are indexes from 0, in the order of their files' times and then their names. As in qmail-pop3d
nothing is synced: what a power cut takes back is a removal.
"""

import errno
import os
import stat
from _collections_abc import Collection, Sequence
from _operator import itemgetter

from quail.pop3.wire import Extra
from quail.storage import maildir_listing, sizes
from quail.storage.calls import REAL, SystemCalls

_PIECE = 1 << 18
_NEW, _CUR = "new/", "cur/"
_FOLDER = len(_NEW)
_NAME = itemgetter(slice(_FOLDER, None))  # of a path
_KIND = 0o170000  # of a file's mode
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # nobody waits for a FIFO
_ASTRAY = (errno.ELOOP, errno.ENOTDIR)  # of a symbolic link
_LOOKS = 3  # for messages that are renamed while they are looked for
_WORTH_SAVING = 64  # sizes that have been counted: fewer are counted again,
_PART_WORTH_SAVING = 32  # and less than one in so many
_LONGEST_UID = 70  # RFC 1939 section 7: up to 70 characters from 0x21 to 0x7e
_UID_BYTES = bytes(range(0x21, 0x7F))
_SENDABLE = bytes(byte for byte in range(1, 256) if byte not in b"\r\n")


class Maildrop:
    """The snapshot of one Maildir. OSError, as the system says it, where nothing else is said."""

    __slots__ = ("_calls", "_gone", "_maildir", "_paths", "_seen", "_stored", "_uniques")

    def __init__(
        self, maildir: str, *, before: int | None = None, missing_ok: bool = False, calls: SystemCalls = REAL
    ) -> None:
        """Look at new/ and cur/. Dot files are no messages, nor is anything but files.

        `before` leaves out files of this time, in seconds, and later ones, as qmail-pop3d does with those of the present
        second. `missing_ok`: a Maildir that does not exist is an empty one.
        """
        self._calls = calls
        self._maildir = maildir
        self._seen: tuple[int, int] | None = None  # times of new/ and cur/ when they were last looked through again
        self._gone: set[int] = set()  # what could not be found again then
        try:
            names = self._list()
        except FileNotFoundError:
            if not missing_ok or _exists(calls, maildir):
                raise
            names = []
        self._look(names, before)

    def _list(self) -> list[str]:
        """All names, new/NAME or cur/NAME; what is moved to cur/ meanwhile is there twice, but not missing."""
        calls, maildir = self._calls, self._maildir
        names = [_NEW + name for name in calls.listdir(f"{maildir}/new") if name[0] != "."]
        names += [_CUR + name for name in calls.listdir(f"{maildir}/cur") if name[0] != "."]
        return names

    def _look(self, names: list[str], before: int | None) -> None:
        # Those of one time stay in this order; and times that rise with the names, as they mostly do, are quickly sorted.
        names.sort(key=_NAME)
        times: list[int] = []
        paths: list[str] = []
        stored: list[int] = []
        look, prefix = self._calls.stat, "" if self._maildir == "." else f"{self._maildir}/"
        for _ in range(_LOOKS):
            missing = []
            for path in names:
                try:
                    status = look(prefix + path)
                except FileNotFoundError:
                    missing.append(path)
                    continue
                except OSError as error:
                    if error.errno in _ASTRAY:
                        continue  # as one that leads nowhere: all others are there
                    raise
                if status.st_mode & _KIND == stat.S_IFREG and (before is None or status.st_mtime < before):
                    times.append(status.st_mtime_ns)
                    paths.append(path)
                    stored.append(status.st_size)
            if not missing:
                break
            wanted = set(map(_unique, missing)).difference(map(_unique, paths))
            names = [path for path in self._list() if _unique(path) in wanted] if wanted else []
        order = sorted(range(len(times)), key=times.__getitem__)
        self._paths = [paths[at] for at in order]
        self._stored = [stored[at] for at in order]
        self._uniques = [path[_FOLDER:].partition(":")[0] for path in self._paths]

    def __len__(self) -> int:
        return len(self._paths)

    def stored(self, index: int) -> int:
        """The size of a message's file when the session began."""
        return self._stored[index]

    def uids(self, *, quirks: bool = False) -> list[bytes]:
        """What UIDL tells: unique names, or a hash of one that the protocol does not allow, or that two messages have.

        With quirks, as in qmail-pop3d, names are told whatever they are like, but for those that would break a line.
        """
        names = _encode(self._uniques)
        joined = b"".join(names)
        if quirks:
            if not joined.translate(None, _SENDABLE):
                return names
            return [_hash(name) if name.translate(None, _SENDABLE) else name for name in names]
        if names and (
            joined.translate(None, _UID_BYTES)
            or not 0 < min(map(len, names)) <= max(map(len, names)) <= _LONGEST_UID
            or len(set(names)) < len(names)
        ):
            return _allowed(names)
        return names

    def sizes(self, *, quirks: bool = False) -> list[int]:
        """What each message has on the wire (quail.pop3.wire), counted or remembered; with quirks, in its file.

        A message that can't be read has the size of its file.
        """
        stored = self._stored
        if quirks or not stored:
            return list(stored)
        keys = [sizes.KEY % pair for pair in zip(_encode(self._uniques), stored, strict=True)]
        known = sizes.load(self._calls, self._maildir)
        extras = _numbers(list(map(known.get, keys)), stored)
        counted = 0
        for index, extra in enumerate(extras):
            if extra is None:
                extras[index] = self._count(index)
                counted += 1
        if counted >= _WORTH_SAVING and counted * _PART_WORTH_SAVING >= len(stored):
            entries = [(key, extra) for key, extra in zip(keys, extras, strict=True) if extra is not None]
            sizes.save(self._calls, self._maildir, entries)
        return [size + (extra or 0) for size, extra in zip(stored, extras, strict=True)]

    def _count(self, index: int) -> int | None:
        """By how much the message grows when it is sent; None if it can't be read, or is not what it was."""
        calls = self._calls
        size = self._stored[index]
        extra = Extra()
        offset = 0
        try:
            fd = self.open(index)
            try:
                # One byte more than there should be: a whole message that is as large as it was needs one call.
                while data := calls.pread(fd, min(_PIECE, size + 1 - offset), offset):
                    extra.feed(data)
                    offset += len(data)
                    if offset == size and size < _PIECE:
                        break
                    if offset > size:
                        return None
            finally:
                calls.close(fd)
        except OSError:
            return None
        return extra.count if offset == size else None

    def open(self, index: int) -> int:
        """A descriptor for reading the message, wherever it is now; the caller closes it."""
        if index not in self._gone:
            try:
                return self._open(index)
            except FileNotFoundError:
                pass
        if self._changed():
            self._find_again()
            if index not in self._gone:
                return self._open(index)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._paths[index])

    def _open(self, index: int) -> int:
        return self._calls.open(f"{self._maildir}/{self._paths[index]}", _OPEN)

    def _changed(self) -> bool:
        """Whether something has happened to new/ or cur/ since this was asked last."""
        look = self._calls.stat
        seen = look(f"{self._maildir}/new").st_mtime_ns, look(f"{self._maildir}/cur").st_mtime_ns
        if seen == self._seen:
            return False
        self._seen = seen
        return True

    def _find_again(self) -> None:
        """Look for what is not where it was. What another message has is not taken for it, should two have one unique name."""
        listed = self._list()
        present, known = set(listed), set(self._paths)
        there = {_unique(path): path for path in listed if path not in known}
        for index, path in enumerate(self._paths):
            if path in present:
                self._gone.discard(index)
            elif (found := there.get(self._uniques[index])) is not None:
                self._gone.discard(index)
                self._paths[index] = found
            else:
                self._gone.add(index)

    def update(self, deleted: Collection[int]) -> list[OSError]:
        """End the session: remove these messages, move the others that are new to cur/, without flags. What was not removed.

        A message that somebody else has removed meanwhile is no failure.
        """
        failures: list[OSError] = []
        left: Collection[int] = deleted
        try:
            for _ in range(_LOOKS):
                left = self._remove(left, failures)
                if not left:
                    break
                self._find_again()
                left = [index for index in left if index not in self._gone]
        except OSError as error:
            failures += [error] * len(left)
        else:
            failures += [
                FileNotFoundError(errno.ENOENT, "renamed again and again", self._paths[index]) for index in left
            ]
        self._move(set(deleted))
        return failures

    def _remove(self, indexes: Collection[int], failures: list[OSError]) -> list[int]:
        """Those that were not where they were."""
        missing = []
        for index in indexes:
            try:
                self._calls.unlink(f"{self._maildir}/{self._paths[index]}")
            except FileNotFoundError:
                missing.append(index)
            except OSError as error:
                failures.append(error)
        return missing

    def _move(self, deleted: set[int]) -> None:
        taken = set(self._paths)
        for index, path in enumerate(self._paths):
            if path[0] != "n" or index in deleted:
                continue
            target = _CUR + path[_FOLDER:] + ("" if ":" in path else ":2,")
            if target in taken:
                continue  # another message with the same name: rename would destroy it
            try:
                self._calls.rename(f"{self._maildir}/{path}", f"{self._maildir}/{target}")
            except OSError:
                pass  # it is elsewhere already, or stays new

    def clean(self, now: float) -> None:
        """Remove what deliveries have left in tmp/ that did not end, `now` being the time of day."""
        maildir_listing.clean(self._calls, self._maildir, now)


def _unique(path: str) -> str:
    return path[_FOLDER:].partition(":")[0]


def _exists(calls: SystemCalls, path: str) -> bool:
    try:
        calls.stat(path)
    except FileNotFoundError:
        return False
    return True


def _encode(names: list[str]) -> list[bytes]:
    """As bytes; at once, because no name has a slash in it."""
    return os.fsencode("/".join(names)).split(b"/") if names else []


def _numbers(texts: Sequence[bytes | None], stored: list[int]) -> list[int | None]:
    """Remembered growths, if they can be true: of files of these sizes, where a line grows by one byte, the last by two."""
    try:
        numbers = [None if text is None else int(text) for text in texts]
    except ValueError:
        return [None] * len(texts)
    if all(number is None or 0 <= number <= size + 2 for number, size in zip(numbers, stored, strict=True)):
        return numbers
    return [None] * len(texts)


def _allowed(names: list[bytes]) -> list[bytes]:
    """The names, with a hash for each that the protocol does not allow, or that is not the first of its kind."""
    uids: list[bytes] = []
    times: dict[bytes, int] = {}
    for name in names:
        number = times[name] = times.get(name, 0) + 1
        fits = 0 < len(name) <= _LONGEST_UID and not name.translate(None, _UID_BYTES)
        uids.append(name if fits and number == 1 else _hash(name + b"/%d" % number if number > 1 else name))
    return uids


def _hash(name: bytes) -> bytes:
    from hashlib import sha256  # noqa: PLC0415  few need it

    return sha256(name).hexdigest().encode()
