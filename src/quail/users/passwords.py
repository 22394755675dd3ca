"""users/passwords: the passwords that Quail itself keeps, a line for each user. docs/formats/passwords.md.

Only root, or the owner of a single home, can read it; authd's children and checkpassword do, once for each log-in, and judge
the one line that they need. `quail user passwd` judges all of it, and writes.
"""

import binascii
import os
import stat

from quail.errors import ConfigError, PermanentError, TemporaryError
from quail.oserrors import words
from quail.sasl import scram
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.users import argon
from quail.users.lock import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _collections_abc import Callable

PATH = "users/passwords"
HEADER = b"#quail-passwords 1"
LONGEST = 255  # bytes of a password in UTF-8: checkpassword's contract has 512 for name, password and time stamp
# RFC 7677 asks for 4096. These keys would be the easiest to guess passwords from, if the file got lost: a client's 50 ms.
ITERATIONS = 100_000
_ANY_VERSION = b"#quail-passwords "
_SECRET = "BASE64"  # noqa: S105  the name of a field
_REMEDY = "set the password again (quail user passwd), or remove the line"


class Record:
    """What is kept of one user. hashed: argon2id; scram: None if there is nothing for it; secret: the password itself, or
    None.
    """

    __slots__ = ("hashed", "name", "scram", "secret")

    def __init__(self, name: bytes, hashed: str, keys: scram.Keys | None = None, secret: bytes | None = None) -> None:
        """The name in lower case."""
        self.name = name
        self.hashed = hashed
        self.scram = keys
        self.secret = secret


def make(name: bytes, password: bytes, *, prepared: bytes, reversible: bool) -> Record:
    """A record for a password: as it was typed, and prepared by SASLprep. Takes a tenth of a second."""
    keys = scram.derive(prepared, os.urandom(scram.SALT_BYTES), ITERATIONS)
    return Record(name, argon.make(prepared), keys, password if reversible else None)


def encode(record: Record) -> bytes:
    """Its line, without the line feed."""
    fields = [record.hashed]
    if record.scram is not None:
        fields.append(scram.encode(record.scram))
    if record.secret is not None:
        fields.append(f"{_SECRET}${binascii.b2a_base64(record.secret, newline=False).decode()}")
    return b" ".join([record.name, *(field.encode() for field in fields)])


def decode(line: bytes) -> Record:
    """A line taken apart; ValueError, with what is wrong."""
    name, *rest = line.split(b" ")
    if not is_name(name):
        raise ValueError("does not begin with a user's name, in lower case and without blanks")
    try:
        fields = [field.decode("ascii") for field in rest]
    except UnicodeDecodeError:
        raise ValueError("has bytes that are not ASCII") from None
    kinds = [field.lstrip("$").partition("$")[0] for field in fields]
    if kinds[:1] != ["argon2id"] or kinds[1:] not in ([], [scram.NAME], [_SECRET], [scram.NAME, _SECRET]):
        raise ValueError(f"is not NAME $argon2id$... {scram.NAME}$... {_SECRET}$..., with one blank between")
    argon.judge(fields[0])
    keys = scram.decode(fields[1]) if scram.NAME in kinds else None
    secret = None
    if kinds[-1] == _SECRET:
        try:
            secret = binascii.a2b_base64(fields[-1].partition("$")[2], strict_mode=True)
        except binascii.Error:
            raise ValueError(f"has something behind {_SECRET}$ that is not base64") from None
        if not secret:
            raise ValueError("has an empty password")
    return Record(name, fields[0], keys, secret)


def is_name(name: bytes) -> bool:
    """Whether it can stand in the file."""
    return (
        name.lower() == name
        and 0 < len(name) <= LONGEST
        and name[:1] != b"#"
        and not any(b <= 0x20 or b == 0x7F for b in name)
    )


def find(data: bytes, name: bytes, path: str) -> Record | None:
    """The user's record in the content of the file at `path`; only its own line is judged. ConfigError."""
    if not data or not is_name(name):
        return None
    _judge_header(data, path)
    at = data.find(b"\n%b " % name)
    if at < 0:
        return None
    end = data.find(b"\n", at + 1)
    line = data[at + 1 : end if end >= 0 else len(data)]
    try:
        return decode(line)
    except ValueError as error:
        # Counted here alone: in a large file that takes as long as all the rest, and longer for who is further down.
        raise _malformed(error, data.count(b"\n", 0, at + 1) + 1, path) from None


def parse(data: bytes, path: str) -> dict[bytes, Record]:
    """All records by name. ConfigError for a line that is malformed, or has a name again."""
    found: dict[bytes, Record] = {}
    if data:
        _judge_header(data, path)
    for number, line in enumerate(data.split(b"\n"), 1):
        if line and line[:1] != b"#":
            try:
                record = decode(line)
            except ValueError as error:
                raise _malformed(error, number, path) from None
            if record.name in found:
                raise ConfigError(path, number, f"has {_shown(record.name)} again", "remove one of the lines")
            found[record.name] = record
    return found


def _judge_header(data: bytes, path: str) -> None:
    first = data.partition(b"\n")[0]
    if first == HEADER:
        return
    if first.startswith(_ANY_VERSION):
        version = _shown(first.removeprefix(_ANY_VERSION))
        raise ConfigError(
            path, 1, f"is of version {version}, and this Quail knows version 1", "use the Quail that wrote it"
        )
    raise ConfigError(path, 1, f"is not {HEADER.decode()}", "begin the file with that line")


def _malformed(error: ValueError, number: int, path: str) -> ConfigError:
    return ConfigError(path, number, str(error), _REMEDY)  # nothing of the line itself: it is secret


def read(home: str) -> bytes:
    """The content of a home's file, empty if there is none. TemporaryError if it can't be read; ConfigError if others than
    its owner could.
    """
    path = f"{home}/{PATH}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise TemporaryError(f"unable to read {path}: {words(error)}") from error
    try:
        status = os.fstat(fd)
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise ConfigError(path, 0, "others than its owner may read or write it", f"chmod 600 {path}")
        parts = []
        while part := os.read(fd, status.st_size + 1):  # mostly all at once
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        raise TemporaryError(f"unable to read {path}: {words(error)}") from error
    finally:
        os.close(fd)


def look_up(home: str, name: bytes) -> Record | None:
    """The user's record; name in lower case. Errors as of read() and find()."""
    return find(read(home), name, f"{home}/{PATH}")


def put(home: str, record: Record, *, calls: SystemCalls = REAL) -> bool:
    """Set the user's line, durably; whether there was none before. ConfigError, TemporaryError: then nothing has changed."""
    return _change(home, record.name, lambda lines: [*lines, encode(record)], calls) == 0


def remove(home: str, name: bytes, *, calls: SystemCalls = REAL) -> bool:
    """Take the user's line away, durably; False if there was none. Errors as of put()."""
    # What is no name could be the beginning of the first line, or of a comment.
    there = is_name(name) and os.path.lexists(f"{home}/{PATH}")
    return bool(there and _change(home, name, None, calls))


def _change(home: str, name: bytes, add: "Callable[[list[bytes]], list[bytes]] | None", calls: SystemCalls) -> int:
    """Write the file without the lines of this name, and with what add() puts behind the rest; how many there were."""
    path = f"{home}/{PATH}"
    try:
        with Lock(f"{home}/users", calls):
            data = read(home)
            parse(data, path)
            before = data.removesuffix(b"\n").split(b"\n") if data else [HEADER]
            lines = [line for line in before if not line.startswith(name + b" ")]
            removed = len(before) - len(lines)
            if add is not None or removed:
                after = add(lines) if add is not None else lines
                replace_file(path, b"\n".join(after) + b"\n", mode=0o600, calls=calls)
            return removed
    except OSError as error:
        raise TemporaryError(f"unable to write {path}: {words(error)}") from error


def judge_password(password: bytes) -> bytes:
    """The prepared form of a password that somebody wants to set; PermanentError, without it, if it won't do."""
    from quail.sasl.prep import prepare  # noqa: PLC0415  only those who set one

    if not password:
        raise PermanentError("a password can't be empty")
    try:
        prepared = prepare(password.decode(), stored=True).encode()
    except UnicodeDecodeError:
        raise PermanentError("this password is not UTF-8: set the terminal to UTF-8, or take another one") from None
    except ValueError as error:
        raise PermanentError(f"this password can't be used: {error}") from None
    if not prepared:
        raise PermanentError("a password can't be empty")
    if max(len(password), len(prepared)) > LONGEST:
        raise PermanentError(f"a password has at most {LONGEST} bytes")
    return prepared


def _shown(text: bytes) -> str:
    return text.decode("ascii", "backslashreplace")
