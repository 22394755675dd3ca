"""Compaction: what is live moves to the head with all that is known of it; a segment goes only when nothing in it is needed."""

import os

import pytest
from tests.unit.queue.dispatching import routes
from tests.unit.queue.journaling import Home

from quail.queue import bounces, records
from quail.queue.compaction import Compaction
from quail.queue.state import unpack
from quail.queue.store import StoreStoppedError


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path, segment_size=16 << 10)
    yield home
    home.close()


def fill(home, segments):
    """Messages that end at once, until so many more segments have been begun."""
    goal = home.journal.current_segment + segments
    while home.journal.current_segment < goal:
        home.finish(home.accept(body=b"x" * 3000))


def compact(home, budget=1 << 20):
    """Everything live out of the oldest segment, and the segment removed; how many batches that took."""
    compaction = Compaction(home.journal)
    oldest = min(home.journal.ends)
    batches = 0
    while entries := compaction.copies(budget):
        assert home.journal.commit(entries)
        batches += 1
    assert compaction.removable()
    compaction.remove_oldest()
    assert oldest not in home.journal.ends
    assert not os.path.exists(home.path(oldest))
    return batches


def compact_until(home, segment):
    while min(home.journal.ends) < segment:
        compact(home)


def test_nothing_live_nothing_copied(home):
    fill(home, 2)
    assert compact(home) == 0


def test_the_newest_segment_is_never_removed(home):
    number = home.accept()
    home.finish(number)
    compact_until(home, home.journal.current_segment)
    assert not Compaction(home.journal).removable()
    assert not Compaction(home.journal).wanted(short_of_room=True)


def test_a_message_moves_with_recipients_schedule_and_hold(home):
    number = home.accept(b"a@x", b"b@x", b"c@x", b"d@x", body=b"kept")
    home.done(number, 0)
    home.done(number, 2)
    home.deferred(number, 1_700_000_100, 1_700_000_400)
    home.mark(records.HELD, number)
    fill(home, 2)
    compact_until(home, home.journal.current_segment)
    for _ in range(2):
        assert home.left(number) == {1: b"b@x", 3: b"d@x"}
        assert home.state.retry(number) == (1_700_000_100, 1_700_000_400)
        assert number in home.state.held
        assert home.body(number) == b"kept"
        home.open()


def test_marks_after_a_copy_count_by_the_first_numbers(home):
    number = home.accept(b"a@x", b"b@x", b"c@x")
    home.done(number, 0)
    fill(home, 2)
    compact_until(home, home.journal.current_segment)
    home.done(number, 2)
    home.open()
    assert home.left(number) == {1: b"b@x"}


def test_released_before_the_copy_stays_released(home):
    number = home.accept()
    home.mark(records.HELD, number)
    home.mark(records.RELEASED, number)
    fill(home, 2)
    compact_until(home, home.journal.current_segment)
    home.open()
    assert number not in home.state.held


def test_failures_move_with_their_reports_and_addresses(home):
    """The bounce must name those who failed, however often the message was copied before it could be made."""
    number = home.accept(b"a@here", b"b@here", b"c@here")
    home.failed(number, 0, b"first\n")
    home.done(number, 1)
    fill(home, 2)
    home.failed(number, 2, b"second\n")
    for _ in range(2):
        compact_until(home, home.journal.current_segment)
        fill(home, 2)
    home.open()
    assert home.left(number) == {}
    assert list(home.journal.failures(number)) == [(0, b"first\n"), (2, b"second\n")]
    teller = bounces.Teller(b"MAILER-DAEMON", b"here", b"postmaster@here")
    bounce = bounces.compose(home.journal, teller, routes(), number, 0.0, copy=1000)
    assert b"<a@here>:\nfirst\n" in bounce.body
    assert b"<c@here>:\nsecond\n" in bounce.body
    assert b"b@here" not in bounce.body.replace(b"Return-Path", b"")


def test_a_segment_with_a_needed_failure_stays(home):
    number = home.accept(b"a@x", b"b@x")
    fill(home, 1)
    home.failed(number, 0)
    segment = home.journal.current_segment
    fill(home, 2)
    compact_until(home, segment)
    compaction = Compaction(home.journal)
    assert not compaction.removable()
    entries = compaction.copies(1 << 20)
    assert [entry.kind for entry in entries] == [records.FAILED]
    home.finish(number)
    assert compaction.removable()


def test_a_damaged_report_does_not_stop_compaction_nor_the_bounce(home):
    number = home.accept(b"a@here", b"b@here")
    home.failed(number, 0, b"the report\n")
    ((segment, offset),) = [unpack(p) for p in home.state.failures[number].values()]
    fill(home, 2)
    with open(home.path(segment), "r+b") as file:
        file.seek(offset + 10)
        file.write(b"\xff\xff\xff\xff")
    ((recipient, report),) = home.journal.failures(number)
    assert recipient == 0
    assert b"damaged" in report
    compact_until(home, home.journal.current_segment)
    assert list(home.journal.failures(number)) == [(0, report)]


def test_a_large_body_stays_where_it_is(home):
    number = home.accept(body=b"large" * 1000, large=True)
    fill(home, 2)
    compact_until(home, home.journal.current_segment)
    home.open()
    assert home.body(number) == b"large" * 1000
    home.finish(number)
    assert home.large_bodies() == []


def test_copies_come_in_pages_of_the_budget(home):
    entries = [home.accept(body=b"x" * 1000, commit=False) for _ in range(10)]
    assert home.journal.commit(entries)
    segment, _, _ = home.state.place(1)
    fill(home, 2)
    compact_until(home, segment)
    assert compact(home, budget=2500) == 4
    assert [home.body(number) for number in range(1, 11)] == [b"x" * 1000] * 10


def test_a_refused_page_is_copied_again(home):
    number = home.accept(body=b"keep me")
    oldest = min(home.journal.ends)
    fill(home, 2)
    compact_until(home, 1)
    compaction = Compaction(home.journal)
    assert compaction.copies(1 << 20)  # and its batch is refused
    assert compaction.copies(1 << 20) == []
    assert not compaction.removable() or number not in home.state
    entries = compaction.copies(1 << 20)
    assert home.journal.commit(entries)
    while compaction.copies(1 << 20):
        pass
    assert home.state.place(number)[0] > oldest


def test_finished_between_copy_and_commit_stays_finished(home):
    number = home.accept()
    fill(home, 2)
    while min(home.journal.ends) < home.state.place(number)[0]:
        compact(home)
    entries = Compaction(home.journal).copies(1 << 20)
    assert [entry.number for entry in entries] == [number]
    from quail.queue.store import Entry

    assert home.journal.commit([*entries, Entry(records.FINISHED, number, 0)])
    assert home.live() == []
    home.open()
    assert home.live() == []


def test_it_is_wanted_when_more_is_garbage_than_live(home):
    compaction = Compaction(home.journal)
    assert not compaction.wanted(short_of_room=False)
    fill(home, 3)
    assert not compaction.wanted(short_of_room=False)
    fill(home, 3)
    assert compaction.wanted(short_of_room=False)


def test_short_of_room_less_is_enough(home):
    fill(home, 1)
    compaction = Compaction(home.journal)
    assert not compaction.wanted(short_of_room=False)
    assert compaction.wanted(short_of_room=True)


def test_a_live_record_that_has_gone_bad_does_not_cost_a_walk_for_every_batch(home):
    """It can't be copied, so its segment stays; the next start sets it aside."""
    number = home.accept()
    segment, offset, _ = home.state.place(number)
    fill(home, 6)
    compact_until(home, segment)
    with open(home.path(segment), "r+b") as file:
        file.seek(offset)
        file.write(b"\0\0\0\0")
    compaction = Compaction(home.journal)
    assert compaction.wanted(short_of_room=False)
    while entries := compaction.copies(1 << 20):
        assert home.journal.commit(entries)
    assert not compaction.removable()
    assert not compaction.wanted(short_of_room=False)
    assert not compaction.wanted(short_of_room=True)


def test_a_removal_that_cannot_be_synced_stops_the_queue(home):
    fill(home, 2)
    home.calls.fail["fsync"] = OSError(5, "Input/output error")
    with pytest.raises(StoreStoppedError):
        Compaction(home.journal).remove_oldest()
    home.calls.fail.clear()


def test_a_segment_that_cannot_be_unlinked_stays(home):
    fill(home, 2)
    compaction = Compaction(home.journal)
    home.calls.fail["unlink"] = OSError(30, "Read-only file system")
    compaction.remove_oldest()
    assert compaction.removable()
    home.calls.fail.clear()
    oldest = min(home.journal.ends)
    compaction.remove_oldest()
    assert oldest not in home.journal.ends


def test_bytes_on_disk_go_down_again(home):
    before = home.journal.bytes_on_disk
    fill(home, 3)
    assert home.journal.bytes_on_disk > before
    compact_until(home, home.journal.current_segment)
    assert home.journal.bytes_on_disk == sum(home.journal.ends.values())
    assert set(home.state.live) <= set(home.journal.ends)
