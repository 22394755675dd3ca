"""Giving a message to the queue, from any process that has one: to $QMAILQUEUE, or qmail-qmqpc in a null client, else to the
queue service, else to the drop.

Imported by programs that run once per message: keep it lean.
"""

import os
from _collections_abc import Iterable

from quail.errors import PeerError
from quail.queue.handover import MAX_ADDRESS, MAX_ENVELOPE, MAX_RECIPIENTS, Client, Reply
from quail.queue.instead import queue_program
from quail.storage.spool import Spool


def submit(sender: bytes, recipients: list[bytes], chunks: Iterable[bytes], *, home: str) -> Reply:
    """Queue one message; `home` is the installation's, an absolute path.

    K and a number when it is durable: the queue's own, the process's of $QMAILQUEUE, or ours if the message waits in the
    drop. Else Z or D and a text. No trouble of the queue is raised; an exception out of `chunks` abandons the message and
    passes on. `chunks` is iterated once, and never held in memory as a whole unless it is small.
    """
    command = queue_program(home)
    if command is not None:
        from quail.queue.program import QueueProgram  # noqa: PLC0415  few need it

        return QueueProgram(command, home).send(sender, recipients, chunks)
    spool = Spool(chunks)
    try:
        return enqueue(sender, recipients, spool, home=home)
    finally:
        spool.close()


def enqueue(sender: bytes, recipients: list[bytes], spool: Spool, *, home: str) -> Reply:
    """The same for a message that is in a spool, without regard to $QMAILQUEUE. The spool stays open."""
    refusal = _refusal(sender, recipients)
    if refusal is not None:
        return refusal
    try:
        return _hand_over(sender, recipients, spool, home)
    except (OSError, PeerError) as error:
        # The queue is down, or went down before it answered. Twice is better than never.
        if error is spool.failed:
            raise
    return _drop(sender, recipients, spool, home)


def _refusal(sender: bytes, recipients: list[bytes]) -> Reply | None:
    """What the queue would not take must not wait for it in the drop."""
    is_short = 3 + sum([len(address) + 2 for address in (sender, *recipients)]) <= MAX_ENVELOPE
    unfit = [address for address in (sender, *recipients) if len(address) > MAX_ADDRESS or b"\0" in address]
    if is_short and not unfit and len(recipients) <= MAX_RECIPIENTS:
        return None
    from quail.queue import exits  # noqa: PLC0415  only for a failure

    if len(recipients) > MAX_RECIPIENTS:
        return exits.TOO_MANY
    if unfit:
        return exits.reply(exits.ADDRESS_TOO_LONG) if len(unfit[0]) > MAX_ADDRESS else exits.UNFIT
    return exits.reply(exits.REFUSED)


def _hand_over(sender: bytes, recipients: list[bytes], spool: Spool, home: str) -> Reply:
    client = Client(f"{home}/run/queue.sock")
    try:
        return client.send(sender, recipients, spool.chunks())
    finally:
        client.close()


def _drop(sender: bytes, recipients: list[bytes], spool: Spool, home: str) -> Reply:
    from quail.queue import exits  # noqa: PLC0415  only while the queue service is down
    from quail.queue.drop_writer import leave  # noqa: PLC0415

    try:
        leave(sender, recipients, spool.chunks(last=True), directory=f"{home}/queue/drop")
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if error is spool.failed:
            raise
        return exits.reply(exits.NO_QUEUE if os.path.isdir(home) else exits.NO_HOME)
    except OSError as error:
        if error is spool.failed:
            raise
        return exits.reply(exits.WRITE_ERROR)
    return Reply(b"K", b"%d" % os.getpid())
