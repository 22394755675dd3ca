"""users/append -> users/assign -> users/cdb in a home whose users are its own, not the machine's (a single home).

users/append is what people and `quail user` edit. users/assign is made of it, with the final dot and, behind the dot where
nobody reads, a sum that tells our own work from what somebody wrote into the file by hand: that is not overwritten.
"""

import hashlib
import os
from collections.abc import Callable

from quail.errors import ConfigError, TemporaryError
from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.users.assign import Assignment, check, compile_cdb, parse
from quail.users.lock import Lock

_MARK = b"# Made by quail from users/append: edit that file. sha256 of the lines above the dot: "


def rebuild(home: str, *, calls: SystemCalls = REAL) -> list[Assignment]:
    """Make users/assign and users/cdb of users/append as it is. Raises as `update`."""
    return update(home, lambda lines: lines, calls=calls)


def update(home: str, change: Callable[[list[bytes]], list[bytes]], *, calls: SystemCalls = REAL) -> list[Assignment]:
    """Give users/append the lines that `change` makes of its lines, then make users/assign and users/cdb of them.

    Each file is replaced durably, in that order; after a crash between them the next call makes up for it. Returns what is
    assigned now. ConfigError if users/append is malformed or users/assign has lines of somebody else, before anything is
    changed; TemporaryError if a file can't be read or written.
    """
    users = f"{home}/users"
    append, made, cdb = f"{users}/append", f"{users}/assign", f"{users}/cdb"
    try:
        with Lock(users, calls):
            before = _lines(_read(append))
            _refuse_to_overwrite(made, _read(made), before)
            after = change(before)
            text = b"".join(line + b"\n" for line in after)
            assignments = _judge(text, append)
            if after != before:
                replace_file(append, text, calls=calls)
            replace_file(made, text + b".\n" + _mark(text), calls=calls)
            replace_file(cdb, compile_cdb(assignments), calls=calls)
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else users
        raise TemporaryError(f"unable to write {name}: {words(error)}") from error
    return assignments


def _judge(text: bytes, path: str) -> list[Assignment]:
    """What the lines of users/append say; all of them must be assignments, for in users/assign a dot would end the list."""
    assignments = parse(text + b".\n", path)
    count = text.count(b"\n")
    if len(assignments) < count:
        raise ConfigError(path, len(assignments) + 1, "starts with a dot, which would end the list", "remove the line")
    check(assignments, path)
    return assignments


def _refuse_to_overwrite(path: str, made: bytes, lines: list[bytes]) -> None:
    """Raise ConfigError if users/assign says what would get lost: lines not made by us and not in users/append either."""
    found = _lines(made)
    above = next((number for number, line in enumerate(found) if line.startswith(b".")), len(found))
    body = b"".join(line + b"\n" for line in found[:above])
    if _mark(body) in made:
        return
    known = set(lines)
    for number, line in enumerate(found[:above], 1):
        if line not in known:
            reason = "was not made by quail and would be lost"
            raise ConfigError(path, number, reason, "move it to users/append, then try again")


def _mark(body: bytes) -> bytes:
    return _MARK + hashlib.sha256(body).hexdigest().encode() + b"\n"


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
