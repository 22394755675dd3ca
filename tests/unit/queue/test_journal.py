"""The journal with real files: what is committed is found again, segments roll over, and failed writes never come back."""

import errno
import os

import pytest
from tests.unit.queue.journaling import SEGMENT, Home

from quail.errors import TemporaryError
from quail.queue import journal as module
from quail.queue import records
from quail.queue.recovery import open_journal
from quail.queue.store import DamagedBodyError, Entry, StoreStoppedError

FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    yield home
    home.calls.fail.clear()
    home.close()


def test_what_was_accepted_is_read_back_before_and_after_a_restart(home):
    number = home.accept(b"a@x", b"b@x", body=b"the body\n", sender=b"s@x")
    for _ in range(2):
        stored = home.journal.read(number, body=True)
        assert stored.body == b"the body\n"
        assert (stored.accepted.sender, stored.accepted.recipients) == (b"s@x", {0: b"a@x", 1: b"b@x"})
        assert (stored.accepted.uid, stored.accepted.pid, stored.size) == (1, 2, 9)
        assert home.journal.read(number, body=False).body is None
        home.open()


def test_empty_bodies_and_long_envelopes(home):
    empty = home.accept(body=b"")
    long = home.accept(*[b"r%d@example.org" % n for n in range(2000)], body=b"x" * 30_000)
    home.open()
    assert home.body(empty) == b""
    assert home.body(long) == b"x" * 30_000
    assert len(home.left(long)) == 2000


def test_marks_survive_a_restart(home):
    number = home.accept(b"a@x", b"b@x", b"c@x")
    home.done(number, 0)
    home.failed(number, 2, b"no such user\n")
    home.deferred(number, 1_700_000_100)
    home.mark(records.HELD, number)
    other = home.accept()
    home.finish(other)
    for _ in range(3):
        assert home.live() == [number]
        assert home.left(number) == {1: b"b@x"}
        assert list(home.journal.failures(number)) == [(2, b"no such user\n")]
        assert home.state.retry(number) == (1_700_000_100, 0)
        assert home.state.held == {number}
        home.open()


def test_released_is_released_after_a_restart(home):
    number = home.accept()
    home.mark(records.HELD, number)
    home.mark(records.RELEASED, number)
    home.open()
    assert home.state.held == set()


def test_numbers_are_never_given_twice(home):
    numbers = [home.accept() for _ in range(3)]
    home.finish(numbers[-1])
    home.open()
    assert home.accept() > numbers[-1]
    home.open()
    assert home.journal.new_number() > numbers[-1] + 1


def test_a_number_given_to_a_large_body_that_came_to_nothing_is_not_given_again(home):
    number = home.journal.new_number()
    home.journal.new_large_body(number)
    home.open()
    assert home.journal.new_number() >= number
    assert home.large_bodies() == []


def test_what_is_not_there_is_a_key_error(home):
    number = home.accept()
    home.finish(number)
    for missing in (number, 999):
        with pytest.raises(KeyError):
            home.journal.read(missing, body=True)


def test_segments_follow_one_another(home):
    bodies = {home.accept(body=bytes([n]) * 9000): bytes([n]) * 9000 for n in range(40)}
    assert len(home.segments()) > 5
    assert all(os.path.getsize(home.path(int(name[:8]))) <= SEGMENT + 4096 for name in home.segments())
    home.open()
    assert {number: home.body(number) for number in home.live()} == bodies


def test_a_batch_takes_what_fits_and_leaves_the_rest(home, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH", 10_000)
    entries = [home.accept(body=b"x" * 4000, commit=False) for _ in range(5)]
    plan = home.journal.lay_out(entries)
    assert [entry.number for entry in plan.entries] == [1, 2]
    assert len(entries) == 3
    assert home.journal.write(plan)
    home.journal.settle(plan)
    assert home.journal.commit(entries)
    assert home.live() == [1, 2, 3, 4, 5]


def test_one_entry_larger_than_a_batch_goes_alone(home, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH", 1000)
    number = home.accept(body=b"x" * 5000)
    assert home.body(number) == b"x" * 5000


def test_large_bodies_are_files_that_go_with_their_message(home):
    number = home.accept(body=b"large" * 100_000, large=True)
    assert home.large_bodies() == [str(number)]
    home.open()
    assert home.body(number) == b"large" * 100_000
    home.finish(number)
    assert home.large_bodies() == []


def test_a_large_body_that_is_given_up_leaves_nothing(home):
    before = len(os.listdir("/proc/self/fd"))
    body = home.journal.new_large_body(home.journal.new_number())
    home.journal.large_write(body, b"x" * 1000)
    home.journal.discard_large(body)
    home.journal.discard_large(body)
    assert home.large_bodies() == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_second_owner_is_kept_out(home):
    with pytest.raises(TemporaryError, match="already running"):
        open_journal(home.directory)
    home.accept()


def test_a_journal_of_a_newer_version_is_refused_and_not_touched(home):
    home.accept()
    segment = home.journal.current_segment
    home.close()
    with open(f"{home.directory}/secret", "rb") as file:
        secret = file.read()
    known, records.FORMAT = records.FORMAT, 2
    try:
        batch = records.batch_header(secret, 9, (segment, 0), 5, 0, [])
    finally:
        records.FORMAT = known
    with open(home.path(segment + 1), "wb") as file:
        file.write(batch)
    before = home.segments()
    with pytest.raises(TemporaryError, match="newer version"):
        open_journal(home.directory)
    assert home.segments() == before
    os.unlink(home.path(segment + 1))


def test_a_damaged_body_is_noticed_when_it_is_read(home):
    number = home.accept(body=b"q" * 500)
    segment, offset, size = home.state.place(number)
    with open(home.path(segment), "r+b") as file:
        file.seek(offset + size - 1)
        file.write(b"!")
    with pytest.raises(DamagedBodyError):
        home.journal.read(number, body=True)
    assert home.journal.read(number, body=False).accepted.sender == b"from@x"


def test_a_damaged_envelope_is_noticed_when_it_is_read(home):
    number = home.accept(body=b"q" * 500)
    segment, offset, _ = home.state.place(number)
    with open(home.path(segment), "r+b") as file:
        file.seek(offset + records.RECORD_HEADER)
        file.write(b"\xff")
    with pytest.raises(DamagedBodyError):
        home.journal.read(number, body=False)


# Failed writes.


def refused_then_reopened(home):
    """After a batch was refused: the next is taken, and a restart shows no trace of the refused one."""
    home.calls.fail.clear()
    accepted = home.accept(body=b"after\n")
    for _ in range(2):
        home.open()
        assert home.live() == [1, accepted]
        assert home.body(accepted) == b"after\n"
        assert not [name for name in os.listdir(f"{home.directory}/damaged") if name != "seen"]


@pytest.mark.parametrize("call", ["pwritev", "fdatasync"])
@pytest.mark.parametrize("trouble", [FULL, BROKEN])
def test_a_batch_that_fails_is_undone(home, call, trouble):
    home.accept()
    home.calls.fail[call] = trouble
    assert not home.journal.commit([home.accept(commit=False)])
    refused_then_reopened(home)


def test_a_short_write_is_a_failed_one(home):
    home.accept()
    real = home.calls.pwritev
    home.calls.pwritev = lambda fd, buffers, offset: real(fd, [b"".join(buffers)[:100]], offset)
    assert not home.journal.commit([home.accept(commit=False)])
    home.calls.pwritev = real
    refused_then_reopened(home)


@pytest.mark.parametrize("undo", ["ftruncate", "fsync"])
def test_when_it_cannot_be_cut_back_a_new_segment_says_where_it_ends(home, undo):
    home.accept()
    segment = home.journal.current_segment
    home.calls.fail["fdatasync"] = (0, BROKEN)
    home.calls.fail[undo] = (0, BROKEN)
    real = home.calls.fdatasync

    def once(fd):
        home.calls.fdatasync = real
        home.calls.fail.pop("fdatasync", None)
        raise BROKEN

    def undo_once(*_):
        setattr(home.calls, undo, undone)
        home.calls.fail.pop(undo, None)
        raise BROKEN

    undone = getattr(home.calls, undo)
    home.calls.fdatasync = once
    setattr(home.calls, undo, undo_once)
    assert not home.journal.commit([home.accept(commit=False)])
    assert home.journal.current_segment > segment
    refused_then_reopened(home)


def test_neither_cut_back_nor_ended_elsewhere_stops_the_queue(home):
    home.accept()
    home.calls.fail.update(fdatasync=BROKEN, ftruncate=BROKEN)
    with pytest.raises(StoreStoppedError):
        home.journal.commit([home.accept(commit=False)])
    home.calls.fail.clear()
    home.open()
    assert 1 in home.live()


def test_a_failed_segment_is_never_appended_to_again(home):
    home.accept()
    segment = home.journal.current_segment
    size = os.path.getsize(home.path(segment))
    home.calls.fail["fdatasync"] = BROKEN
    home.journal.commit([home.accept(commit=False)])
    home.calls.fail.clear()
    home.accept()
    assert home.journal.current_segment > segment
    assert os.path.getsize(home.path(segment)) == size


def test_marks_of_a_failed_batch_can_be_written_again(home):
    number = home.accept(b"a@x", b"b@x")
    mark = Entry(records.DONE, number, 0, b"0")
    home.calls.fail["pwritev"] = FULL
    assert not home.journal.commit([mark])
    assert home.left(number) == {0: b"a@x", 1: b"b@x"}
    home.calls.fail.clear()
    assert home.journal.commit([mark])
    home.open()
    assert home.left(number) == {1: b"b@x"}


def test_a_disk_that_stays_full_for_hours_leaves_nothing_behind(home):
    """Every try takes a new segment number; none of them may stay in the table of ends, which has to fit a batch header."""
    home.accept()
    before = dict(home.journal.ends)
    home.calls.fail["pwritev"] = FULL
    for _ in range(50):
        assert not home.journal.commit([home.accept(commit=False)])
    assert home.journal.ends == before
    del home.calls.fail["pwritev"]
    home.calls.fail["open"] = FULL
    for _ in range(50):
        assert not home.journal.commit([home.accept(commit=False)])
    assert home.journal.ends == before
    refused_then_reopened(home)


def test_no_descriptor_is_left_behind_by_failures(home):
    home.accept()
    home.calls.fail["fdatasync"] = BROKEN
    home.journal.commit([home.accept(commit=False)])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        home.journal.commit([home.accept(commit=False)])
    assert len(os.listdir("/proc/self/fd")) == before


def test_segments_that_are_read_do_not_hold_ever_more_descriptors(home):
    numbers = [home.accept(body=b"x" * 60_000) for _ in range(100)]
    assert len(home.segments()) >= 100
    before = len(os.listdir("/proc/self/fd"))
    for number in numbers:
        home.journal.read(number, body=False)
    assert len(os.listdir("/proc/self/fd")) - before <= 70


def test_a_large_body_that_cannot_be_synced_refuses_its_batch(home):
    home.accept()
    entry = home.accept(body=b"x" * 100, large=True, commit=False)
    home.calls.fail["fsync"] = BROKEN
    assert not home.journal.commit([entry])
    home.calls.fail.clear()
    home.journal.discard_large(entry.large)
    refused_then_reopened(home)
    assert home.large_bodies() == []


def test_after_a_failed_sync_of_names_no_body_of_that_time_is_trusted(home):
    home.accept()
    first = home.accept(body=b"x", large=True, commit=False)
    second = home.accept(body=b"y", large=True, commit=False)
    home.calls.fail["fsync"] = (1, BROKEN)  # the file is synced, its folder is not
    assert not home.journal.commit([first])
    home.calls.fail.clear()
    assert not home.journal.commit([second])
    for entry in (first, second):
        home.journal.discard_large(entry.large)
    assert home.journal.commit([home.accept(body=b"z", large=True, commit=False)])


def test_free_bytes(home):
    assert home.journal.free_bytes() > 0
    home.calls.fail["statvfs"] = BROKEN
    with pytest.raises(OSError, match="Input/output"):
        home.journal.free_bytes()


# Starting.


def test_a_garbled_tail_is_set_aside_and_reported(home):
    number = home.accept()
    segment = home.journal.current_segment
    home.close()
    with open(home.path(segment), "ab") as file:
        file.write(b"never answered" * 10)
    home.open()
    assert home.live() == [number]
    damaged = [name for name in os.listdir(f"{home.directory}/damaged") if name != "seen"]
    assert len(damaged) == 1
    assert any("set aside" in report for report in home.opened.reports)


def test_large_bodies_are_not_swept_while_damage_is_unresolved(home):
    home.accept()
    segment = home.journal.current_segment
    orphan = home.journal.new_number()
    home.journal.new_large_body(orphan)
    home.close()
    with open(home.path(segment), "ab") as file:
        file.write(b"damage")
    home.open()
    assert home.large_bodies() == [str(orphan)]
    (name,) = [name for name in os.listdir(f"{home.directory}/damaged") if name != "seen"]
    os.rename(f"{home.directory}/damaged/{name}", f"{home.directory}/damaged/seen/{name}")
    home.open()
    assert home.large_bodies() == []


def test_the_secret_is_found_in_the_journal_when_its_file_is_lost(home):
    number = home.accept()
    home.close()
    os.unlink(f"{home.directory}/secret")
    home.open()
    assert home.live() == [number]


def test_a_foreign_file_among_the_segments_is_left_alone(home):
    with open(f"{home.directory}/journal/notes.txt", "w") as file:
        file.write("mine")
    home.accept()
    home.open()
    assert os.path.exists(f"{home.directory}/journal/notes.txt")


def test_a_body_that_poses_as_a_record_is_none(home):
    home.close()
    with open(f"{home.directory}/secret", "rb") as file:
        secret = file.read()
    home.open()
    pose = b"".join(records.record(secret, records.FINISHED, 1, 0))
    first = home.accept()
    second = home.accept(body=records.record_key(secret) + pose + b"tail")
    home.open()
    assert home.live() == [first, second]


def test_folders_keep_the_modes_that_init_gave_them(tmp_path):
    """The first start makes those folders again that a failed start may have left: not the drop of a system home."""
    (tmp_path / "queue/drop").mkdir(parents=True)
    (tmp_path / "queue/drop").chmod(0o3733)
    (tmp_path / "queue/mess").mkdir(mode=0o700)
    opened = open_journal(str(tmp_path / "queue"))
    opened.journal.close()
    os.close(opened.lock)
    assert (tmp_path / "queue/drop").stat().st_mode & 0o7777 == 0o3733
    for name in ("journal", "mess", "damaged"):
        assert (tmp_path / "queue" / name).stat().st_mode & 0o7777 == 0o700
