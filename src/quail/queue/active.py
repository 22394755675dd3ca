"""A message while something happens to it: its envelope taken apart, and its body while there is room to keep it."""

import os
from collections.abc import Iterator

from quail.queue.records import Accepted

_FEW = 8  # recipients that are sooner looked through than sorted into lines


class Active:
    """One live message in memory. `left` maps recipients that still need something to (channel, address); `in_flight` are those
    on their way, `tried` those whose turn in this pass is over. `birth` is in seconds since 1970, `size` in bytes.
    """

    __slots__ = (
        "_lines", "accepted", "birth", "body", "failed", "fd", "in_flight", "left", "marks", "next_try", "number", "removed",
        "size", "tried", "waiting",
    )  # fmt: skip

    def __init__(
        self, number: int, accepted: Accepted, birth: int, size: int, left: dict[int, tuple[str, bytes]]
    ) -> None:
        """Without its body."""
        self.number = number
        self.accepted = accepted
        self.birth = birth
        self.size = size
        self.left = left
        self._lines: dict[tuple[str, bytes], list[int]] | None = None
        self.body: bytes | None = None
        self.fd = -1
        self.in_flight: set[int] = set()
        self.tried: set[int] = set()
        self.next_try: dict[str, int] = {}  # of a channel that was deferred in this pass, seconds since 1970
        self.waiting = 0  # entries in queues of destinations that count on this object
        self.failed = False  # some recipient failed for good: a bounce is due
        self.marks = 0  # entries that are not settled yet
        self.removed = False  # by an operator, while deliveries were on their way

    def due(self, channel: str, destination: bytes) -> Iterator[int]:
        """Recipients whose turn it is at the destination, in their order. Nothing may change while they are looked at."""
        if len(self.left) <= _FEW:
            return (
                number
                for number, (where, address) in self.left.items()
                if where == channel and not self._had_its_turn(number) and destination_of(where, address) == destination
            )
        line = self._line(channel, destination)
        while line and self._had_its_turn(line[-1]):
            line.pop()
        return (number for number in reversed(line) if not self._had_its_turn(number))

    def _had_its_turn(self, number: int) -> bool:
        return number not in self.left or number in self.in_flight or number in self.tried

    def _line(self, channel: str, destination: bytes) -> list[int]:
        """The recipients of a destination, the first at the end, less some who had their turn: a long list is walked once, not
        for each of its destinations and groups.
        """
        if self._lines is None:
            self._lines = {}
            for number, (where, address) in reversed(self.left.items()):
                self._lines.setdefault((where, destination_of(where, address)), []).append(number)
        return self._lines.get((channel, destination), [])

    def new_turns(self) -> None:
        """Recipients that had their turn, or were on their way, have one again."""
        self._lines = None

    def destinations(self, channel: str) -> dict[bytes, None]:
        """Where the recipients of the channel are, each once, in their order."""
        return {
            destination_of(channel, address): None
            for number, (where, address) in self.left.items()
            if where == channel and number not in self.in_flight and number not in self.tried
        }

    def forget_body(self) -> None:
        """Let go of the body; it can be read again."""
        self.body = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def destination_of(channel: str, address: bytes) -> bytes:
    """Which addresses share a limit and a turn: those of one user (user, user-ext), or of one remote host."""
    local, _, host = address.rpartition(b"@")
    return (host if channel == "remote" else local.partition(b"-")[0]).lower()
