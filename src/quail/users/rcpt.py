"""Does a local recipient exist? What smtpd asks at RCPT, so that mail for nobody is refused and never bounced.

It exists if it has an owner (quail.users.owners) and either nothing is left open (`dash` is empty) or the owner has a
dot-qmail file for it, and that does not leave it to a forwarding database that lacks it (quail.users.forwarded). When that
can't be seen from here, because the home is closed to us, the mail is taken and the delivery decides.
"""

import errno
import os
import stat
from _collections_abc import Callable

from quail.errors import QuailError
from quail.net.users_protocol import KNOWN, TROUBLE, UNKNOWN, Owner
from quail.oserrors import words
from quail.users.forwarded import Forwarded
from quail.users.getpw import ALIAS
from quail.users.qmailfile import candidates

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)
_CLOSED = (errno.EACCES, errno.EPERM)


def check(
    local: bytes, find: Callable[[bytes], Owner | None], *, host: bytes = b"", forwarded: Forwarded | None = None
) -> tuple[bytes, bytes]:
    """(KNOWN, b"") or (UNKNOWN, b"") or (TROUBLE, what is wrong, for the log).

    local, host: after all rewriting, letter case as it came. find: Owners.find or its like; its QuailError is TROUBLE.
    forwarded: without it forwarding databases are not looked at.
    """
    if not possible(local):
        return UNKNOWN, b""
    try:
        owner = find(local)
    except QuailError as error:
        return TROUBLE, str(error).encode(errors="surrogateescape")
    if owner is None:
        return UNKNOWN, b""
    if not owner.dash:
        return KNOWN, b""
    path = owner.home
    try:
        for name, default in candidates(owner.dash, owner.ext):
            path = owner.home + b"/" + name
            if _is_file(path):
                asked = forwarded if owner.user == ALIAS else None
                refused = asked is not None and asked.refuses(path, owner.ext if default is None else default, host)
                return UNKNOWN if refused else KNOWN, b""
        path = owner.home
        os.stat(path + b"/")  # a home that is not there, or not mounted now, doesn't say that nobody lives in it
    except OSError as error:
        if error.errno in _CLOSED:
            return KNOWN, b""
        return TROUBLE, path + b": " + words(error).encode()
    return UNKNOWN, b""


def possible(local: bytes) -> bool:
    """Whether there can be such a recipient at all. qmail-lspawn takes mail for "@host" and drops it: better refused."""
    return bool(local) and b"\0" not in local


def _is_file(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
