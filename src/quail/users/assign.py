"""users/assign, the list of who owns which local parts, and the cdb made from it (qmail-users(5), qmail-newu(8)).

    =local:user:uid:gid:home:dash:ext:      mail for exactly `local`
    +start:user:uid:gid:home:dash:pre:      mail for everything that begins with `start`; the rest comes behind `pre`
    .                                       the end; what follows is not read

There are no comments and no empty lines; what stands behind the seventh colon of a line is ignored. Of equal local parts the
first counts. The cdb has these records, in the order of the lines, and one more with the empty key: the bytes after which
a `start` may end. Key: "!", local part in lower case, and for `=` a NUL. Data: user, uid, gid, home, dash, ext, NULs between.
"""

from quail.cdb.maker import Maker
from quail.errors import ConfigError

EXACT = b"="
PREFIX = b"+"
_END = b"."
_FIELDS = 7  # each ended by a colon


class Assignment:
    """One line. `local` as written; uid and gid are the file's words: see `check`."""

    __slots__ = ("dash", "ext", "gid", "home", "line", "local", "prefix", "uid", "user")

    def __init__(self, line: int, *, prefix: bool, fields: list[bytes]) -> None:
        """`line` counts from 1; `fields` are local, user, uid, gid, home, dash, ext."""
        self.line = line
        self.prefix = prefix
        self.local, self.user, self.uid, self.gid, self.home, self.dash, self.ext = fields

    def key(self) -> bytes:
        """Its key in the cdb."""
        return key(self.local.lower(), prefix=self.prefix)

    def data(self) -> bytes:
        """Its data in the cdb."""
        return b"\0".join((self.user, self.uid, self.gid, self.home, self.dash, self.ext))


def key(local: bytes, *, prefix: bool) -> bytes:
    """The key in the cdb of a local part, or start of one, in lower case."""
    return b"!" + local if prefix else b"!" + local + b"\0"


def parse(text: bytes, path: str) -> list[Assignment]:
    """The lines before the one that starts with a dot. ConfigError names `path` and the line that is not as it must be.

    As qmail-newu, this takes a first byte other than "+" and "." for "=", and leaves uid, gid and home unread.
    """
    found: list[Assignment] = []
    *lines, rest = text.split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.startswith(_END):
            return found
        found.append(_parse_line(line, number, path))
    if not rest.startswith(_END):
        number = len(lines) + 1 if rest else len(lines)
        raise ConfigError(
            path, number, "the file ends without a line that starts with a dot", 'write "." as its last line'
        )
    return found


def _parse_line(line: bytes, number: int, path: str) -> Assignment:
    if not line:
        raise ConfigError(path, number, "is empty", "remove the line")
    if b"\0" in line:
        raise ConfigError(path, number, "has a NUL byte", "remove it")
    fields = line.split(b":", _FIELDS)
    if len(fields) <= _FIELDS:
        reason = f"has {len(fields) - 1} colons, not {_FIELDS}"
        raise ConfigError(path, number, reason, "write =local:user:uid:gid:home:dash:ext: (or + in front)")
    if not fields[0]:
        raise ConfigError(path, number, "starts with a colon", "write = or + and a local part before it")
    prefix = fields[0].startswith(PREFIX)
    fields[0] = fields[0][1:]
    return Assignment(number, prefix=prefix, fields=fields[:_FIELDS])


def check(assignments: list[Assignment], path: str) -> None:
    """Raise ConfigError for the first line that no delivery could follow, though qmail-newu would take it."""
    for item in assignments:
        if not (is_id(item.uid) and is_id(item.gid)):
            raise ConfigError(
                path, item.line, "has a uid or gid that is no number", "write the numbers that `id` prints"
            )
        if not item.home.startswith(b"/"):
            raise ConfigError(path, item.line, "has a home that does not start with /", "write the whole path")


def is_id(word: bytes) -> bool:
    """Whether this is a uid or gid in decimal; the greatest 32-bit number means "none" to the kernel."""
    return word.isdigit() and len(word) <= 10 and int(word) < 0xFFFFFFFF


def compile_cdb(assignments: list[Assignment]) -> bytes:
    """The whole users/cdb; byte for byte what qmail-newu makes."""
    maker = Maker()
    wildcards = b""
    for item in assignments:
        maker.add(item.key(), item.data())
        if item.prefix and item.local and item.local[-1:] not in wildcards:
            wildcards += item.local[-1:]
    maker.add(b"", wildcards)
    return maker.to_bytes()
