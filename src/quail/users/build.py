"""users/append -> users/assign -> users/cdb: what people and `quail user` edit, what is made of it, and what counts.

In a single home users/append says it all; in a system home the machine's accounts come first, by qmail-pw2u's rules.
users/assign has the final dot and, behind the dot where nobody reads, a sum that tells our own work from what somebody wrote
into the file by hand: that is not overwritten.
"""

import hashlib
import os
from collections.abc import Callable, Iterable

from quail.control.reader import read_file
from quail.errors import ConfigError, TemporaryError
from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.users import passwd
from quail.users.assign import EXACT, PREFIX, Assignment, check, compile_cdb, parse
from quail.users.getpw import gets_mail
from quail.users.lock import Lock
from quail.users.nss import Entry

_MARK = b"# Made by quail from users/append: edit that file. sha256 of the lines above the dot: "
_MARK_SYSTEM = (
    b"# Made by quail from the machine's accounts and users/append: edit those. sha256 of the lines above the dot: "
)


def rebuild(home: str, *, calls: SystemCalls = REAL) -> list[Assignment]:
    """Make users/assign and users/cdb of users/append as it is. Raises as `update`."""
    return update(home, lambda lines: lines, calls=calls)


def update(home: str, change: Callable[[list[bytes]], list[bytes]], *, calls: SystemCalls = REAL) -> list[Assignment]:
    """Give users/append the lines that `change` makes of its lines, then make users/assign and users/cdb of them.

    Each file is replaced durably, in that order; after a crash between them the next call makes up for it. Returns what is
    assigned now. ConfigError if users/append is malformed or lost, or users/assign has lines of somebody else, before
    anything is changed; TemporaryError if a file can't be read or written.
    """
    users = f"{home}/users"
    append, made, cdb = f"{users}/append", f"{users}/assign", f"{users}/cdb"
    try:
        with Lock(users, calls):
            before = _lines(_read(append))
            if error := _lost(append, _read(made)):
                raise error
            _refuse_to_overwrite(made, _read(made), before)
            after = change(before)
            text = b"".join(line + b"\n" for line in after)
            assignments = _judge(text, append)
            if after != before:
                replace_file(append, text, calls=calls)
            replace_file(made, text + b".\n" + _mark(text, _MARK), calls=calls)
            replace_file(cdb, compile_cdb(assignments), calls=calls)
    except OSError as error:
        raise _unwritable(users, error) from error
    return assignments


def appended(home: str) -> list[bytes]:
    """The lines of users/append as they are now. TemporaryError."""
    return _lines(_read(f"{home}/users/append"))


def rebuild_of_accounts(
    home: str,
    entries: list[Entry],
    by_name: Callable[[bytes], Entry | None],
    owner_of: Callable[[bytes], int | None] = passwd.owner_of,
    *,
    calls: SystemCalls = REAL,
) -> tuple[int, bool]:
    """Make users/assign and users/cdb of the machine's accounts and users/append, as qmail-pw2u and qmail-newu do.

    entries: all accounts, as the name service lists them. by_name: nss.by_name or its like; asked about those that have gone,
    since a name service in trouble lists too few. owner_of: see passwd.assign. Returns how many lines there are now, and
    whether anything was written: what has not changed stays. Errors as of `update`, and those of passwd.assign; also
    TemporaryError if somebody's lines would go although his account is there.
    """
    users = f"{home}/users"
    append, made, cdb = f"{users}/append", f"{users}/assign", f"{users}/cdb"
    try:
        with Lock(users, calls):
            files = passwd.Files(lambda path: read_file(f"{home}/{path}"))
            own = files.append if files.append.endswith(b"\n") or not files.append else files.append + b"\n"
            for item in _judge(own, append):
                if not (item.uid.isdigit() and gets_mail(item.user, int(item.uid))):
                    reason = "assigns mail to an account that no delivery runs as"
                    raise ConfigError(append, item.line, reason, "name an account that is neither root nor a service")
            text = passwd.assign(_passwd(entries), passwd.Options(), files, owner_of)
            before = _read(made)
            body = text.removesuffix(b".\n")
            _refuse_to_overwrite(made, before, _lines(body))
            for user in _forgotten(before, _lines(body)):
                _must_be_gone(made, user, entries, files, by_name, owner_of)
            assignments = parse(text, made)
            changed = False
            for path, old, new in (
                (made, before, text + _mark(body, _MARK_SYSTEM)),
                (cdb, _read(cdb), compile_cdb(assignments)),
            ):
                if new != old:
                    replace_file(path, new, calls=calls)
                    changed = True
    except OSError as error:
        raise _unwritable(users, error) from error
    return len(assignments), changed


def misfit(home: str) -> ConfigError | None:
    """Why users/append does not count as it is: it is lost, a malformed line, or one that users/assign does not have yet."""
    path = f"{home}/users/append"
    lines = _lines(_read(path))
    if error := _lost(path, _read(f"{home}/users/assign")):
        return error
    try:
        _judge(b"".join(line + b"\n" for line in lines), path)
    except ConfigError as error:
        return error
    assigned = set(_above(_read(f"{home}/users/assign")))
    for number, line in enumerate(lines, 1):
        if line not in assigned:
            return ConfigError(path, number, "does not count yet: users/assign is older", "call quail user rebuild")
    return None


def _lost(append: str, made: bytes) -> ConfigError | None:
    """Nobody who removes the last mailbox removes the file: if users/assign was made of one that has gone, it was lost."""
    if os.path.exists(append) or not _above(made) or not _is_ours(made, _MARK):
        return None
    remedy = "copy the lines above the dot of users/assign into it, or make it empty if nobody is to get mail any more"
    return ConfigError(append, 0, "does not exist, though users/assign was made of it", remedy)


def _passwd(entries: Iterable[Entry]) -> bytes:
    """The accounts that deliveries may run as, in the format of passwd(5)."""
    lines = []
    for entry in entries:
        if gets_mail(entry.name, entry.uid) and entry.home.startswith(b"/"):
            fields = (entry.name, b"x", b"%d" % entry.uid, b"%d" % entry.gid, b"", entry.home, b"")
            if not any(mark in field for field in fields for mark in (b":", b"\n")):
                lines.append(b":".join(fields) + b"\n")
    return b"".join(lines)


def _judge(text: bytes, path: str) -> list[Assignment]:
    """What the lines of users/append say; all of them must be assignments, for in users/assign a dot would end the list."""
    assignments = parse(text + b".\n", path)
    count = text.count(b"\n")
    if len(assignments) < count:
        raise ConfigError(path, len(assignments) + 1, "starts with a dot, which would end the list", "remove the line")
    check(assignments, path)
    return assignments


def _refuse_to_overwrite(path: str, made: bytes, lines: list[bytes]) -> None:
    """Raise ConfigError if users/assign says what would get lost: lines not made by us that are not to be made now either."""
    known, above, is_ours = set(lines), len(_above(made)), _is_ours(made)
    for number, line in enumerate(_lines(made), 1):
        if number <= above:
            is_lost, reason = not is_ours, "was not made by quail and would be lost"
        else:  # `echo ... >> users/assign` puts lines there
            is_lost, reason = (
                line.startswith((EXACT, PREFIX)),
                "stands behind the dot, where nobody reads it, and would be lost",
            )
        if is_lost and line not in known:
            raise ConfigError(path, number, reason, "move it to users/append, then try again")


def _forgotten(made: bytes, lines: list[bytes]) -> list[bytes]:
    """The users whom users/assign names and these lines don't, each once."""
    before, after = (
        [line.split(b":", 2)[1] for line in each if line.count(b":") > 1] for each in (_above(made), lines)
    )
    return [user for user in dict.fromkeys(before) if user not in after]


def _must_be_gone(
    path: str,
    user: bytes,
    entries: list[Entry],
    files: passwd.Files,
    by_name: Callable[[bytes], Entry | None],
    owner_of: Callable[[bytes], int | None],
) -> None:
    """Raise TemporaryError if this user would lose his mail only because the name service or a disk is in trouble."""
    if not files.admits(user):
        return
    name = os.fsdecode(user)
    entry = next((entry for entry in entries if entry.name == user), None)
    if entry is None:
        if by_name(user) is not None:
            raise TemporaryError(
                f"{path} stays as it is: the account {name} exists, but is missing from the list of accounts that"
                f" `getent passwd` shows; if that is meant so, put its lines into users/append, or name it in users/exclude"
            )
    elif owner_of(entry.home) is None:
        raise TemporaryError(
            f"{path} stays as it is: {os.fsdecode(entry.home)}, the home of {name}, is not there; if it has gone for good,"
            f" remove the account or name it in users/exclude"
        )


def _is_ours(made: bytes, *marks: bytes) -> bool:
    body = b"".join(line + b"\n" for line in _above(made))
    return any(_mark(body, mark) in made for mark in marks or (_MARK, _MARK_SYSTEM))


def _above(made: bytes) -> list[bytes]:
    """The lines of users/assign before the one with the dot."""
    lines = _lines(made)
    end = next((at for at, line in enumerate(lines) if line.startswith(b".")), len(lines))
    return lines[:end]


def _mark(body: bytes, words_: bytes) -> bytes:
    return words_ + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _lines(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise TemporaryError(f"unable to read {path}: {words(error)}") from error


def _unwritable(users: str, error: OSError) -> TemporaryError:
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else users
    return TemporaryError(f"unable to write {name}: {words(error)}")
