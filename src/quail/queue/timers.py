"""When which message is tried again. Pure: the caller has the clock."""

import heapq

from quail.queue.state import State

SPARE = 10_000  # timers that are out of date, before they are swept out
# A timer is one number, (seconds << 44 | message << 1 | remote), because there may be millions.
_NUMBER = (1 << 43) - 1
_WHOSE = (1 << 44) - 1


class Timers:
    """Times are in seconds since 1970. Timers of messages that are over do no harm: the caller looks."""

    def __init__(self, state: State) -> None:
        """`state` tells which messages are live."""
        self._state = state
        self._heap: list[int] = []
        self._rush: list[int] = []  # what everything_is_due() has made due, the latest first

    def __len__(self) -> int:
        """How many, those out of date too."""
        return len(self._heap) + len(self._rush)

    def set(self, number: int, *, remote: bool, when: int) -> None:
        """Try the message again then."""
        heapq.heappush(self._heap, when << 44 | number << 1 | remote)
        if len(self._heap) > 4 * len(self._state) + SPARE:
            self._sweep()

    def _sweep(self) -> None:
        """Whoever retries everything again and again leaves old timers behind: the last of each message counts."""
        latest: dict[int, int] = {}
        for timer in sorted(self._heap):
            if (timer >> 1 & _NUMBER) in self._state:
                latest[timer & _WHOSE] = timer
        self._heap = sorted(latest.values())

    def next(self) -> int | None:
        """When the first is due."""
        return self._heap[0] >> 44 if self._heap else None

    def everything_is_due(self) -> None:
        """Whatever was said before; not what is set later."""
        self._rush = sorted(self._rush + self._heap, reverse=True)
        self._heap = []

    def take(self, now: int) -> tuple[int, bool] | None:
        """A message that is due, and whether its remote recipients are."""
        if self._rush:
            timer = self._rush.pop()
        elif self._heap and self._heap[0] >> 44 <= now:
            timer = heapq.heappop(self._heap)
        else:
            return None
        return timer >> 1 & _NUMBER, bool(timer & 1)
