"""Whose is a local part that users/cdb does not know? The machine's accounts decide (qmail-getpw(8)), and at last alias.

The whole local part may be an account, or what stands before one of its dashes, the longest first; the rest is the extension.
The account must not be root and must own its home. Whatever belongs to nobody is alias's.

Beyond qmail-getpw: an answer that the name service can't give is an error and never "no such user"; the accounts that Quail's
own services run as get no mail, since no delivery may run as them; and an account whose home can't be seen from here, because
a folder above it is closed to us, counts, since its own deliveries may well see it.
"""

import errno
import os
from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.net.users_protocol import Owner
from quail.oserrors import words

TYPE_CHECKING = False
if TYPE_CHECKING:  # loads ctypes
    from quail.users.nss import Entry

    ByName = Callable[[bytes], Entry | None]

BREAK = b"-"
LONGEST = 31  # bytes of a name that is looked up
ALIAS = b"alias"
SERVICES = frozenset((b"qmaild", b"qmaill", b"qmailp", b"qmailpop", b"qmailq", b"qmailr", b"qmails"))
"""Accounts as which no delivery runs, root aside: the services' own."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_CLOSED = (errno.EACCES, errno.EPERM)


class HomeError(TemporaryError):
    """A home that should be looked at can't be, just now."""


class NoAliasError(TemporaryError):
    """There is no account alias that could take what belongs to nobody."""


def find(local: bytes, by_name: "ByName | None" = None) -> Owner:
    """The owner of a local part among the accounts of this machine.

    by_name: nss.by_name or its like. TemporaryError if it can't be told: HomeError, NoAliasError, or what by_name raises.
    """
    look_up = by_name or _name_service()
    for end in _ends(local):
        entry = look_up(local[:end].lower())
        if entry is not None and gets_mail(entry.name, entry.uid) and owns_home(entry):
            dash = BREAK if end < len(local) else b""
            return Owner(entry.name, entry.uid, entry.gid, entry.home, dash, local[end + 1 :])
    entry = look_up(ALIAS)
    if entry is None:
        raise NoAliasError("unable to find alias user")
    if entry.uid == 0 or not entry.home.startswith(b"/"):
        raise NoAliasError("the account alias must not have uid 0, and its home must be a whole path")
    return Owner(entry.name, entry.uid, entry.gid, entry.home, BREAK, local)


def _name_service() -> "ByName":
    from quail.users.nss import by_name  # noqa: PLC0415  loads ctypes; see there

    return by_name


def gets_mail(name: bytes, uid: int) -> bool:
    """Whether deliveries may run as this account: neither root nor a service of ours."""
    return uid != 0 and name not in SERVICES


def owns_home(entry: "Entry") -> bool:
    """Whether the account's home is there and its own, or may be. HomeError if that can't be told."""
    if not entry.home.startswith(b"/"):
        return False
    try:
        return os.stat(entry.home).st_uid == entry.uid
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        if error.errno in _CLOSED:
            return True
        home, name = os.fsdecode(entry.home), os.fsdecode(entry.name)
        raise HomeError(f"unable to look at home directory {home} of user {name}: {words(error)}") from error


def _ends(local: bytes) -> list[int]:
    """Where the name of an account may end in it, the longest first."""
    if b"\0" in local:
        return []
    ends = [at for at in range(min(len(local), LONGEST + 1)) if local[at : at + 1] == BREAK]
    ends.append(len(local))
    return [end for end in reversed(ends) if 0 < end <= LONGEST and local[:end].lower() not in SERVICES]
