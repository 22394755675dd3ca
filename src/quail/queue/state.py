"""What the queue remembers of every message: where it lies, what is done, when it is tried again.

A million messages have to fit beside everything else, so the table is a handful of arrays sorted by message number (some
thirty bytes a message); only messages that are part done, failed in part or held have objects of their own.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_REBUILD_AT = 1024  # removed rows that are worth a rebuild of the arrays
_OFFSET_BITS = 32  # a segment has at most 64 MiB and a batch; as many are left for its number (segments.MOST)


def pack(segment: int, offset: int) -> int:
    """A place in the journal as one number."""
    return segment << _OFFSET_BITS | offset


def unpack(place: int) -> tuple[int, int]:
    """Segment and offset."""
    return place >> _OFFSET_BITS, place & (1 << _OFFSET_BITS) - 1


class State:
    """The live messages. `live` counts the bytes of each segment that are still needed; `done`, `failures` (recipient number
    to place of its record) and `held` have entries only for messages that need one.
    """

    def __init__(self) -> None:
        """Empty."""
        self._numbers = array("Q")
        self._places = array("Q")  # 0: removed
        self._sizes = array("I")  # of the record in the journal, bytes
        self._local = array("I")  # next try, seconds since 1970; 0: not deferred
        self._remote = array("I")
        self._removed = 0
        self.live: dict[int, int] = {}
        self.done: dict[int, set[int]] = {}
        self.only: dict[int, frozenset[int]] = {}  # recipients that every copy has, where copies differ
        self.failures: dict[int, dict[int, int]] = {}
        self.failures_in: dict[int, int] = {}  # how many of them each segment has
        self.held: set[int] = set()
        self.large: set[int] = set()  # their body is a file of its own

    def __len__(self) -> int:
        """Number of live messages."""
        return len(self._numbers) - self._removed

    def __contains__(self, number: int) -> bool:
        """Whether the message is live."""
        return self._row(number) >= 0

    def __iter__(self) -> Iterator[int]:
        """Numbers of the live messages, oldest first. Rows must not be added or removed meanwhile."""
        return (number for number, place in zip(self._numbers, self._places, strict=True) if place)

    def after(self, number: int, count: int) -> list[int]:
        """Up to `count` live numbers greater than `number`, ascending: one page of a listing."""
        row = bisect_left(self._numbers, number + 1)
        page: list[int] = []
        while row < len(self._numbers) and len(page) < count:
            if self._places[row]:
                page.append(self._numbers[row])
            row += 1
        return page

    def _row(self, number: int) -> int:
        row = bisect_left(self._numbers, number)
        if row < len(self._numbers) and self._numbers[row] == number and self._places[row]:
            return row
        return -1

    def place(self, number: int) -> tuple[int, int, int] | None:
        """Segment, offset and size of the message's record; None if it is not live."""
        row = self._row(number)
        return None if row < 0 else (*unpack(self._places[row]), self._sizes[row])

    def retry(self, number: int) -> tuple[int, int]:
        """When (local, remote) try again, seconds since 1970; 0 for a channel that was not deferred."""
        row = self._row(number)
        return (0, 0) if row < 0 else (self._local[row], self._remote[row])

    def accept(self, number: int, segment: int, offset: int, size: int, retry: tuple[int, int] = (0, 0)) -> None:
        """A message is in the journal, or has been copied to a new place in it."""
        self.live[segment] = self.live.get(segment, 0) + size
        row = bisect_left(self._numbers, number)
        if row < len(self._numbers) and self._numbers[row] == number:
            if self._places[row]:
                self.live[unpack(self._places[row])[0]] -= self._sizes[row]
            else:
                self._removed -= 1
            self._places[row] = pack(segment, offset)
            self._sizes[row] = size
            self._local[row], self._remote[row] = retry
            return
        for column, value in (
            (self._numbers, number),
            (self._places, pack(segment, offset)),
            (self._sizes, size),
            (self._local, retry[0]),
            (self._remote, retry[1]),
        ):
            column.insert(row, value)

    def defer(self, number: int, local: int, remote: int) -> None:
        """The channels try again then (seconds since 1970)."""
        row = self._row(number)
        if row >= 0:
            self._local[row], self._remote[row] = local, remote

    def recipient_done(self, number: int, recipient: int) -> None:
        """One recipient needs nothing more."""
        self.done.setdefault(number, set()).add(recipient)

    def recipient_failed(self, number: int, recipient: int, segment: int, offset: int) -> None:
        """One recipient failed for good; the report lies at that place."""
        self.recipient_done(number, recipient)
        places = self.failures.setdefault(number, {})
        self._forget_failures([places[recipient]] if recipient in places else ())
        places[recipient] = pack(segment, offset)
        self.failures_in[segment] = self.failures_in.get(segment, 0) + 1

    def _forget_failures(self, places: Iterable[int]) -> None:
        for place in places:
            segment, _ = unpack(place)
            self.failures_in[segment] -= 1
            if not self.failures_in[segment]:
                del self.failures_in[segment]

    def restrict(self, number: int, recipients: Iterable[int]) -> None:
        """A copy has only these recipients: nobody else is left."""
        kept = frozenset(recipients)
        before = self.only.get(number)
        self.only[number] = kept if before is None else kept & before

    def left(self, number: int, recipients: dict[int, bytes]) -> dict[int, bytes]:
        """Those of the recipients that still need something."""
        done, only = self.done.get(number), self.only.get(number)
        if done is None and only is None:
            return recipients
        return {
            n: address
            for n, address in recipients.items()
            if (done is None or n not in done) and (only is None or n in only)
        }

    def named(self, number: int, recipients: dict[int, bytes]) -> dict[int, bytes]:
        """Those that a copy of the message has to name: who still needs something, and who will be in its bounce."""
        left, failures = self.left(number, recipients), self.failures.get(number, {})
        return {n: address for n, address in recipients.items() if n in left or n in failures}

    def finish(self, number: int) -> None:
        """Nothing is left to do: forget the message."""
        self.done.pop(number, None)
        self.only.pop(number, None)
        self._forget_failures(self.failures.pop(number, {}).values())
        self.held.discard(number)
        self.large.discard(number)
        row = self._row(number)
        if row < 0:
            return
        self.live[unpack(self._places[row])[0]] -= self._sizes[row]
        self._places[row] = 0
        self._removed += 1
        if self._removed > _REBUILD_AT and self._removed * 2 > len(self._numbers):
            self._rebuild()

    def forget_strays(self) -> None:
        """After a replay: drop what was said of messages that are not live."""
        for number in [number for number in self.failures if number not in self]:
            self._forget_failures(self.failures.pop(number).values())
        for table in (self.done, self.only):
            for number in [number for number in table if number not in self]:
                del table[number]
        self.held = {number for number in self.held if number in self}
        self.large = {number for number in self.large if number in self}

    def _rebuild(self) -> None:
        keep = [row for row, place in enumerate(self._places) if place]
        self._numbers = array("Q", [self._numbers[row] for row in keep])
        self._sizes = array("I", [self._sizes[row] for row in keep])
        self._local = array("I", [self._local[row] for row in keep])
        self._remote = array("I", [self._remote[row] for row in keep])
        self._places = array("Q", [self._places[row] for row in keep])
        self._removed = 0
