"""Children of a worker: whose turn it is. What they do: tests/system/test_dotqmail_programs.py."""

import socket
import time

from quail.delivery import children
from quail.delivery.batch import Delivery
from quail.delivery.children import Children
from quail.delivery.message import Message
from quail.delivery.order import Order


def delivery(tag):
    return Delivery(tag, Order(b"u", "/", b"u", b"", b"", b"ex.org", b"s@x.y", Message(b"")))


def test_a_worker_that_was_held_up_itself_puts_nobody_off_for_whom_there_is_room(monkeypatch):
    monkeypatch.setattr(children, "MOST", 1)
    monkeypatch.setattr(children, "PATIENCE", 0.2)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        several = Children(ours, lambda _order, _log: 0)
        several.give([delivery(1), delivery(2)])
        ended, _ = several.wait(patient=False)
        time.sleep(0.5)  # in a batch, say, that waited for the disk; the first child has ended long since
        while several.busy:
            ended += several.wait()[0]
    assert [(one.tag, one.letter) for one in ended] == [(1, b"K"), (2, b"K")]
