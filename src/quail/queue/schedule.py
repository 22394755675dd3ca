"""When what is tried: qmail's quadratic schedule, and queues in which destinations take turns. Pure: the caller has the clock.

New mail is never starved by old: each destination serves four fresh messages for one that is tried again. A destination has
its own limit, so a slow one holds back only its own mail (DESIGN, Scheduling).
"""

from collections import deque
from math import isqrt

LOCAL = "local"
REMOTE = "remote"
_SKIP = {LOCAL: 10, REMOTE: 20}
_FRESH_FOR_EACH_RETRY = 4


def next_try(channel: str, birth: int, now: int) -> int:
    """Seconds since 1970 of the next try of a message whose pass starts now (qmail-send; facts 7.3)."""
    age = max(0, now - birth)
    return birth + (isqrt(age) + _SKIP[channel]) ** 2


class Destination:
    """Messages that wait for one destination. `running` counts its deliveries in flight."""

    __slots__ = ("_turns", "fresh", "listed", "retry", "running")

    def __init__(self) -> None:
        """Nothing waits."""
        self.fresh: deque[int] = deque()
        self.retry: deque[int] = deque()
        self.running = 0
        self.listed = False  # in the channel's round of turns
        self._turns = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self.fresh or self.retry)

    def pop(self) -> int:
        """The message whose turn it is."""
        if not self.retry or (self.fresh and self._turns < _FRESH_FOR_EACH_RETRY):
            self._turns += 1
            return self.fresh.popleft()
        self._turns = 0
        return self.retry.popleft()


class Channel:
    """Local or remote: its destinations, its limits, and whose turn it is."""

    def __init__(self, name: str, *, limit: int, limit_each: int) -> None:
        """`limit` deliveries at a time, `limit_each` to one destination."""
        self.name = name
        self.limit = limit
        self.limit_each = limit_each
        self.running = 0
        self._destinations: dict[bytes, Destination] = {}
        self._round: deque[bytes] = deque()

    def add(self, destination: bytes, number: int, *, fresh: bool, front: bool = False) -> None:
        """The message waits for its turn at the destination."""
        place = self._destinations.get(destination)
        if place is None:
            place = self._destinations[destination] = Destination()
        line = place.fresh if fresh else place.retry
        if front:
            line.appendleft(number)
        else:
            line.append(number)
        self._list(destination, place)

    def _list(self, destination: bytes, place: Destination) -> None:
        if not place.listed and place.running < self.limit_each:
            place.listed = True
            self._round.append(destination)

    def next(self) -> tuple[bytes, int] | None:
        """Destination and message of the next delivery that the limits allow; None when there is none now. The caller then
        calls started() for each delivery, or add() with front=True to put it back.
        """
        while self._round and self.running < self.limit:
            destination = self._round.popleft()
            place = self._destinations[destination]
            place.listed = False
            if place and place.running < self.limit_each:
                number = place.pop()
                if place:
                    self._list(destination, place)
                return destination, number
            self._tidy(destination, place)
        return None

    def room(self, destination: bytes) -> int:
        """How many more deliveries may start at the destination now."""
        place = self._destinations.get(destination)
        running = place.running if place is not None else 0
        return min(self.limit - self.running, self.limit_each - running)

    def started(self, destination: bytes) -> None:
        """One delivery begins."""
        place = self._destinations.setdefault(destination, Destination())
        place.running += 1
        self.running += 1

    def ended(self, destination: bytes) -> None:
        """One delivery has its report."""
        place = self._destinations[destination]
        place.running -= 1
        self.running -= 1
        if place:
            self._list(destination, place)
        else:
            self._tidy(destination, place)

    def _tidy(self, destination: bytes, place: Destination) -> None:
        if not place and not place.running and not place.listed:
            self._destinations.pop(destination, None)

    def waiting(self) -> int:
        """Entries that wait for a turn."""
        return sum(len(place.fresh) + len(place.retry) for place in self._destinations.values())
