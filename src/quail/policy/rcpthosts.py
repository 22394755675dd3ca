"""For which hosts is mail from strangers accepted? control/rcpthosts and morercpthosts.cdb (qmail-smtpd(8)).

An entry is a host, or `.suffix` for every host below it; the host is looked up whole and then from each of its dots on, in any
letter case. Unlike qmail, which without rcpthosts relays for all the world, Quail then accepts nobody.
"""

from _collections_abc import Iterable, Iterator

from quail.cdb.file import Follower


class RecipientHosts:
    """The list, and the database for thousands more, which is looked at as it is at each question."""

    __slots__ = ("_listed", "_more")

    def __init__(self, listed: Iterable[bytes], more: Follower | None = None) -> None:
        self._listed = frozenset(name.lower() for name in listed)
        self._more = more

    def accepts(self, host: bytes) -> bool:
        """`host` is what stands behind the last @. TemporaryError if the database can't be read."""
        host = host.lower()
        if host in self._listed:
            return True
        if any(suffix in self._listed for suffix in _suffixes(host)):
            return True
        database = self._more.current() if self._more is not None else None
        if database is None:
            return False
        return database.get(host) is not None or any(database.get(suffix) is not None for suffix in _suffixes(host))


def _suffixes(host: bytes) -> Iterator[bytes]:
    dot = host.find(b".")
    while dot >= 0:
        yield host[dot:]
        dot = host.find(b".", dot + 1)
