"""The names by which other programs of the machine find sendmail."""

import errno
import os

from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import sync_directory

_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)  # some systems let nobody change /usr
NAMES = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases")


def make(home: str, *, root: str = "", calls: SystemCalls = REAL) -> tuple[list[str], list[str]]:
    """Lead every name to sendmail of the absolute home, unless something else has it.

    root: what stands before every path, for tests. Returns (names that were made, names that something else has or that
    can't be made).
    """
    target = f"{home}/bin/sendmail"
    made, taken = [], []
    for name in NAMES:
        path = root + name
        if os.path.lexists(path):
            if os.path.realpath(path) != os.path.realpath(target):
                taken.append(path)
        elif os.path.isdir(os.path.dirname(path)):
            try:
                calls.symlink(target, path)
            except OSError as error:
                if error.errno not in _CLOSED:
                    raise
                taken.append(path)
                continue
            sync_directory(calls, os.path.dirname(path))
            made.append(path)
    return made, taken
