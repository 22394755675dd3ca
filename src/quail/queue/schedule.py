"""When what is tried: qmail's quadratic schedule, and queues in which destinations take turns. Pure: the caller has the clock.

New mail is never starved by old: four turns of destinations with fresh messages come for one of those with messages that are
tried again. A destination has its own limit, so a slow one holds back only its own mail (DESIGN, Scheduling).

A local user can keep a delivery waiting as long as he likes. So a local destination has no more deliveries than are free: one
has half of all at most, two that never end a third each if they come together, and there is room for others after several.
"""

from collections import deque
from math import isqrt

from quail.queue.records import MAX_TIME

LOCAL = "local"
REMOTE = "remote"
_SKIP = {LOCAL: 10, REMOTE: 20}
_FRESH_FOR_EACH_RETRY = 4


def next_try(channel: str, birth: int, now: int) -> int:
    """Seconds since 1970 of the next try of a message whose pass starts now (qmail-send; facts 7.3)."""
    age = max(0, now - birth)
    return min(birth + (isqrt(age) + _SKIP[channel]) ** 2, MAX_TIME)


class Destination:
    """Messages that wait for one destination. `running` counts its deliveries in flight, `listed` tells in which of the
    channel's rounds it is (a bit for each). There may be hundreds of thousands with one message each.
    """

    __slots__ = ("_lines", "listed", "running")

    def __init__(self) -> None:
        """Nothing waits."""
        # To be tried again; fresh. A line of one is its number.
        self._lines: list[int | deque[int] | None] = [None, None]
        self.listed = 0
        self.running = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return self._lines[0] is not None or self._lines[1] is not None

    def put(self, number: int, *, fresh: bool, front: bool) -> None:
        """At the end of a line, or before all others."""
        line = self._lines[fresh]
        if line is None:
            self._lines[fresh] = number
            return
        if isinstance(line, int):
            line = self._lines[fresh] = deque((line,))
        if front:
            line.appendleft(number)
        else:
            line.append(number)

    def waits(self, fresh: bool) -> bool:
        """Whether anybody is in this line."""
        return self._lines[fresh] is not None

    def take(self, fresh: bool) -> int:
        """The first of a line that is not empty."""
        line = self._lines[fresh]
        if isinstance(line, deque):
            number = line.popleft()
            if not line:
                self._lines[fresh] = None
            return number
        assert line is not None
        self._lines[fresh] = None
        return line

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(line) if isinstance(line, deque) else line is not None for line in self._lines)


class Channel:
    """Local or remote: its destinations, its limits, and whose turn it is."""

    def __init__(self, name: str, *, limit: int, limit_each: int) -> None:
        """`limit` deliveries at a time, `limit_each` to one destination."""
        self.name = name
        self.limit = limit
        self.limit_each = limit_each
        self.running = 0
        self._destinations: dict[bytes, Destination] = {}
        # Destinations in turn: those with messages to be tried again, and those with fresh ones.
        self._rounds: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._fresh_turns = 0
        self._leaves_room = name == LOCAL
        # Those that had as many deliveries as were free, or more, by how many they have: they come after all others.
        self._held: dict[int, dict[bytes, None]] = {}

    def set_limits(self, limit: int, limit_each: int) -> None:
        """Others from now on; who had no turn because of the old ones has one now."""
        self.limit = limit
        self.limit_each = limit_each
        self._held.clear()
        for destination, place in self._destinations.items():
            self._list(destination, place)

    def add(self, destination: bytes, number: int, *, fresh: bool, front: bool = False) -> None:
        """The message waits for its turn at the destination."""
        place = self._destinations.get(destination)
        if place is None:
            place = self._destinations[destination] = Destination()
        place.put(number, fresh=fresh, front=front)
        self._list(destination, place)

    def _list(self, destination: bytes, place: Destination) -> None:
        if place.running >= self.limit_each or not place:
            return
        if not self._may_start(place):
            self._held.setdefault(place.running, {})[destination] = None
            return
        for fresh in (False, True):
            if place.waits(fresh) and not place.listed & 1 << fresh:
                place.listed |= 1 << fresh
                self._rounds[fresh].append(destination)

    def _may_start(self, place: Destination) -> bool:
        if self._leaves_room and place.running >= max(1, self.limit - self.running):
            return False
        return place.running < self.limit_each

    def next(self) -> tuple[bytes, int, bool] | None:
        """Destination and message of the next delivery that the limits allow, and whether it is fresh; None when there is none
        now. The caller calls started() for each delivery, if there is any.
        """
        while self.running < self.limit and (self._rounds[True] or self._rounds[False] or self._list_held()):
            fresh = not self._rounds[False] or (bool(self._rounds[True]) and self._fresh_turns < _FRESH_FOR_EACH_RETRY)
            destination = self._rounds[fresh].popleft()
            place = self._destinations[destination]
            place.listed &= ~(1 << fresh)
            if place.waits(fresh) and self._may_start(place):
                self._fresh_turns = self._fresh_turns + 1 if fresh else 0
                number = place.take(fresh)
                self._list(destination, place)
                self._tidy(destination, place)
                return destination, number, fresh
            self._list(destination, place)  # if it can't start now, it is held
            self._tidy(destination, place)
        return None

    def room(self, destination: bytes) -> int:
        """How many more deliveries may start at the destination now."""
        place = self._destinations.get(destination)
        running = place.running if place is not None else 0
        free = self.limit - self.running
        most = min(free, self.limit_each - running)
        return min(most, (free - running + 1) // 2) if self._leaves_room else most

    def started(self, destination: bytes) -> None:
        """One delivery begins."""
        place = self._destinations.setdefault(destination, Destination())
        self._release(destination, place)
        place.running += 1
        self.running += 1

    def ended(self, destination: bytes) -> None:
        """One delivery has its report."""
        place = self._destinations[destination]
        self._release(destination, place)
        place.running -= 1
        self.running -= 1
        if place:
            self._list(destination, place)
        else:
            self._tidy(destination, place)

    def _list_held(self) -> bool:
        """Back into its rounds with one that may start now after all; whether there is one."""
        while (fewest := min(self._held, default=self.limit)) < self.limit - self.running:
            destination = next(iter(self._held[fewest]))
            place = self._destinations[destination]
            self._release(destination, place)
            self._list(destination, place)
            if place.listed:
                return True
        return False

    def _release(self, destination: bytes, place: Destination) -> None:
        held = self._held.get(place.running)
        if held is not None:
            held.pop(destination, None)
            if not held:
                del self._held[place.running]

    def _tidy(self, destination: bytes, place: Destination) -> None:
        if not (place or place.running or place.listed):
            self._destinations.pop(destination, None)

    def waiting(self) -> int:
        """Entries that wait for a turn."""
        return sum(map(len, self._destinations.values()))
