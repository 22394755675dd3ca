"""The journal in the lab: a queue's life at random, and what the journal must show of it after every crash.

It uses the journal as services/queue.py does: batches of new messages and marks, copies of the oldest segment's messages first
in their batch, refused messages discarded, marks of a failed batch repeated in the next, segments removed when nothing in
them is needed. Large bodies are written while other batches pass.
"""

import random
from collections.abc import Iterable

from tests.crash.ledger import Ledger, Message, Seen
from tests.crash.simdisk import SimDisk

from quail.errors import TemporaryError
from quail.queue import records
from quail.queue.compaction import Compaction
from quail.queue.journal import COPY, Journal
from quail.queue.recovery import Opened, open_journal
from quail.queue.store import Entry, LargeBody
from quail.storage.durable import sync_directory

SEGMENT = 24 << 10
_NOW = 1_700_000_000


class JournalSubject:
    """One run of `steps` batches; the same seed does the same as long as no call fails."""

    gives_up: tuple[type[BaseException], ...] = (TemporaryError,)

    def __init__(self, seed: int, *, steps: int = 14, segment_size: int = SEGMENT, keep: int = 3) -> None:
        """From `keep` segments on, the oldest one is rewritten."""
        self.seed = seed
        self.rng = random.Random(seed)
        self.others = random.Random(~seed)
        self.steps = steps
        self.segment_size = segment_size
        self.keep = keep
        self.ledger = Ledger()
        self.waiting: list[Entry] = []  # marks, and refused ones to be repeated
        self.writing: list[tuple[Entry, records.Accepted, bytes]] = []  # large bodies under way
        self.compacting = False  # copies are on their way, or a segment is being removed
        self.kinds: dict[str, int] = {}  # what the run has done, so that a test can see that it has done everything

    # What the lab calls

    def prepare(self, disk: SimDisk) -> None:
        disk.mkdir("queue")
        sync_directory(disk, ".")

    def run(self, disk: SimDisk) -> bool:
        """False if the store has stopped."""
        try:
            opened = self.recover(disk)
            self.work(opened)
            opened.journal.close()
        except TemporaryError:
            return False
        return True

    def recover(self, disk: SimDisk) -> Opened:
        secret = random.Random(self.seed).randbytes
        return open_journal("queue", calls=disk, segment_size=self.segment_size, random_bytes=secret)

    def verify(self, store: object) -> None:
        assert isinstance(store, Opened)
        seen = self.look(store.journal)
        self.ledger.check(seen, store.journal.new_number())

    def after(self, store: object) -> "JournalSubject":
        assert isinstance(store, Opened)
        other = JournalSubject(self.others.randrange(1 << 30), steps=6, segment_size=self.segment_size, keep=self.keep)
        other.seed = self.seed
        other.ledger = self.ledger.shown(self.look(store.journal))
        return other

    def go_on(self, store: object) -> None:
        assert isinstance(store, Opened)
        self.work(store)

    # Reading

    def look(self, journal: Journal, numbers: Iterable[int] | None = None) -> dict[int, Seen]:
        """Every live message, or these, whole."""
        state = journal.state
        seen = {}
        for number in list(state) if numbers is None else numbers:
            stored = journal.read(number, body=True)
            body = stored.body
            if body is None:
                body = journal.calls.pread(stored.fd, stored.size + 1, 0)
                journal.calls.close(stored.fd)
            left = state.left(number, stored.accepted.recipients)
            failures = dict(journal.failures(number))
            seen[number] = Seen(stored, body, left, failures, state.retry(number), held=number in state.held)
        return seen

    # A queue's life

    def work(self, opened: Opened) -> None:
        journal = opened.journal
        compaction = Compaction(journal)
        for _ in range(self.steps):
            self._housekeeping(compaction)
            entries = self._copies(compaction)
            self.compacting = bool(entries)
            busy = {entry.number for entry in self.waiting}
            entries += self.waiting
            self.waiting = []
            entries += self._marks(busy)
            entries += self._arrivals(journal)
            if entries:
                self._commit(journal, entries)

    def _note(self, what: str) -> None:
        self.kinds[what] = self.kinds.get(what, 0) + 1

    def _housekeeping(self, compaction: Compaction) -> None:
        while compaction.removable():
            self.compacting = True
            before = len(compaction._journal.ends)
            compaction.remove_oldest()
            if len(compaction._journal.ends) == before:
                return
            self._note("segment removed")

    def _copies(self, compaction: Compaction) -> list[Entry]:
        journal = compaction._journal
        if len(journal.ends) < self.keep or self.rng.random() < 0.3:
            return []
        try:
            copies = compaction.copies(6000)
        except OSError:
            return []
        if copies:
            self._note("copies")
        return copies

    def _accepted(self) -> records.Accepted:
        count = self.rng.choice((1, 1, 2, 5))
        recipients = {n: b"r%d.%d@host" % (n, self.rng.randrange(1000)) for n in range(count)}
        sender = self.rng.choice((b"", b"a@b", b"long" * self.rng.randrange(1, 200) + b"@b"))
        attributes = ((b"id", b"x%d" % self.rng.randrange(99)),) if self.rng.random() < 0.3 else ()
        return records.Accepted(sender, recipients, uid=self.rng.randrange(2000), pid=7, attributes=attributes)

    def _arrivals(self, journal: Journal) -> list[Entry]:
        rng = self.rng
        entries = []
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            number, time, accepted = journal.new_number(), _NOW * 1_000_000 + rng.randrange(10**9), self._accepted()
            if rng.random() < 0.3:
                body = rng.randbytes(rng.choice((3000, 9000)))
                try:
                    large = journal.new_large_body(number)
                except OSError:
                    continue
                self.writing.append(
                    (Entry(records.ACCEPTED, number, time, accepted.encode(), (), large), accepted, body)
                )
            else:
                # A body may look like a record, and be empty.
                start = journal.secret + records.BATCH_MAGIC if rng.random() < 0.2 else b""
                body = start + rng.randbytes(rng.choice((0, 10, 600, 5000)))
                entry = Entry(records.ACCEPTED, number, time, accepted.encode(), (body[:3], body[3:]))
                self.ledger.add(entry, accepted, body)
                entries.append(entry)
        return entries + self._large(journal)

    def _large(self, journal: Journal) -> list[Entry]:
        """Write on at large bodies; return those that are whole."""
        whole = []
        for item in list(self.writing):
            entry, accepted, body = item
            large = entry.large
            assert isinstance(large, LargeBody)
            if self.rng.random() < 0.05:
                self._note("abandoned")
                journal.discard_large(large)
                self.writing.remove(item)
                continue
            try:
                journal.large_write(large, body[large.length : large.length + 4000])
            except OSError:
                journal.discard_large(large)
                self.writing.remove(item)
                continue
            if large.length == len(body):
                self.writing.remove(item)
                self.ledger.add(entry, accepted, body)
                whole.append(entry)
                self._note("large")
        return whole

    def _marks(self, busy: set[int]) -> list[Entry]:
        """What deliveries and the operator have done to messages that wait for no other mark."""
        entries: list[Entry] = []
        for message in self.ledger.live():
            if message.number not in busy and self.rng.random() < 0.5:
                entries += self._marks_of(message)
        return entries

    def _marks_of(self, message: Message) -> list[Entry]:
        rng = self.rng
        number, time = message.number, _NOW * 1_000_000
        left = message.left()
        rng.shuffle(left)
        entries = []
        for recipient in left[: rng.choice((0, 1, 1, 2))]:
            left.remove(recipient)
            if rng.random() < 0.7:
                entries.append(Entry(records.DONE, number, time, b"%d" % recipient))
            else:
                report = b"no such user " * rng.choice((1, 40))
                entries.append(Entry(records.FAILED, number, time, records.encode_failure(recipient, report)))
        if not left:
            entries.append(Entry(records.FINISHED, number, time))
        elif rng.random() < 0.3:
            schedule = b"%d,%d" % (_NOW + rng.randrange(9999), rng.choice((0, _NOW)))
            entries.append(Entry(records.DEFERRED, number, time, schedule))
        elif rng.random() < 0.2:
            entries.append(Entry(records.RELEASED if message.holds[0] else records.HELD, number, time))
        return entries

    def _commit(self, journal: Journal, entries: list[Entry]) -> None:
        while entries:
            plan = journal.lay_out(entries)
            self.ledger.begin(plan.entries)
            if plan.opens:
                self._note("new segment")
            if journal.write(plan):
                journal.settle(plan)
                self.ledger.settle(plan.entries)
                for entry in plan.entries:
                    if entry.kind == records.FINISHED:
                        self._note("finished")
                        journal.remove_large(entry.number)
            else:
                self._note("refused batch")
                self.ledger.withdraw(plan.entries)
                for entry in plan.entries:
                    if entry.kind != records.ACCEPTED and entry.source is None:
                        self.waiting.append(entry)
                    elif entry.large is not None and entry.source is not COPY:
                        journal.discard_large(entry.large)
            # A copy that did not fit is made again, from the state as it is by then.
            entries = [entry for entry in entries if entry.source is not COPY]
