"""When what is tried: qmail's quadratic schedule, and queues in which destinations take turns. Pure: the caller has the clock.

New mail is never starved by old: four turns of destinations with fresh messages come for one of those with messages that are
tried again. A destination has its own limit, so a slow one holds back only its own mail (DESIGN, Scheduling).
docs/decisions/0012-remote-turns.md.
"""

from collections import deque
from math import isqrt

from quail.queue.records import MAX_TIME
from quail.queue.standings import FIRST_WINDOW, Standings

LOCAL = "local"
REMOTE = "remote"
_SKIP = {LOCAL: 10, REMOTE: 20}
_FRESH_FOR_EACH_RETRY = 4
_ROUNDED = 1e-6  # that five fifths may miss of one
PROVEN_WITHIN = 2.0  # seconds for a transaction


def next_try(channel: str, birth: int, now: int) -> int:
    """Seconds since 1970 of the next try of a message whose pass starts now (qmail-send; facts 7.3). One that was queued before
    the clock was set back is as old as if it were queued now: it does not wait until its birth comes again.
    """
    birth = min(birth, now)
    age = now - birth
    return min(birth + (isqrt(age) + _SKIP[channel]) ** 2, MAX_TIME)


class Destination:
    """Messages that wait for one destination. `running` counts its slots, `listed` tells in which of the channel's rounds it is
    (a bit for each line of them); `window` and `proven` are of remote ones. There may be hundreds of thousands with one message
    each.
    """

    __slots__ = ("_lines", "listed", "proven", "running", "window")

    def __init__(self, window: float = FIRST_WINDOW, *, proven: bool = False) -> None:
        """Nothing waits."""
        # To be tried again; fresh. A line of one is its number.
        self._lines: list[int | deque[int] | None] = [None, None]
        self.listed = 0
        self.running = 0
        self.window = window
        self.proven = proven

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


class Rounds:
    """Destinations in turn: those with messages to be tried again, and those with fresh ones."""

    def __init__(self, place: int) -> None:
        """`place` counts the rounds of a channel, from 0."""
        self._bits = (1 << 2 * place, 2 << 2 * place)
        self._lines: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._fresh_turns = 0

    def __bool__(self) -> bool:
        """Whether anybody may want a turn."""
        return bool(self._lines[0] or self._lines[1])

    def put(self, name: bytes, destination: Destination) -> None:
        """Behind the others, for what waits there; once."""
        for fresh in (False, True):
            if destination.waits(fresh) and not destination.listed & self._bits[fresh]:
                destination.listed |= self._bits[fresh]
                self._lines[fresh].append(name)

    def pop(self, destinations: dict[bytes, Destination]) -> tuple[bytes, Destination, bool]:
        """Who comes next, and whether for a fresh message. It may want no turn any more."""
        retries, news = self._lines
        fresh = not retries or (bool(news) and self._fresh_turns < _FRESH_FOR_EACH_RETRY)
        name = self._lines[fresh].popleft()
        destination = destinations[name]
        destination.listed &= ~self._bits[fresh]
        return name, destination, fresh

    def had_turn(self, *, fresh: bool) -> None:
        """Count it."""
        self._fresh_turns = self._fresh_turns + 1 if fresh else 0


class Channel:
    """A kind of deliveries: its destinations, its limits, and whose turn it is. A slot is what a group takes while it is on its
    way. A kind says who may start (_may_start) and in which rounds (_open).
    """

    name: str
    together = 1
    """Recipients of a group, at most."""

    def __init__(self, *, limit: int, limit_each: int) -> None:
        """`limit` slots, `limit_each` for one destination."""
        self.limit = limit
        self.limit_each = limit_each
        self.running = 0
        self._destinations: dict[bytes, Destination] = {}
        self._rounds = (Rounds(0), Rounds(1))  # of destinations that are not proven, as local ones are; of others
        self._last = self._rounds[0]  # where the last turn was

    def set_limits(self, limit: int, limit_each: int) -> None:
        """Others from now on; who had no turn because of the old ones has one now."""
        self.limit = limit
        self.limit_each = limit_each
        for name, destination in self._destinations.items():
            self._list(name, destination)

    def add(self, name: bytes, number: int, *, fresh: bool, front: bool = False) -> None:
        """The message waits for its turn at the destination."""
        destination = self._at(name)
        destination.put(number, fresh=fresh, front=front)
        self._list(name, destination)

    def next(self) -> tuple[bytes, int, bool] | None:
        """Destination and message of the next group that the limits allow, and whether it is fresh; None when there is none
        now. The caller calls started() if there is a group.
        """
        while (rounds := self._open()) is not None:
            name, destination, fresh = rounds.pop(self._destinations)
            number = None
            if destination.waits(fresh) and rounds is self._rounds[destination.proven] and self._may_start(destination):
                rounds.had_turn(fresh=fresh)
                self._last = rounds
                number = destination.take(fresh)
            self._list(name, destination)
            self._tidy(name, destination)
            if number is not None:
                return name, number, fresh
        return None

    def started(self, name: bytes) -> None:
        """A group begins."""
        self._at(name).running += 1
        self.running += 1

    def learn(self, name: bytes, *, seconds: float, host_down: bool) -> None:
        """A group has its last report, `seconds` after it began; `host_down`: its host took no message from anybody."""

    def ended(self, name: bytes) -> None:
        """A slot is given back."""
        destination = self._destinations[name]
        destination.running -= 1
        self.running -= 1
        self._list(name, destination)
        self._tidy(name, destination)

    def waiting(self) -> int:
        """Entries that wait for a turn."""
        return sum(map(len, self._destinations.values()))

    def _open(self) -> Rounds | None:
        """Where the next turn is taken; None when nothing may start."""
        raise NotImplementedError

    def _may_start(self, destination: Destination) -> bool:
        return destination.running < self.limit_each

    def _at(self, name: bytes) -> Destination:
        destination = self._destinations.get(name)
        if destination is None:
            destination = self._destinations[name] = Destination()
        return destination

    def _list(self, name: bytes, destination: Destination) -> None:
        """Let it have turns, if it may: who has all its slots is listed again when one of them is given back. If its standing
        has changed it may still be listed in the other rounds, too: there it is passed by.
        """
        if destination and self._may_start(destination):
            self._rounds[destination.proven].put(name, destination)

    def _tidy(self, name: bytes, destination: Destination) -> None:
        if not (destination or destination.running or destination.listed):
            self._destinations.pop(name, None)


class LocalChannel(Channel):
    """A local user can keep a delivery waiting as long as he likes. So a destination has no more deliveries than are free: one
    has half of all at most, two that never end a third each if they come together, and there is room for others after several.
    """

    name = LOCAL

    def __init__(self, *, limit: int, limit_each: int) -> None:
        """See Channel."""
        super().__init__(limit=limit, limit_each=limit_each)
        # Those that had as many deliveries as were free, or more, by how many they have: they come after all others.
        self._held: dict[int, dict[bytes, None]] = {}

    def set_limits(self, limit: int, limit_each: int) -> None:
        """See Channel."""
        self._held.clear()
        super().set_limits(limit, limit_each)

    def started(self, name: bytes) -> None:
        """See Channel."""
        self._release(name, self._at(name))
        super().started(name)

    def ended(self, name: bytes) -> None:
        """See Channel."""
        self._release(name, self._destinations[name])
        super().ended(name)

    def _open(self) -> Rounds | None:
        rounds = self._rounds[0]
        return rounds if self.running < self.limit and (rounds or self._list_held()) else None

    def _may_start(self, destination: Destination) -> bool:
        return super()._may_start(destination) and destination.running < max(1, self.limit - self.running)

    def _list(self, name: bytes, destination: Destination) -> None:
        if destination and destination.running < self.limit_each and not self._may_start(destination):
            self._held.setdefault(destination.running, {})[name] = None
        else:
            super()._list(name, destination)

    def _list_held(self) -> bool:
        """Back into its rounds with one that may start now after all; whether there is one."""
        while (fewest := min(self._held, default=self.limit)) < self.limit - self.running:
            name = next(iter(self._held[fewest]))
            destination = self._destinations[name]
            self._release(name, destination)
            self._list(name, destination)
            if destination.listed:
                return True
        return False

    def _release(self, name: bytes, destination: Destination) -> None:
        held = self._held.get(destination.running)
        if held is not None:
            held.pop(name, None)
            if not held:
                del self._held[destination.running]


class RemoteChannel(Channel):
    """A remote host may be slow, or dead, and there may be thousands of such hosts. A destination is proven when its last group
    was quick and its host was there. Those that are not, new ones too, never have the last quarter of the slots, whoever they
    are; where both may start, they take turns. A window for each destination grows by one when as many groups as it holds have
    ended well, and is halved when its host is down.
    """

    name = REMOTE
    together = 100  # every SMTP server must take so many (RFC 5321, 4.5.3.1.8)

    def __init__(self, *, limit: int, limit_each: int) -> None:
        """See Channel."""
        super().__init__(limit=limit, limit_each=limit_each)
        self._standings = Standings()
        self._unproven = 0  # slots that are taken by destinations that are not proven

    def started(self, name: bytes) -> None:
        """See Channel."""
        self._unproven += not self._at(name).proven
        super().started(name)

    def learn(self, name: bytes, *, seconds: float, host_down: bool) -> None:
        """See Channel."""
        destination = self._destinations[name]
        window = min(destination.window, self.limit_each)
        destination.window = max(1, window / 2) if host_down else min(window + 1 / int(window), self.limit_each)
        proven = seconds < PROVEN_WITHIN and not host_down
        if proven != destination.proven:
            destination.proven = proven
            self._unproven += -destination.running if proven else destination.running
        self._standings.remember(name, destination.window, proven=proven)

    def ended(self, name: bytes) -> None:
        """See Channel."""
        self._unproven -= not self._destinations[name].proven
        super().ended(name)

    def _open(self) -> Rounds | None:
        if self.running >= self.limit:
            return None
        unproven, proven = self._rounds
        if not unproven or self._unproven >= max(1, self.limit - self.limit // 4):
            return proven or None
        return unproven if self._last is proven or not proven else proven

    def _may_start(self, destination: Destination) -> bool:
        return destination.running + 1 <= min(destination.window + _ROUNDED, self.limit_each)

    def _at(self, name: bytes) -> Destination:
        destination = self._destinations.get(name)
        if destination is None:
            window, proven = self._standings.recall(name)
            destination = self._destinations[name] = Destination(window, proven=proven)
        return destination
