"""The access rules that a new home starts with."""

import os

from quail.net.tcprules import compile_rules
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.storage.folders import make_folder

RULES = b"""\
# Who may connect to the SMTP server, and who may relay through it. To let a host relay, put a line like these before the last
# (the second is for programs of this machine that speak SMTP instead of calling sendmail):
#   192.0.2.7:allow,RELAYCLIENT=""
#   127.:allow,RELAYCLIENT=""
# and compile the rules, in this folder:
#   tcprules qmail-smtp.cdb qmail-smtp.tmp < qmail-smtp
:allow
"""


def write_rules(folder: str, *, calls: SystemCalls = REAL) -> None:
    """Make qmail-smtp and qmail-smtp.cdb in the folder: everybody may connect, nobody may relay."""
    path = f"{folder}/qmail-smtp"
    replace_file(path, RULES, calls=calls)
    replace_file(f"{path}.cdb", compile_rules(RULES, path), calls=calls)


def complete_rules(folder: str, other: str, *, calls: SystemCalls = REAL) -> str | None:
    """Make what is missing of the two, and the folder; returns the path of the text if it was made.

    A site that has its rules elsewhere (the file `other`) keeps them there: ours would take precedence.
    """
    path = f"{folder}/qmail-smtp"
    if os.path.lexists(f"{path}.cdb") or (os.path.exists(other) and not os.path.lexists(path)):
        return None
    make_folder(folder, calls=calls)
    is_new = not os.path.lexists(path)
    if is_new:
        replace_file(path, RULES, calls=calls)
    with open(path, "rb") as file:
        replace_file(f"{path}.cdb", compile_rules(file.read(), path), calls=calls)
    return path if is_new else None
