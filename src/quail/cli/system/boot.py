"""boot/ of a system home: scripts that start it, one of which a site copies to /var/qmail/rc and changes as it likes.

Names and shape are those that sites know: home, home+df, proc and proc+df, with the log to syslog. What they deliver to is this
home's Maildirs.
"""

import os
import shlex

from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.storage.folders import make_folder

FOLDER = "boot"
# What each one says of itself, and the lines of its default delivery.
SCRIPTS = {
    "home": ("Mail goes to ~/Maildir/.", ("./Maildir/",)),
    "home+df": ("Mail goes to ~/Maildir/, or as ~/.forward says.", ("|dot-forward .forward", "./Maildir/")),
    "proc": ("Mail goes to procmail.", ("|preline procmail",)),
    "proc+df": ("Mail goes to procmail, or as ~/.forward says.", ("|dot-forward .forward", "|preline procmail")),
}


def text(name: str, home: str) -> bytes:
    """The script of this name, for an absolute home."""
    what, lines = SCRIPTS[name]
    programs = shlex.quote(f"{home}/bin")
    delivery = "\n".join(lines)
    return os.fsencode(
        f"#!/bin/sh\n\n# {what} A user's .qmail says otherwise. The log goes to syslog.\n\n"
        f"exec env - PATH={programs}:\"$PATH\" \\\nqmail-start '{delivery}' splogger qmail\n"
    )


def complete(home: str, *, owner: tuple[int, int], calls: SystemCalls = REAL) -> None:
    """Write those that are not there. OSError if that fails."""
    make_folder(f"{home}/{FOLDER}", owner=owner, calls=calls)
    for name in SCRIPTS:
        path = f"{home}/{FOLDER}/{name}"
        if not os.path.lexists(path):
            replace_file(path, text(name, home), mode=0o755, owner=owner, calls=calls)
