"""The mailboxes and aliases of a single home: lines in users/append, folders in mail/, files in alias/.

A mailbox NAME has `=NAME:` and `+NAME-:`, both with the home mail/NAME, where its Maildir is and where its own dot-qmail files
would be. An alias is a dot-qmail file in alias/, with a line for exactly this address.
"""

import os
import shutil
from collections.abc import Callable, Iterator

from quail.errors import PermanentError, TemporaryError, UsageError
from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file, sync_directory
from quail.users.assign import EXACT, Assignment, check, parse
from quail.users.build import appended, update
from quail.users.qmailfile import name as qmailfile_name

ALIASES = ("postmaster", "root", "mailer-daemon")
_ALIAS_USER = b"alias"
_OTHER_BYTES = "._+-"
_LONGEST = 64  # RFC 5321 s4.5.3.1.1
_BY_HAND = "remove it there by hand, then call `quail user rebuild`"


class Row:
    """One exact address of a home: a mailbox with its maildir, or an address with the dot-qmail file that decides on it."""

    __slots__ = ("file", "gid", "home", "maildir", "name", "uid")

    def __init__(self, item: Assignment) -> None:
        self.name = os.fsdecode(item.local)
        self.uid = int(item.uid)
        self.gid = int(item.gid)
        self.home = os.fsdecode(item.home)
        self.maildir = None if item.dash else f"{self.home}/Maildir"
        self.file = f"{self.home}/{os.fsdecode(qmailfile_name(item.dash, item.ext))}" if item.dash else None

    def targets(self) -> list[str]:
        """The local parts that its file forwards to; none if it is a mailbox or there is no such file."""
        try:
            return _targets(self.file) if self.file else []
        except OSError:
            return []


def fit_name(name: str) -> str:
    """The name as it is kept, in lower case; UsageError if it can't be the name of a mailbox or alias."""
    kept = name.lower()
    if not kept:
        raise UsageError("a name can't be empty")
    if len(kept) > _LONGEST:
        raise UsageError(f"a name has at most {_LONGEST} characters: {name[:_LONGEST]}...")
    strange = next((char for char in name if not (char.isascii() and (char.isalnum() or char in _OTHER_BYTES))), None)
    if strange is not None:
        raise UsageError(f"{name!r} has {strange!r}; a name is made of letters, digits and {' '.join(_OTHER_BYTES)}")
    if not kept[0].isalnum() or kept[-1] in ".-" or ".." in kept:
        raise UsageError(
            f"{name!r} must start with a letter or digit, not end in . or -, and have no two dots together"
        )
    return kept


def add_user(home: str, name: str, uid: int, gid: int, *, calls: SystemCalls = REAL) -> bool:
    """Give the home a mailbox; False if it had this very one, whose folders and records have been put right then.

    home: path; uid, gid: who the deliveries run as. UsageError for a bad name, PermanentError if the address is taken,
    otherwise as `build.update`. The mailbox is durable, and gets mail, when this returns.
    """
    name = fit_name(name)
    folder = _folder(home, name)
    local, place = name.encode(), os.fsencode(folder)
    lines = [
        b"=%b:%b:%d:%d:%b:::" % (local, local, uid, gid, place),
        b"+%b-:%b:%d:%d:%b:-::" % (local, local, uid, gid, place),
    ]

    def prepare() -> None:
        for path in (os.path.dirname(folder), folder, f"{folder}/Maildir"):
            _make_folder(path, calls)
        for part in ("tmp", "new", "cur"):
            _make_folder(f"{folder}/Maildir/{part}", calls)

    return _add(home, name, lines, prepare, calls)


def add_alias(home: str, alias: str, target: str, *, calls: SystemCalls = REAL) -> bool:
    """Have mail for `alias` forwarded to the mailbox `target`; False if it was so already. Errors as of add_user.

    Its deliveries run as the owner of the home. A file that is there already stays as it is.
    """
    alias, target = fit_name(alias), fit_name(target)
    folder = f"{_assignable(home)}/alias"
    path = f"{folder}/{os.fsdecode(qmailfile_name(b'-', alias.encode()))}"
    try:
        owner = os.stat(home)
    except OSError as error:
        raise TemporaryError(f"unable to read {home}: {words(error)}") from error
    local = alias.encode()
    fields = (local, _ALIAS_USER, owner.st_uid, owner.st_gid, os.fsencode(folder), local)

    def prepare() -> None:
        _make_folder(folder, calls)
        if not os.path.lexists(path):
            replace_file(path, f"&{target}\n".encode(), calls=calls)

    return _add(home, alias, [b"=%b:%b:%d:%d:%b:-:%b:" % fields], prepare, calls)


def must_be_removable(home: str, name: str) -> None:
    """PermanentError if there is no such mailbox, or if an alias forwards to it: then mail for postmaster would be lost."""
    name = fit_name(name)
    forwarding = [path for path, targets in _alias_files(home) if name in targets]
    if forwarding:
        raise PermanentError(f"{name} gets the mail of {' and '.join(forwarding)}: put another name there first")
    _without(home, name, appended(home))


def remove_user(home: str, name: str, *, calls: SystemCalls = REAL) -> str:
    """Take the mailbox away; its folder, whose path is returned, stays. No mail comes to it when this returns.

    Errors as of must_be_removable.
    """
    name = fit_name(name)
    must_be_removable(home, name)
    update(home, lambda lines: _without(home, name, lines), calls=calls)
    return _folder(home, name)


def _folder(home: str, name: str) -> str:
    return f"{_assignable(home)}/mail/{name}"


def _without(home: str, name: str, lines: list[bytes]) -> list[bytes]:
    """Lines of users/append without those of a mailbox; PermanentError if it has none."""
    keys = (b"=%b:" % name.encode(), b"+%b-:" % name.encode())
    place = b":" + os.fsencode(_folder(home, name)) + b":"
    left = [line for line in lines if not (line.startswith(keys) and place in line)]
    if len(left) == len(lines):
        number = next((number for number, line in enumerate(lines, 1) if line.lower().startswith(keys[0])), None)
        if number is None:
            raise PermanentError(f"there is no mailbox {name} here; `quail user list` shows them")
        raise PermanentError(f"{home}/users/append line {number} was not made by `quail user add`: {_BY_HAND}")
    return left


def delete_mail(folder: str, *, calls: SystemCalls = REAL) -> None:
    """Delete a removed mailbox's folder with all its mail; TemporaryError if something in it can't be deleted."""
    try:
        shutil.rmtree(folder)
        sync_directory(calls, os.path.dirname(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise TemporaryError(f"unable to delete all of {folder}: {words(error)}") from error


def rows(home: str) -> list[Row]:
    """Every exact address that users/assign of this home has, in the order of the file."""
    path = f"{home}/users/assign"
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TemporaryError(f"unable to read {path}: {words(error)}") from error
    items = parse(text, path)
    check(items, path)
    return [Row(item) for item in items if not item.prefix]


def count_mail(maildir: str) -> tuple[int, int]:
    """(new, read) messages in a Maildir; a folder that is not there has none."""
    counts = []
    for part in ("new", "cur"):
        try:
            with os.scandir(f"{maildir}/{part}") as entries:
                counts.append(sum(not entry.name.startswith(".") for entry in entries))
        except FileNotFoundError:
            counts.append(0)
        except OSError as error:
            raise TemporaryError(f"unable to read {maildir}/{part}: {words(error)}") from error
    return counts[0], counts[1]


def _assignable(home: str) -> str:
    """The home's absolute path, if a line of users/assign can hold it."""
    path = os.path.abspath(home)
    if any(char in path for char in ":\n\0"):
        raise PermanentError(f"the path {path!r} can't stand in users/assign: it has a colon or a line feed")
    return path


def _add(home: str, name: str, lines: list[bytes], prepare: Callable[[], None], calls: SystemCalls) -> bool:
    """Add the lines to users/append unless they are there; PermanentError if another line has the address.

    `prepare` makes what they rely on, before they count. Returns whether the address is new.
    """
    key = EXACT + name.encode() + b":"
    is_new = False

    def with_them(before: list[bytes]) -> list[bytes]:
        nonlocal is_new
        is_new = lines[0] not in before
        taken = next((number for number, line in enumerate(before, 1) if line.lower().startswith(key)), None)
        if is_new and taken is not None:
            what = "an alias" if before[taken - 1].split(b":")[5:6] == [b"-"] else "another mailbox"
            raise PermanentError(f"{name} is {what} already: see {home}/users/append line {taken}")
        prepare()
        return before + [line for line in lines if line not in before]

    update(home, with_them, calls=calls)
    return is_new


def _make_folder(path: str, calls: SystemCalls) -> None:
    """Make a folder that only its owner can enter, durably; fine if it is there."""
    try:
        calls.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    sync_directory(calls, os.path.dirname(path))


def _alias_files(home: str) -> Iterator[tuple[str, list[str]]]:
    """Each alias file of the home with the local parts that it forwards to."""
    folder = f"{home}/alias"
    try:
        for entry in sorted(os.listdir(folder)):
            path = f"{folder}/{entry}"
            if entry.startswith(".qmail-"):
                yield path, _targets(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TemporaryError(f"unable to read {folder}: {words(error)}") from error


def _targets(path: str) -> list[str]:
    """The local parts of the addresses in a dot-qmail file, in lower case; none if it is no file."""
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip() for line in file]
    return [line.removeprefix("&").split("@", 1)[0].lower() for line in lines if line and line[0] not in "#|./+"]
