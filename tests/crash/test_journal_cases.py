"""Crashes that deserve a case of their own: marks far from their message, a failed sync, damage in segments, a full disk."""

import errno

import pytest
from tests.crash.journal_subject import JournalSubject
from tests.crash.lab import faults_for
from tests.crash.simdisk import Fault, SimDisk

from quail.queue import records
from quail.queue.compaction import Compaction
from quail.queue.recovery import open_journal
from quail.queue.replay import Found, SegmentReader
from quail.queue.segments import Segments
from quail.queue.store import DamagedBodyError, Entry

NOW = 1_700_000_000_000_000


class Scripted(JournalSubject):
    """Does what a test's own script says, instead of a life at random."""

    def __init__(self, script, **options):
        super().__init__(1, **options)
        self.script = script

    def work(self, opened):
        self.script(self, opened.journal)

    def after(self, store):
        return JournalSubject.after(self, store)

    def accept(self, journal, body, recipients=1):
        """Accept one message, alone in its batch; return its number."""
        number = journal.new_number()
        accepted = records.Accepted(b"s@h", {n: b"r%d@h" % n for n in range(recipients)}, uid=1, pid=2)
        entry = Entry(records.ACCEPTED, number, NOW, accepted.encode(), (body,))
        self.ledger.add(entry, accepted, body)
        self._commit(journal, [entry])
        return number

    def mark(self, journal, kind, number, envelope=b""):
        self._commit(journal, [Entry(kind, number, NOW, envelope)])

    def roll_over(self, journal):
        """Finished messages until a new segment has begun."""
        segment = journal.current_segment
        while journal.current_segment == segment:
            self.mark(journal, records.FINISHED, self.accept(journal, b"x" * 3000))

    def compact(self, journal):
        """Rewrite and remove the oldest segment."""
        compaction = Compaction(journal)
        oldest = min(journal.ends)
        while oldest in journal.ends:
            self._housekeeping(compaction)
            copies = compaction.copies(1 << 20) if oldest in journal.ends else []
            if copies:
                self._commit(journal, copies)


def marks_in_other_segments(subject, journal):
    number = subject.accept(journal, b"kept", recipients=4)
    subject.mark(journal, records.DEFERRED, number, b"1700000001,0")
    subject.roll_over(journal)
    subject.mark(journal, records.DONE, number, b"0")
    subject.roll_over(journal)
    subject.mark(journal, records.FAILED, number, records.encode_failure(1, b"no such user"))
    subject.mark(journal, records.HELD, number)
    subject.roll_over(journal)
    subject.compact(journal)
    subject.mark(journal, records.DONE, number, b"2")
    subject.mark(journal, records.RELEASED, number)
    subject.compact(journal)
    subject.roll_over(journal)
    subject.compact(journal)
    assert subject.ledger.messages[number].left() == [3]
    subject.mark(journal, records.DONE, number, b"3")
    subject.roll_over(journal)
    subject.compact(journal)
    subject.mark(journal, records.FINISHED, number)
    subject.roll_over(journal)
    while len(journal.ends) > 1:
        subject.compact(journal)


def test_marks_whose_message_lies_in_another_segment(lab):
    lab.cuts(Scripted(marks_in_other_segments, segment_size=9 << 10), per_call=4, share=0.1, depth=1)
    assert lab.states > 100


@pytest.mark.long
def test_marks_whose_message_lies_in_another_segment_at_every_call(lab):
    lab.cuts(Scripted(marks_in_other_segments, segment_size=9 << 10), per_call=20, share=1.0, depth=1)


def accept_through_trouble(subject, journal):
    kept = subject.accept(journal, b"before" * 100, recipients=2)
    for _ in range(6):
        subject.accept(journal, b"refused or not" * 50)
        subject._commit(journal, subject.waiting)
        if kept in journal.state:
            subject._commit(journal, [Entry(records.DONE, kept, NOW, b"0")])


@pytest.mark.parametrize("how", ["dirty", "drop", "revert", "done"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_failed_sync_then_a_new_segment(lab, how, at):
    """The batch can't be cut off either, so that the next segment must name the valid end of this one."""
    seen = []

    def fault(_number, call, path):
        if call == "fdatasync" and path.endswith("1.seg"):
            seen.append(call)
            if len(seen) == at + 2:
                return Fault("errno", errno.EIO, sync=how)
        if len(seen) >= at + 2 and path.endswith("1.seg") and call in ("ftruncate", "fsync", "fdatasync", "pwritev"):
            return Fault("errno", errno.EIO, sync=how)
        return None

    lab.trouble(Scripted(accept_through_trouble), fault, per_call=3, share=0.15, depth=1)
    assert lab.faults == 2
    assert lab.states > 20


def test_a_queue_that_can_say_nothing_stops_without_an_answer(lab):
    """From some write on every write and sync fails: neither 250 nor 451 is true, and both must hold after the next start."""
    for first in range(20, 60, 3):
        lab.trouble(
            JournalSubject(first, steps=10),
            lambda number, call, _path, first=first: (
                Fault("errno", errno.EIO, part=0.5, sync="drop")
                if number >= first and call in ("pwritev", "write", "fsync", "fdatasync", "ftruncate")
                else None
            ),
            per_call=2,
            share=0.05,
            depth=0,
        )


def test_a_full_disk_refuses_and_loses_nothing(lab):
    refused = 0
    for kib in (40, 60, 80, 100, 140):
        run = JournalSubject(lab.rng.randrange(1 << 30), steps=30)
        disk = SimDisk(capacity=kib << 10, rng=lab.rng)
        run.prepare(disk)
        run.run(disk)
        refused += run.kinds.get("refused batch", 0)
        for state in (disk.killed(), *disk.crash_states(lab.rng, 10)):
            state.capacity = 1 << 40
            lab.examine(state, run, 1)
    assert refused


def test_no_descriptor_stays_open(lab):
    """Not even after failures; those of large bodies under way and the lock are meant to be."""
    for _ in range(60):
        seed, number = lab.rng.randrange(1 << 30), lab.rng.randrange(20, 120)
        run = JournalSubject(seed, steps=12)
        disk = SimDisk(rng=lab.rng)
        run.prepare(disk)
        disk.fault = lambda at, call, _path, number=number: lab.rng.choice(faults_for(call)) if at == number else None
        if run.run(disk):
            meant = {"queue/lock", *(f"queue/mess/{entry.number}" for entry, _, _ in run.writing)}
            assert {handle.path for handle in disk.handles.values()} == meant, f"seed {lab.seed}"


# Damage


def opened(disk, segment_size=1 << 20):
    return open_journal("queue", calls=disk, segment_size=segment_size, random_bytes=lambda size: b"S" * size)


def flip(disk, path, offset, bits=0xFF):
    node = disk._find(path)
    node._own()
    node.data[offset] ^= bits


def test_an_unanswered_message_whose_body_is_torn_stays_away_for_ever():
    """Its record's header is right, and after the next start it lies below the durable mark, where bodies are not read."""
    disk = SimDisk()
    disk.mkdir("queue")
    journal = opened(disk).journal
    envelope = records.Accepted(b"s@h", {0: b"r@h"}, uid=1, pid=2).encode()
    numbers = [journal.new_number() for _ in range(3)]
    assert journal.commit([Entry(records.ACCEPTED, numbers[0], NOW, envelope, (b"first",))])
    assert journal.commit([Entry(records.ACCEPTED, number, NOW, envelope, (b"body" * 9,)) for number in numbers[1:]])
    segment, offset, size = journal.state.place(numbers[1])
    disk = disk.killed()
    flip(disk, journal.segments.path(segment), offset + size - 1)
    for _ in range(3):
        again = opened(disk)
        assert list(again.journal.state) == [numbers[0], numbers[2]]
        next_number = again.journal.new_number()
        assert next_number > numbers[2]
        assert again.journal.commit([Entry(records.HELD, numbers[0], NOW)])
        disk = disk.killed()
    assert len(disk.listdir("queue/damaged")) == 2  # the record, once, and seen/


def test_starting_again_and_again_writes_nothing_again():
    disk = SimDisk()
    disk.mkdir("queue")
    journal = opened(disk).journal
    envelope = records.Accepted(b"s@h", {0: b"r@h"}, uid=1, pid=2).encode()
    for _ in range(20):
        assert journal.commit([Entry(records.ACCEPTED, journal.new_number(), NOW, envelope, (b"b" * 5000,))])
    sizes = []
    for _ in range(5):
        disk = disk.killed()
        journal = opened(disk).journal
        assert len(journal.state) == 20
        sizes.append(len(disk._find(journal.segments.path(journal.current_segment)).data))
    assert max(sizes) <= 4 * 4096


def record_ranges(disk, secret):
    """(path, start, stop, kind, message) of every record."""
    segments = Segments(disk, "queue/journal")
    found = []
    for number in segments.numbers():
        for item in SegmentReader(segments, number, segments.size(number), secret, (0, 0)):
            assert isinstance(item, Found)
            stop = item.offset + item.header.size
            found.append((segments.path(number), item.offset, stop, item.header.kind, item.header.number))
    segments.close()
    return found


def flips(lab, share):
    run = JournalSubject(lab.rng.randrange(1 << 30), steps=25)
    disk = SimDisk(rng=lab.rng)
    run.prepare(disk)
    run.run(disk)
    base = disk.killed()
    store = run.recover(base)
    secret = store.journal.secret
    store.journal.close()
    base = base.killed()
    ranges = record_ranges(base.killed(), secret)
    reported = 0
    for name in base.listdir("queue/journal"):
        path = f"queue/journal/{name}"
        for offset in range(len(base._find(path).data)):
            if lab.rng.random() < share:
                hit = [(kind, n) for p, start, stop, kind, n in ranges if p == path and start <= offset < stop]
                reported += flipped(lab, run, base.killed(), path, offset, hit)
    return reported


def flipped(lab, run, disk, path, offset, hit):
    """Flip one byte; check that every message but that of the record it hit is as it was. Tell whether it was reported."""
    lab.states += 1
    flip(disk, path, offset, 1 << lab.rng.randrange(8))
    store = run.recover(disk)
    journal = store.journal
    seen, damaged = {}, []
    for number in list(journal.state):
        try:
            seen.update(run.look(journal, [number]))
        except DamagedBodyError:
            damaged.append(number)
    suffering = {number for _, number in hit}
    where = f"seed {lab.seed}: flip in {path} at {offset}, {hit}"
    assert set(damaged) <= suffering, where
    others = run.ledger.without(suffering)
    try:
        others.check({n: s for n, s in seen.items() if n not in suffering}, journal.new_number())
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
    if store.reports:
        assert any("set aside" in line for line in store.reports), where
        assert len(disk.listdir("queue/damaged")) > 1, where
    if hit and not damaged:
        changed = [n for n in suffering if not run.ledger.keeps(n, seen.get(n))]
        assert not changed or store.reports, f"{where}: changed without a word"
    return bool(store.reports)


def test_byte_flips_cost_only_the_record_they_hit_and_are_reported(lab):
    assert flips(lab, 0.004)


@pytest.mark.long
def test_every_byte_flipped(lab):
    assert flips(lab, 1.0)
