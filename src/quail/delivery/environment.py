"""What programs of a dot-qmail file find in their environment (qmail-command(8), facts 6.8). Pure."""

import os
from collections.abc import Mapping

from quail.delivery.order import Order


def environment(
    base: Mapping[bytes, bytes], order: Order, *, default: bytes | None, new_sender: bytes, now: float
) -> dict[bytes, bytes]:
    """`base` and qmail-local's variables. default: what `default` in the file's name stands for, None if DEFAULT is not set.

    new_sender: who is to hear of bounces of forwarded copies. now: Unix time for the From_ line.
    """
    found = dict(base)
    found.pop(b"DEFAULT", None)
    if default is not None:
        found[b"DEFAULT"] = default
    found |= {
        b"SENDER": order.sender,
        b"NEWSENDER": new_sender,
        b"RECIPIENT": order.recipient,
        b"USER": order.user,
        b"HOME": os.fsencode(order.home),
        b"LOCAL": order.local,
        b"HOST": order.host,
        b"EXT": order.ext,
        b"DTLINE": order.delivered_to(),
        b"RPLINE": order.return_path(),
        b"UFLINE": order.from_line(now),
    }
    host, ext = order.host, order.ext
    for number in (b"2", b"3", b"4"):
        before, dot, _ = host.rpartition(b".")
        host = before if dot else host
        ext = ext.partition(b"-")[2]
        found[b"HOST" + number] = host
        found[b"EXT" + number] = ext
    return found
