"""What takes mail in place of the queue service: $QMAILQUEUE; else qmail-qmqpc, where bin/qmail-queue is a link to it.

A null client has no queue of its own, and says so by that link, as it always has.
"""

import os

_LINK = b"qmail-queue"
_NULL_CLIENT = b"qmail-qmqpc"


def queue_program(home: str) -> bytes | None:
    """The path of the program, seen from the home; None: mail goes to the queue."""
    command = os.environb.get(b"QMAILQUEUE")
    return command if command is not None else b"bin/" + _LINK if is_null_client(home) else None


def is_null_client(home: str) -> bool:
    """Whether the home's bin/qmail-queue is a link to qmail-qmqpc."""
    try:
        target = os.readlink(os.fsencode(home) + b"/bin/" + _LINK)
    except OSError:
        return False
    return target.rpartition(b"/")[2] == _NULL_CLIENT
