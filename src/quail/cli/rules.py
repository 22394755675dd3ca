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

QMQP_RULES = b"""\
# Which hosts may hand their mail to the QMQP server, for anybody anywhere. Nobody else may connect. To let one in, put a line
# like this here, and never :allow alone:
#   192.0.2.8:allow
# and compile the rules, in this folder:
#   tcprules qmail-qmqp.cdb qmail-qmqp.tmp < qmail-qmqp
"""

POP3_RULES = b"""\
# Who may connect to the POP3 server. After a change compile the rules, in this folder:
#   tcprules qmail-pop3.cdb qmail-pop3.tmp < qmail-pop3
:allow
"""
_RULES = {"smtp": RULES, "pop3": POP3_RULES, "qmqp": QMQP_RULES}


def write_rules(folder: str, *, calls: SystemCalls = REAL) -> None:
    """Make the rules of each service in the folder, and compile them: everybody may connect, but for QMQP; nobody may relay."""
    for service, rules in _RULES.items():
        path = f"{folder}/qmail-{service}"
        replace_file(path, rules, calls=calls)
        replace_file(f"{path}.cdb", compile_rules(rules, path), calls=calls)


def complete_rules(folder: str, others: str, *, calls: SystemCalls = REAL) -> str | None:
    """Make what is missing of them, and the folder; returns the path of the text for SMTP if it was made.

    A site that has its rules elsewhere (files `others` with the service's name for {}) keeps them there: ours would take
    precedence.
    """
    made = None
    for service, rules in _RULES.items():
        path = f"{folder}/qmail-{service}"
        other = others.format(service)
        if os.path.lexists(f"{path}.cdb") or (os.path.exists(other) and not os.path.lexists(path)):
            continue
        make_folder(folder, calls=calls)
        if not os.path.lexists(path):
            replace_file(path, rules, calls=calls)
            made = path if service == "smtp" else made
        with open(path, "rb") as file:
            replace_file(f"{path}.cdb", compile_rules(file.read(), path), calls=calls)
    return made
