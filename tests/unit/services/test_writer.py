"""Group commit: order, copies first, failure and recovery, and that it never stops without saying so."""

import threading

import pytest
from tests.unit.services.stepping import SteppedLoop

from quail.queue import records
from quail.queue.journal import COPY, JournalPlan
from quail.queue.store import DamagedBodyError, Entry, StoreStoppedError
from quail.services.queue import writer as module
from quail.services.queue.writer import Writer


class FakeJournal:
    """Keeps what was written, in order; `answers` says how the next writes end."""

    batch = 100  # entries

    def __init__(self):
        self.batches = []
        self.settled = []
        self.answers = []
        self.free = 1 << 40
        self.gate = None

    def lay_out(self, entries):
        plan = JournalPlan(1, 0, opens=False)
        plan.entries = entries[: self.batch]
        del entries[: self.batch]
        return plan

    def write(self, plan):
        if self.gate is not None:
            assert self.gate.wait(30)
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, BaseException):
            raise answer
        if answer:
            self.batches.append(list(plan.entries))
        return answer

    def settle(self, plan):
        self.settled += plan.entries

    def free_bytes(self):
        if isinstance(self.free, OSError):
            raise self.free
        return self.free


class FakeCompaction:
    def __init__(self, _journal):
        self.pages = []
        self.may_remove = 0
        self.removed = self.attempts = 0
        self.stuck = False
        self.room_wanted = []

    def wanted(self, *, short_of_room):
        self.room_wanted.append(short_of_room)
        return bool(self.pages)

    def copies(self, _budget):
        page = self.pages.pop(0) if self.pages else []
        if isinstance(page, BaseException):
            raise page
        return page

    def removable(self):
        return self.may_remove > 0

    def remove_oldest(self):
        self.attempts += 1
        if self.stuck:
            return False
        self.may_remove -= 1
        self.removed += 1
        return True


class Desk:
    def __init__(self):
        self.loop = SteppedLoop()
        self.journal = FakeJournal()
        self.settled, self.refused, self.stops, self.lines = [], [], [], []
        self.writer = Writer(
            self.loop,
            self.journal,
            minfree=1000,
            settled=self.settled.append,
            refused=self.refused.append,
            stopped=self.stops.append,
            log=self.lines.append,
        )
        self.compaction = self.writer._compaction

    def submit(self, *entries):
        for entry in entries:
            self.writer.submit(entry)

    def batch(self):
        """Until the batch at hand has been written."""
        self.loop.turn()
        self.loop.wait_for_thread()


@pytest.fixture
def desk(monkeypatch):
    monkeypatch.setattr(module, "Compaction", FakeCompaction)
    desk = Desk()
    yield desk
    if desk.journal.gate is not None:
        desk.journal.gate.set()
    desk.writer.close()


def mark(number=1):
    return Entry(records.DONE, number, 0, b"0")


def message(number=1):
    return Entry(records.ACCEPTED, number, 0)


def copy(number=1):
    return Entry(records.ACCEPTED, number, 0, source=COPY)


def test_what_waits_goes_together(desk):
    entries = [message(1), mark(2), message(3)]
    desk.submit(*entries)
    desk.batch()
    assert desk.journal.batches == [entries]
    assert desk.journal.settled == entries
    assert desk.settled == [entries]
    assert desk.writer.idle


def test_the_next_batch_gathers_while_one_is_written(desk):
    desk.journal.gate = threading.Event()
    first, second, third = message(1), message(2), mark(1)
    desk.submit(first)
    desk.loop.turn()
    desk.submit(second)
    desk.loop.turn()
    desk.submit(third)
    desk.loop.turn()
    assert not desk.settled
    desk.journal.gate.set()
    desk.loop.wait_for_thread()
    desk.loop.wait_for_thread()
    assert desk.settled == [[first], [second, third]]


def test_what_does_not_fit_follows_in_order(desk):
    desk.journal.batch = 2
    entries = [message(n) for n in range(5)]
    desk.submit(*entries)
    desk.batch()
    desk.loop.wait_for_thread()
    desk.loop.wait_for_thread()
    assert desk.settled == [entries[:2], entries[2:4], entries[4:]]


def test_copies_come_before_the_marks_that_wait(desk):
    old = copy(1)
    desk.compaction.pages = [[old], []]
    entry = mark(1)
    desk.submit(entry)
    desk.batch()
    assert desk.journal.batches[0] == [old, entry]


def test_copies_go_on_page_by_page_without_mail(desk):
    desk.compaction.pages = [[copy(1)], [copy(2)], []]
    desk.submit(mark())
    desk.batch()
    desk.loop.wait_for_thread()
    assert [[entry.number for entry in batch] for batch in desk.journal.batches] == [[1, 1], [2]]
    assert desk.writer.idle


def test_a_copy_that_does_not_fit_is_made_again_later(desk):
    desk.journal.batch = 1
    desk.compaction.pages = [[copy(1), copy(2)], [copy(2)], []]
    entry = mark(9)
    desk.submit(entry)
    desk.batch()
    for _ in range(2):
        desk.loop.wait_for_thread()
    assert [[e.number for e in batch] for batch in desk.journal.batches] == [[1], [2], [9]]


def test_a_refused_batch_refuses_messages_and_keeps_marks(desk):
    refused, kept, later = message(1), mark(2), mark(3)
    desk.journal.answers = [False]
    desk.compaction.pages = [[copy(7)], []]
    desk.submit(refused, kept)
    desk.batch()
    assert desk.refused == [[refused]]
    assert desk.writer.failing
    assert any("mail is refused" in line for line in desk.lines)
    desk.submit(later)
    desk.loop.turn()
    assert desk.journal.batches == []  # the timer alone tries again
    desk.loop.pass_time(1)
    desk.loop.wait_for_thread()
    assert desk.settled == [[kept, later]]
    assert not desk.writer.failing


def test_after_a_failure_with_nothing_left_to_write_mail_is_taken_again(desk):
    """Without marks in the failed batch nothing tried the disk again, and every later message waited for ever."""
    desk.journal.answers = [False]
    desk.submit(message(1))
    desk.batch()
    assert desk.writer.failing
    desk.loop.pass_time(1)
    desk.loop.wait_for_thread()
    assert not desk.writer.failing
    assert desk.settled == [[]]  # so that deliveries start again
    entry = message(2)
    desk.submit(entry)
    desk.batch()
    assert desk.settled[-1] == [entry]


def test_while_the_disk_fails_it_is_tried_once_a_second_and_said_once(desk):
    desk.journal.answers = [False] * 5
    entry = mark()
    desk.submit(entry)
    desk.batch()
    for _ in range(4):
        desk.loop.pass_time(1)
        desk.loop.wait_for_thread()
    assert desk.journal.answers == []
    assert desk.writer.failing
    assert sum("unable to write" in line for line in desk.lines) == 1
    desk.loop.pass_time(1)
    desk.loop.wait_for_thread()
    assert desk.settled == [[entry]]


def test_neither_written_nor_undone_stops_the_queue(desk):
    desk.journal.answers = [StoreStoppedError("disk is gone")]
    desk.submit(message())
    desk.batch()
    assert desk.stops == ["disk is gone"]
    assert not desk.settled
    assert not desk.refused


def test_a_bug_in_the_thread_stops_the_queue_too(desk):
    """A thread that ends without a word would leave every client waiting for ever."""
    desk.journal.answers = [ValueError("bug")]
    desk.submit(message())
    desk.batch()
    assert len(desk.stops) == 1
    assert "bug" in desk.stops[0]


def test_a_bug_while_settling_stops_the_queue_too(desk):
    def settle(_plan):
        raise ValueError("bug")

    desk.journal.settle = settle
    desk.submit(message())
    desk.batch()
    assert len(desk.stops) == 1
    assert not desk.settled


@pytest.mark.parametrize(
    "trouble", [OSError(5, "Input/output error"), StoreStoppedError("odd"), DamagedBodyError("bad")]
)
def test_old_segments_that_cannot_be_read_stop_the_queue(desk, trouble):
    desk.compaction.pages = [trouble]
    desk.submit(message())
    desk.loop.turn()
    assert len(desk.stops) == 1


def test_segments_are_removed_one_after_another(desk):
    desk.compaction.may_remove = 3
    desk.submit(mark())
    desk.batch()
    for _ in range(3):
        desk.loop.wait_for_thread()
    assert desk.compaction.removed == 3
    assert desk.writer.idle


def test_mail_goes_before_the_removal_of_segments(desk):
    desk.compaction.may_remove = 1
    desk.submit(mark())
    desk.batch()
    assert len(desk.journal.batches) == 1


def test_a_load_without_a_pause_does_not_keep_old_segments_for_ever(desk):
    desk.compaction.may_remove = 1
    for _ in range(module._BATCHES_BEFORE_REMOVAL + 2):
        desk.submit(message())
        desk.loop.turn()
        desk.submit(message())  # waits already when the first is done
        desk.loop.wait_for_thread()
    assert desk.compaction.removed == 1
    while not desk.writer.idle:
        desk.loop.wait_for_thread()


def test_short_of_room_segments_go_first(desk):
    desk.journal.free = 1500
    desk.loop.pass_time(1)
    desk.compaction.may_remove = 2
    desk.submit(message())
    desk.batch()
    assert desk.compaction.removed == 1
    assert desk.journal.batches == []
    desk.loop.wait_for_thread()
    desk.loop.wait_for_thread()
    assert desk.compaction.removed == 2
    assert len(desk.journal.batches) == 1


def test_a_full_disk_is_freed_of_what_nobody_needs_before_the_next_try(desk):
    desk.journal.answers = [False]
    entry = mark()
    desk.submit(entry)
    desk.batch()
    desk.compaction.may_remove = 2
    desk.loop.pass_time(1)
    for _ in range(3):
        desk.loop.wait_for_thread()
    assert desk.compaction.removed == 2
    assert desk.settled == [[entry]]
    assert not desk.writer.failing


@pytest.mark.parametrize("short", [False, True])
def test_a_segment_that_cannot_be_removed_keeps_neither_mail_nor_processor_busy(desk, short):
    if short:
        desk.journal.free = 1500
        desk.loop.pass_time(1)
    desk.compaction.may_remove = 1
    desk.compaction.stuck = True
    desk.submit(message())
    desk.batch()
    while not desk.writer.idle:
        desk.loop.wait_for_thread()
    assert desk.compaction.attempts == 1
    assert len(desk.journal.batches) == 1
    desk.compaction.stuck = False
    for _ in range(2 * module._BATCHES_BEFORE_REMOVAL):
        desk.submit(message())
        desk.batch()
        while not desk.writer.idle:
            desk.loop.wait_for_thread()
    assert desk.compaction.removed == 1


def test_below_minfree_mail_is_refused_and_compaction_has_begun_before(desk):
    desk.journal.free = 1500
    desk.loop.pass_time(1)
    assert desk.writer.short_of_room
    assert not desk.writer.refusing
    assert desk.compaction.room_wanted[-1] is True
    desk.journal.free = 999
    desk.loop.pass_time(1)
    assert desk.writer.refusing
    desk.loop.pass_time(5)
    assert sum("below minfree" in line for line in desk.lines) == 1
    desk.journal.free = 5000
    desk.loop.pass_time(1)
    assert not desk.writer.refusing
    assert not desk.writer.short_of_room


def test_free_space_that_cannot_be_told_is_none(desk):
    desk.journal.free = OSError(5, "Input/output error")
    desk.loop.pass_time(1)
    assert desk.writer.refusing


def test_idle_means_nothing_waits(desk):
    assert desk.writer.idle
    desk.journal.gate = threading.Event()
    desk.submit(mark())
    assert not desk.writer.idle
    desk.loop.turn()
    assert not desk.writer.idle
    desk.journal.gate.set()
    desk.loop.wait_for_thread()
    assert desk.writer.idle
