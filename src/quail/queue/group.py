"""What is handed to a delivery service at a time: recipients of one message that travel in one transaction."""

from collections.abc import Iterable

from quail.message.verp import expand
from quail.queue.active import Active


class Delivery:
    """One recipient on its way. `number` is the tag of its report, `recipient` its number in the message, `address` the
    recipient as delivery sees it.
    """

    __slots__ = ("address", "group", "number", "recipient")

    def __init__(self, number: int, group: "Group", recipient: int, address: bytes) -> None:
        """`number` counts from 1 in this process."""
        self.number = number
        self.group = group
        self.recipient = recipient
        self.address = address


class Group:
    """Has one slot of its channel and destination until the last of its reports is there. `sender` is already expanded (VERP).
    `began` is in seconds, by the dispatcher's clock; `missing` counts reports, one of which may have said `host_down`; `more`
    tells that somebody was left over.
    """

    __slots__ = ("began", "channel", "deliveries", "destination", "host_down", "message", "missing", "more", "sender")

    def __init__(
        self,
        message: Active,
        channel: str,
        destination: bytes,
        due: Iterable[int],
        *,
        most: int,
        first: int,
        began: float,
    ) -> None:
        """Of those that are due the first one, and who may go along with it, `most` in all; deliveries count from `first`."""
        self.message = message
        self.channel = channel
        self.destination = destination
        self.deliveries: list[Delivery] = []
        self.sender = b""
        self.more = False
        for number, recipient in enumerate(due, first):
            address = message.left[recipient][1]
            sender = expand(message.accepted.sender, address)
            if not self.deliveries:
                self.sender = sender
            elif sender != self.sender or len(self.deliveries) == most:
                self.more = True
                break
            self.deliveries.append(Delivery(number, self, recipient, address))
        self.missing = len(self.deliveries)
        self.began = began
        self.host_down = False
