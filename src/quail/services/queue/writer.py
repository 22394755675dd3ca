"""Group commit: what waits goes to disk as one batch while the next one gathers. One thread does nothing but write and sync."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

from quail.errors import QuailError
from quail.queue import records
from quail.queue.compaction import Compaction
from quail.queue.journal import COPY, Journal, JournalPlan
from quail.queue.store import Entry, StoreStoppedError

_COPY_BUDGET = 1 << 20  # bytes of old messages that one batch carries along
_RETRY_AFTER_FAILURE = 1.0  # seconds until marks of a failed batch are tried again
_BATCHES_BEFORE_REMOVAL = 32  # that go first while a segment could be removed
_ROOM_EVERY = 1.0  # seconds between looks at the free space
_REMOVE = object()  # work: remove the oldest segment
_END = object()  # work: none any more


class Writer:
    """Entries in, settled or refused entries out. Lives in the event loop's thread; only Journal.write and the removal of
    segments run in its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        *,
        minfree: int,
        settled: Callable[[list[Entry]], None],
        refused: Callable[[list[Entry]], None],
        stopped: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        """`settled` gets a batch's entries once they are durable, `refused` the ACCEPTED entries of a failed batch; its marks
        are kept and tried again. `stopped` is called when the queue must end without answering.
        """
        self.minfree = minfree
        self.failing = False  # the last batch failed
        self.short_of_room = False
        self.refusing = False  # less than minfree is left
        self._loop = loop
        self._journal = journal
        self._compaction = Compaction(journal)
        self._pending: list[Entry] = []
        self._busy = False
        self._scheduled = False
        self._copies_left = False
        self._batches = 0  # since the last removal
        self._settled = settled
        self._refused = refused
        self._stopped = stopped
        self._log = log
        self._work: SimpleQueue[JournalPlan | object] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        self._look_for_room()

    # The event loop's side.

    def submit(self, entry: Entry) -> None:
        """The entry goes with the next batch."""
        self._pending.append(entry)
        self._schedule()

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being written."""
        return not (self._pending or self._busy)

    def _schedule(self) -> None:
        # While writes fail, only the timer tries again: every attempt costs a segment number.
        if not (self._busy or self._scheduled or self.failing):
            self._scheduled = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._busy:
            return
        if self._removal_is_due():
            self._batches = 0
            self._busy = True
            self._work.put(_REMOVE)
            return
        try:
            copies = self._copies()
        except (OSError, QuailError) as error:
            self._stopped(f"unable to read old segments: {error}")
            return
        # After a failure an empty batch, too, tells whether the disk can be written again.
        if not (self._pending or copies or self.failing):
            return
        self._batches += 1
        # Copies come first: they reflect what is settled, and every mark that waits must lie behind them.
        entries = copies + self._pending
        plan = self._journal.lay_out(entries)
        self._pending = entries
        self._busy = True
        self._work.put(plan)

    def _removal_is_due(self) -> bool:
        """A segment that nobody needs goes when there is time, or when room is more urgent than mail."""
        if self._batches < 0:
            return False  # the last removal has failed: not before some mail has gone
        urgent = self.failing or self.short_of_room or self._batches >= _BATCHES_BEFORE_REMOVAL
        return (urgent or not (self._pending or self._copies_left)) and self._compaction.removable()

    def _copies(self) -> list[Entry]:
        if self.failing or not (self._copies_left or self._compaction.wanted(short_of_room=self.short_of_room)):
            return []
        copies = self._compaction.copies(_COPY_BUDGET)
        self._copies_left = bool(copies)
        return copies

    def _done(self, plan: JournalPlan, written: bool) -> None:
        self._busy = False
        if written:
            try:
                self._journal.settle(plan)
            except Exception as error:
                # The next start reads from the disk what is true.
                self._stopped(f"internal error: {error!r}")
                return
            self.failing = False
            # A copy that did not fit the batch is made again from the state as it is now.
            self._pending = [entry for entry in self._pending if entry.source is not COPY]
            self._settled(plan.entries)
        else:
            self._failed(plan)
        self._go_on()

    def _go_on(self) -> None:
        if self._pending or self._copies_left or self._removal_is_due():
            self._schedule()

    def _removed(self, gone: bool) -> None:
        self._busy = False
        if not gone:
            self._batches = -_BATCHES_BEFORE_REMOVAL
        if self.failing:
            self._begin()  # its timer has been used up
        else:
            self._go_on()

    def _failed(self, plan: JournalPlan) -> None:
        refused = [entry for entry in plan.entries if entry.kind == records.ACCEPTED and entry.source is not COPY]
        marks = [entry for entry in plan.entries if entry.kind != records.ACCEPTED and entry.source is not COPY]
        self._pending = marks + [entry for entry in self._pending if entry.source is not COPY]
        self._copies_left = False
        if not self.failing:
            self._log("alert: unable to write to queue/journal: mail is refused, no delivery starts until it can be")
        self.failing = True
        self._refused(refused)
        self._loop.call_later(_RETRY_AFTER_FAILURE, self._begin)

    def _look_for_room(self) -> None:
        try:
            free = self._journal.free_bytes()
        except OSError:
            free = 0
        # Compaction starts while there is still room for its copies.
        self.short_of_room = free < 2 * self.minfree
        short = free < self.minfree
        if short and not self.refusing:
            self._log(f"alert: {free} bytes free for queue/: below minfree, mail is refused")
        self.refusing = short
        if self.short_of_room and not self._busy:
            self._schedule()
        self._loop.call_later(_ROOM_EVERY, self._look_for_room)

    def close(self) -> None:
        """End the thread; call when idle."""
        self._work.put(_END)
        self._thread.join()

    # The thread's side.

    def _run(self) -> None:
        while (work := self._work.get()) is not _END:
            try:
                if isinstance(work, JournalPlan):
                    written = self._journal.write(work)
                    self._loop.call_soon_threadsafe(self._done, work, written)
                else:
                    gone = self._compaction.remove_oldest()
                    self._loop.call_soon_threadsafe(self._removed, gone)
            except StoreStoppedError as error:
                self._loop.call_soon_threadsafe(self._stopped, str(error))
                return
            except Exception as error:
                # Without this thread nobody would ever get an answer again.
                self._loop.call_soon_threadsafe(self._stopped, f"internal error: {error!r}")
                return
