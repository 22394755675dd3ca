"""What a resolver remembers: answers and failures, for as long as they hold, and no more than a number of records."""

from _collections_abc import Callable
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """The least recently used goes first. `most` is in records: one answer may hold thousands, and its sender chooses."""

    __slots__ = ("_clock", "_entries", "_most", "_weight")

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._most = most
        self._clock = clock
        self._entries: OrderedDict[Key, tuple[float, int, Value]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """None: not known, or not any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: Key, value: Value, ttl: float, records: int = 1) -> None:
        """Remember for so many seconds."""
        self._forget(key)
        weight = max(1, records)
        self._entries[key] = (self._clock() + ttl, weight, value)
        self._weight += weight
        while self._weight > self._most:
            self._weight -= self._entries.popitem(last=False)[1][1]

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._weight -= entry[1]
