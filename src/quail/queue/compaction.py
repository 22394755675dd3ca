"""Keeping the journal short: the oldest segment goes once its live messages have been written again at the head.

Only the oldest segment is ever removed, so a mark never disappears before what it marks. Copies carry the recipients that are
left or will be in the bounce (with their first numbers), the schedule and the hold. They are built from the settled state and
must be the first entries of the next batch: every mark that they reflect lies before them, every later one behind them, so
that a message's last mark never lies in an older segment than one of its copies. Removals go by what is settled; each is
durable before the next.
"""

from collections.abc import Iterator

from quail.errors import PeerError
from quail.queue import records
from quail.queue.journal import COPY, Journal
from quail.queue.records import Accepted
from quail.queue.replay import Damage, Found, SegmentReader
from quail.queue.state import unpack
from quail.queue.store import Entry, LargeBody, StoreStoppedError

_SPARE_SEGMENTS = 4  # garbage that is never worth copying for


class Compaction:
    """The journal's housekeeping. `wanted` and `copies` belong to the thread that owns the state; `remove_oldest` blocks."""

    def __init__(self, journal: Journal) -> None:
        """One for each journal."""
        self._journal = journal
        self._walk: Iterator[Found | Damage] | None = None
        self._walked = 0
        self._copied = False  # something, since the walk began
        self._stuck = 0  # a segment with a live record that can't be found in it any more

    def removable(self) -> bool:
        """Whether nothing in the oldest segment is needed any more."""
        journal = self._journal
        oldest = self._oldest()
        state = journal.state
        return not (oldest == journal.current_segment or state.live.get(oldest, 0) or oldest in state.failures_in)

    def wanted(self, *, short_of_room: bool) -> bool:
        """Whether the oldest segment should be rewritten: more than half is garbage, or room is needed and any is."""
        journal = self._journal
        if self._oldest() in (journal.current_segment, self._stuck):
            return False
        live = sum(journal.state.live.values())
        garbage = journal.bytes_on_disk - live
        if short_of_room:
            return garbage > journal.segment_size // 2
        return garbage > max(live, _SPARE_SEGMENTS * journal.segment_size)

    def _oldest(self) -> int:
        return min(self._journal.ends, default=0)

    def _failures_in(self, segment: int) -> list[tuple[int, int, int]]:
        """Message, recipient and place of each needed failure in the segment."""
        if segment not in self._journal.state.failures_in:
            return []
        return [
            (number, recipient, place)
            for number, failures in self._journal.state.failures.items()
            for recipient, place in failures.items()
            if unpack(place)[0] == segment
        ]

    def copies(self, budget: int) -> list[Entry]:
        """Entries, of about `budget` bytes, that move what is live in the oldest segment to the head; none left: []. Call it
        only when the entries that it gave before are settled or refused.
        """
        journal, state = self._journal, self._journal.state
        oldest = self._oldest()
        entries: list[Entry] = []
        for number, recipient, failed_at in self._failures_in(oldest):
            envelope, time = journal.failure_record(number, recipient, failed_at)
            entries.append(Entry(records.FAILED, number, time, envelope, source=COPY))
            budget -= len(envelope)
            if budget < 0:
                return entries
        if self._walk is None or self._walked != oldest:
            stop = journal.ends[oldest]
            self._walk = iter(SegmentReader(journal.segments, oldest, stop, journal.secret, (oldest + 1, 0)))
            self._walked = oldest
            self._copied = False
        for item in self._walk:
            if not isinstance(item, Found) or item.header.kind != records.ACCEPTED:
                continue
            place = state.place(item.header.number)
            if place is None or place[:2] != (oldest, item.offset):
                continue
            entry = self._copy(item)
            entries.append(entry)
            self._copied = True
            budget -= len(entry.envelope) + sum(map(len, entry.body)) + records.RECORD_HEADER
            if budget < 0:
                return entries
        if not entries:
            self._walk = None  # the next call starts again: copies of a refused batch are still to be made
            if not self._copied and state.live.get(oldest, 0):
                self._stuck = oldest  # its live record has gone bad since the start; the next one sets it aside
        return entries

    def _copy(self, found: Found) -> Entry:
        journal, header = self._journal, found.header
        number = header.number
        try:
            accepted = Accepted.decode(found.envelope)
        except PeerError as error:
            raise StoreStoppedError(f"{journal.segments.path(found.segment)}: message {number}: {error}") from error
        accepted.recipients = journal.state.named(number, accepted.recipients)
        accepted.retry = journal.state.retry(number)
        accepted.held = number in journal.state.held
        if header.flags & records.BODY_FILE:
            large = LargeBody(number, -1, header.body_length, header.body_sum)
            return Entry(records.ACCEPTED, number, header.time, accepted.encode(), (), large, source=COPY)
        body = journal.inline_body(header, found.segment, found.offset)
        return Entry(
            records.ACCEPTED, number, header.time, accepted.encode(), (body,), body_sum=header.body_sum, source=COPY
        )

    def remove_oldest(self) -> bool:
        """Unlink the oldest segment and make that durable; call when removable() said so. False: it is still there.
        StoreStoppedError when it may or
        may not be gone: an older one must never outlive a newer one's marks.
        """
        journal = self._journal
        oldest = self._oldest()
        try:
            journal.segments.remove(oldest)
        except FileNotFoundError:
            pass  # a number that was abandoned before its file existed
        except OSError:
            return False
        try:
            journal.segments.sync_names()
        except OSError as error:
            raise StoreStoppedError(
                f"cannot sync {journal.segments.directory} after removing a segment: {error}"
            ) from error
        journal.bytes_on_disk -= journal.ends.pop(oldest)
        journal.state.live.pop(oldest, None)
        return True
