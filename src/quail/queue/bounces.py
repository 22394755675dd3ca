"""Bounces and double bounces: what they say and to whom (qmail-send(8), QSBMF). Pure but for reading the store."""

from typing import Any

from quail.message import bounce
from quail.message.routing import Routes
from quail.queue.store import DamagedBodyError, Store

_DAMAGED = b"\n--- The message itself has been damaged on disk and is left out.\n"
_CUT = b"\n--- The rest of the message is left out here: it has %d bytes in all.\n"


class Teller:
    """Who bounces come from and where double bounces go; the control files of these names."""

    __slots__ = ("bouncefrom", "bouncehost", "double_to")

    def __init__(self, bouncefrom: bytes, bouncehost: bytes, double_to: bytes) -> None:
        """`double_to` is a whole address; empty if double bounces are to be dropped."""
        self.bouncefrom = bouncefrom
        self.bouncehost = bouncehost
        self.double_to = double_to


class Bounce:
    """A message to be queued: envelope and body."""

    __slots__ = ("body", "recipient", "sender")

    def __init__(self, sender: bytes, recipient: bytes, body: bytes) -> None:
        """The body has no Received field yet."""
        self.sender = sender
        self.recipient = recipient
        self.body = body


def compose(store: Store[Any], teller: Teller, routes: Routes, number: int, now: float, *, copy: int) -> Bounce | None:
    """The bounce for a message all of whose recipients are done; None when nobody is to be told (a triple bounce, or a
    double one with an empty doublebounceto). At most `copy` bytes of the original follow. OSError, TemporaryError when the
    journal can't be read.
    """
    stored = store.read(number, body=False)
    sender = stored.accepted.sender
    to = bounce.envelope(sender, teller.double_to)
    if to is None or not to[1]:
        return None
    original, tail = _original(store, number, copy)
    paragraphs = []
    for recipient, report in store.failures(number):
        _, address = routes.route(stored.accepted.recipients.get(recipient, b"?"))
        paragraphs.append(bounce.paragraph(routes.strip_prepend(address), report))
    head = bounce.compose(
        sender=sender,
        to=to[1],
        bouncefrom=teller.bouncefrom,
        bouncehost=teller.bouncehost,
        paragraphs=paragraphs,
        seconds=now,
    )
    return Bounce(*to, b"".join((head, original, tail)))


def _original(store: Store[Any], number: int, copy: int) -> tuple[bytes, bytes]:
    """As much of the message as is wanted, and what to say behind it."""
    try:
        stored = store.read(number, body=True)
    except DamagedBodyError:
        return b"", _DAMAGED
    try:
        original = stored.body if stored.body is not None else store.read_descriptor(stored.fd, copy)
    finally:
        store.close_descriptor(stored.fd)
    return original[:copy], _CUT % stored.size if stored.size > copy else b""
