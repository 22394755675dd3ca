"""users/assign out of the accounts of a machine: what qmail-pw2u does (qmail-pw2u(8)).

An account gets mail if its uid is not 0, its name has no capitals, users/include (if it exists) has it and users/exclude has
not, and its home is there and belongs to it. It gets mail as each of its names in users/mailnames, otherwise as its own.
"""

import errno
import os
from collections.abc import Callable, Iterator

from quail.control.reader import parse_list, parse_pairs
from quail.errors import ConfigError, TemporaryError
from quail.oserrors import words
from quail.users.assign import is_id

SKIP_MISSING, STOP_MISSING, UNCHECKED = "skip", "stop", "unchecked"
_ALIAS = b"alias"
_FIELDS = 7  # name, password, uid, gid, comment, home, shell


class Options:
    """How the command was called."""

    __slots__ = ("break_char", "capitals", "dash", "homes")

    def __init__(self) -> None:
        self.break_char = b"-"  # behind a name, what introduces an extension; empty: there are none
        self.dash = b"-"
        self.capitals = False
        self.homes = SKIP_MISSING


class Files:
    """The content of the files in users/ that have a say; None: there is no such file."""

    __slots__ = ("append", "exclude", "include", "mailnames", "subusers")

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        """`read` gives the content of the file with this path, as quail.control.reader.read_file."""
        include = read("users/include")
        self.include = None if include is None else _names("users/include", include)
        self.exclude = _names("users/exclude", read("users/exclude") or b"")
        self.mailnames = parse_pairs("users/mailnames", read("users/mailnames") or b"")
        self.subusers = parse_list("users/subusers", read("users/subusers") or b"")
        self.append = read("users/append") or b""

    def admits(self, name: bytes) -> bool:
        """Whether users/include and users/exclude let this account have mail."""
        return name.lower() not in self.exclude and (self.include is None or name.lower() in self.include)


def assign(
    passwd: bytes,
    options: Options,
    files: Files,
    owner_of: Callable[[bytes], int | None],
    *,
    need_alias: bool = True,
) -> bytes:
    """All of users/assign for the accounts of a passwd file.

    owner_of: the uid that a folder belongs to, None if it is not there. TemporaryError if a home is not there and the options
    say to stop, or if an account `alias` is needed and missing; ConfigError for users/subusers. Lines that are no accounts
    (those of NIS among them) are left out.
    """
    out: list[bytes] = []
    accounts: dict[bytes, bytes] = {}
    for name, uid, gid, home in _accounts(passwd, options, files, owner_of):
        about = accounts[name] = b":".join((name, uid, gid, home))
        if name == _ALIAS:
            out.append(b"+:%b:%b::\n" % (about, options.dash))
        names = files.mailnames.get(name.lower())
        for mailname in [name] if names is None else filter(None, names.split(b":")):
            out += _lines(mailname, about, b"", b"", options)
    if need_alias and _ALIAS not in accounts:
        raise TemporaryError("unable to find alias user")
    for number, line in files.subusers:
        sub, owner, pre = _subuser(number, line)
        if owner not in accounts:
            reason = f"{_shown(owner)} is no account that gets mail"
            raise ConfigError("users/subusers", number, reason, "correct or remove the line")
        out += _lines(sub, accounts[owner], options.dash, pre, options)
    out.append(files.append)
    if files.append and not files.append.endswith(b"\n"):
        out.append(b"\n")
    out.append(b".\n")
    return b"".join(out)


def owner_of(path: bytes) -> int | None:
    """The uid that a folder belongs to, None if it is not there; TemporaryError if that can't be told."""
    try:
        return os.stat(path).st_uid
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            return None
        raise TemporaryError(f"unable to look at home directory {os.fsdecode(path)}: {words(error)}") from error


def _lines(local: bytes, about: bytes, dash: bytes, pre: bytes, options: Options) -> Iterator[bytes]:
    yield b"=%b:%b:%b:%b:\n" % (local, about, dash, pre)
    if options.break_char:
        rest = pre + b"-" if dash else b""
        yield b"+%b%b:%b:%b:%b:\n" % (local, options.break_char, about, options.dash, rest)


def _accounts(
    passwd: bytes, options: Options, files: Files, owner_of: Callable[[bytes], int | None]
) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Name, uid, gid, home of each account that gets mail."""
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) < _FIELDS or b"\0" in line:
            continue
        name, _, uid, gid, _, home = fields[:6]
        if not name or not is_id(uid) or not is_id(gid) or int(uid) == 0:
            continue
        if name != name.lower() and not options.capitals:
            continue
        if not files.admits(name):
            continue
        if options.homes != UNCHECKED:
            owner = owner_of(home)
            if owner is None and options.homes == STOP_MISSING:
                raise TemporaryError(f"unable to find home directory {_shown(home)} of user {_shown(name)}")
            if owner != int(uid):
                continue
        yield name, uid, gid, home


def _subuser(number: int, line: bytes) -> tuple[bytes, bytes, bytes]:
    fields = line.split(b":", 3)
    if len(fields) < 4 or not fields[0]:
        raise ConfigError("users/subusers", number, "is not sub:user:pre:", "write it so, with three colons")
    return fields[0], fields[1], fields[2]


def _shown(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _names(path: str, data: bytes) -> frozenset[bytes]:
    return frozenset(text.lower() for _, text in parse_list(path, data))
