"""Whose is a local part? The answer of users/cdb (qmail-users(5), qmail-lspawn(8))."""

from quail.cdb.file import Database, Follower
from quail.cdb.layout import prefix_hashes
from quail.errors import ConfigError
from quail.net.users_protocol import Owner
from quail.users.assign import is_id, key

_FIELDS = 6
_REMEDY = "correct users/assign and run qmail-newu"


class Lookup:
    """One users/cdb for the life of a service: it may come, go and be replaced at any time, and each look-up sees that."""

    __slots__ = ("_file", "_known", "_required", "_wildcards")

    def __init__(self, path: str = "users/cdb", *, required: bool = False) -> None:
        """`required`: there is nobody but those in the file, so that without it nobody's absence can be told."""
        self._required = required
        self._file = Follower(path)
        self._known: Database | None = None
        self._wildcards = b""

    def find(self, local: bytes) -> Owner | None:
        """The owner, with `ext` completed by what a `+` line leaves open; None if no line speaks for this local part.

        An exact line comes first, then the longest `+` line. Letter case matters only in what is appended to ext.
        TemporaryError if the file can't be read, ConfigError if it is missed or holds what no delivery can follow.
        """
        database = self._file.current()
        if database is None:
            if self._required:
                raise ConfigError(self._file.path, 0, "does not exist", "call quail user rebuild")
            return None
        if database is not self._known:
            wildcards = database.get(b"")
            if wildcards is None:
                raise ConfigError(self._file.path, 0, "is not a file that qmail-newu has made", "run qmail-newu")
            self._wildcards, self._known = wildcards, database
        lowered = local.lower()
        data = database.get(key(lowered, prefix=False))
        if data is not None:
            return self._owner(data, b"", local)
        longest = key(lowered, prefix=True)
        hashes = prefix_hashes(longest)  # all at once: a local part may have a wildcard in each of its thousand bytes
        for end in range(len(longest), 0, -1):
            if end == 1 or longest[end - 1] in self._wildcards:
                data = database.get(longest[:end], hashed=hashes[end])
                if data is not None:
                    return self._owner(data, local[end - 1 :], local)
        return None

    def _owner(self, data: bytes, rest: bytes, local: bytes) -> Owner:
        fields = data.split(b"\0")
        if len(fields) != _FIELDS:
            raise self._unfit(local, "is not user, uid, gid, home, dash, ext")
        user, uid, gid, home, dash, ext = fields
        if not (is_id(uid) and is_id(gid)):
            raise self._unfit(local, "has a uid or gid that is no number")
        if not home.startswith(b"/"):
            raise self._unfit(local, "has a home that does not start with /")
        return Owner(user, int(uid), int(gid), home, dash, ext + rest)

    def _unfit(self, local: bytes, reason: str) -> ConfigError:
        return ConfigError(
            self._file.path, 0, f"the entry for {local.decode('ascii', 'backslashreplace')} {reason}", _REMEDY
        )
