"""Replay: damage costs only what it hits, copies merge, finished wins, long tables of ends, marks before copies."""

import os

import pytest

from quail.errors import PeerError
from quail.queue import records
from quail.queue.records import Accepted
from quail.queue.replay import Damage, Found, Replay, SegmentReader, last_mark
from quail.queue.segments import Segments
from quail.storage.calls import REAL

SECRET = bytes(range(100, 116))


def accepted(*recipients, numbers=None, retry=(0, 0), held=False):
    table = dict(zip(numbers or range(len(recipients)), recipients, strict=True))
    return Accepted(b"from@x", table, uid=1, pid=2, retry=retry, held=held).encode()


def record(kind, number, envelope=b"", *body):
    return b"".join(records.record(SECRET, kind, number, 0, envelope, body))


def batch(items, *, running=1, mark=(0, 0), ends=None, following=1):
    data = b"".join(items)
    return records.batch_header(SECRET, running, mark, following, len(data), ends) + data


def segment_of(*batches):
    """Batches on their boundaries."""
    data = b""
    for content in batches:
        data += bytes(records.aligned(len(data)) - len(data)) + content
    return data


class Folder:
    """A segment with this content, and what a reader finds in it."""

    def __init__(self, path, content):
        self.segments = Segments(REAL, str(path))
        self.content = content
        with open(self.segments.path(1), "wb") as file:
            file.write(content)

    def read(self, *, mark=(0, 0), stop=None):
        self.segments.forget(1)
        reader = SegmentReader(self.segments, 1, len(self.content) if stop is None else stop, SECRET, mark)
        items = list(reader)
        return reader, [i for i in items if isinstance(i, Found)], [i for i in items if isinstance(i, Damage)]

    def write(self, content):
        with open(self.segments.path(1), "wb") as file:
            file.write(content)
        self.content = content

    def close(self):
        self.segments.close()


@pytest.fixture
def folder(tmp_path):
    folders = []

    def make(content):
        folders.append(Folder(tmp_path, content))
        return folders[-1]

    yield make
    for folder in folders:
        folder.close()


def small_segment():
    """Three batches, one of them with several records, one with an empty body and marks."""
    return segment_of(
        batch([record(records.ACCEPTED, 1, accepted(b"a@x"), b"body one")], ends=[], following=2),
        batch(
            [
                record(records.ACCEPTED, 2, accepted(b"b@x", b"c@x"), b"body two"),
                record(records.DONE, 2, b"0"),
                record(records.FAILED, 2, b"1\0no such user"),
            ],
            running=2,
            mark=(1, 4000),
            following=3,
        ),
        batch([record(records.ACCEPTED, 3, accepted(b"d@x"))], running=3, mark=(1, 8000), following=4),
    )


def test_every_record_in_order(folder):
    reader, found, damage = folder(small_segment()).read()
    assert [(item.header.kind, item.header.number) for item in found] == [
        (records.ACCEPTED, 1),
        (records.ACCEPTED, 2),
        (records.DONE, 2),
        (records.FAILED, 2),
        (records.ACCEPTED, 3),
    ]
    assert not damage
    assert (reader.last.running, reader.next_number) == (3, 4)
    assert reader.end == len(small_segment())


def test_damage_at_every_byte_costs_only_the_record_it_hits(folder):
    content = small_segment()
    place = folder(content)
    _, whole, _ = place.read()
    spans = [(item.offset, item.offset + item.header.size) for item in whole]
    inside = [n for n in range(len(content)) if content[n] or any(a <= n < b for a, b in spans)]
    for index in inside:
        place.write(content[:index] + bytes((content[index] ^ 0x41,)) + content[index + 1 :])
        _, found, damage = place.read()
        expected = [item.offset for item, (a, b) in zip(whole, spans, strict=True) if not a <= index < b]
        assert [item.offset for item in found] == expected, index
        assert any(d.offset <= index < d.offset + d.length for d in damage), index


def test_every_block_lost_costs_only_what_lay_there(folder):
    content = small_segment()
    place = folder(content)
    _, whole, _ = place.read()
    for start in range(0, len(content), 512):
        stop = min(start + 512, len(content))
        place.write(content[:start] + bytes(stop - start) + content[stop:])
        _, found, _ = place.read()
        expected = [i.offset for i in whole if i.offset + i.header.size <= start or i.offset >= stop]
        assert [item.offset for item in found] == expected, start


def test_every_cut_of_the_file_keeps_what_is_whole(folder):
    content = small_segment()
    place = folder(content)
    _, whole, _ = place.read()
    for length in range(0, len(content), 7):
        place.write(content[:length])
        _, found, _ = place.read()
        assert [item.offset for item in found] == [i.offset for i in whole if i.offset + i.header.size <= length]


def test_nothing_beyond_the_valid_end_is_taken(folder):
    content = small_segment()
    place = folder(content)
    _, whole, _ = place.read()
    for stop in range(0, len(content), 11):
        _, found, _ = place.read(stop=stop)
        assert [item.offset for item in found] == [i.offset for i in whole if i.offset + i.header.size <= stop]


def test_garbage_between_records_is_stepped_over(folder):
    good = record(records.ACCEPTED, 1, accepted(b"a@x"), b"x")
    other = record(records.DONE, 1, b"0")
    garbage = records.record_key(SECRET) + b"looks like one" + records.BATCH_MAGIC
    content = batch([good, garbage * 20, other], ends=[])
    _, found, damage = folder(content).read()
    assert [item.header.kind for item in found] == [records.ACCEPTED, records.DONE]
    assert [(d.offset, d.length) for d in damage] == [(records.BATCH_HEADER + len(good), len(garbage * 20))]


def test_a_lost_header_of_a_batch_costs_none_of_its_records(folder):
    content = bytearray(small_segment())
    content[4096 : 4096 + records.BATCH_HEADER] = bytes(records.BATCH_HEADER)
    _, found, _ = folder(bytes(content)).read()
    assert [item.header.number for item in found] == [1, 2, 2, 2, 3]


def test_zeros_are_no_damage(folder):
    _, found, damage = folder(small_segment() + bytes(50_000)).read()
    assert len(found) == 5
    assert not damage


def test_bodies_are_checked_from_the_mark_on(folder):
    content = small_segment().replace(b"body two", b"BODY two")
    place = folder(content)
    _, found, _ = place.read(mark=(1, 4096 + 4096))
    assert len(found) == 5
    reader, found, damage = place.read(mark=(1, 4096))
    assert len(found) == 4
    assert reader.bad_bodies == [2]
    assert len(damage) == 1


def test_another_homes_records_are_damage(folder):
    foreign = b"".join(records.record(b"x" * 16, records.FINISHED, 1, 0))
    _, found, damage = folder(batch([record(records.ACCEPTED, 1, accepted(b"a@x")), foreign], ends=[])).read()
    assert [item.header.kind for item in found] == [records.ACCEPTED]
    assert [d.length for d in damage] == [len(foreign)]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 300, 20_000])
def test_long_tables_of_ends(folder, count):
    ends = [(n, n * 10) for n in range(1, count + 1)]
    content = batch([record(records.ACCEPTED, 7, accepted(b"a@x"))], ends=ends, mark=(5, 6))
    place = folder(content)
    reader, found, damage = place.read()
    assert reader.last.ends == dict(ends)
    assert [item.header.number for item in found] == [7]
    assert not damage
    assert last_mark(place.segments, 1, len(content), SECRET) == (5, 6)


def test_the_last_mark_that_the_chain_leads_to(folder):
    content = small_segment()
    place = folder(content)
    assert last_mark(place.segments, 1, len(content), SECRET) == (1, 8000)
    assert last_mark(place.segments, 1, 8192, SECRET) == (1, 4000)
    place.segments.forget(1)
    place.write(bytes(4096) + content[4096:])
    assert last_mark(place.segments, 1, len(content), SECRET) is None


def test_a_body_larger_than_the_window(folder):
    body = os.urandom(700_000)
    content = segment_of(
        batch([record(records.ACCEPTED, 1, accepted(b"a@x"), body), record(records.DONE, 1, b"0")], ends=[]),
        batch([record(records.FINISHED, 1)], running=2),
    )
    place = folder(content)
    for mark in ((0, 0), (9, 0)):
        _, found, damage = place.read(mark=mark)
        assert [item.header.kind for item in found] == [records.ACCEPTED, records.DONE, records.FINISHED]
        assert not damage


# Replay.


def replay(*items):
    """The state after these records: (kind, number, envelope)."""
    replay = Replay()
    for offset, (kind, number, envelope) in enumerate(items):
        data = b"".join(records.record(SECRET, kind, number, 0, envelope))
        header = records.parse_record(data, 0, SECRET)
        replay.take(Found(1 + offset // 3, offset * 100, header, envelope))
    return replay.finish()


A, B, C = b"a@x", b"b@x", b"c@x"


def left(state, number, *recipients):
    return list(state.left(number, dict(enumerate(recipients))))


def test_copies_merge_to_what_all_of_them_have():
    state = replay(
        (records.ACCEPTED, 1, accepted(A, B, C)),
        (records.ACCEPTED, 1, accepted(B, C, numbers=[1, 2])),
        (records.ACCEPTED, 1, accepted(A, C, numbers=[0, 2])),
    )
    assert left(state, 1, A, B, C) == [2]


def test_a_copy_alone_is_the_message():
    state = replay((records.ACCEPTED, 1, accepted(B, numbers=[1])))
    assert left(state, 1, A, B, C) == [1]


def test_marks_count_before_and_after_copies():
    state = replay(
        (records.DONE, 1, b"0"),
        (records.ACCEPTED, 1, accepted(A, B, C)),
        (records.DONE, 1, b"2"),
        (records.ACCEPTED, 1, accepted(A, B, C)),
    )
    assert left(state, 1, A, B, C) == [1]


def test_finished_wins_over_copies_on_either_side():
    assert len(replay((records.ACCEPTED, 1, accepted(A)), (records.FINISHED, 1, b""))) == 0
    assert len(replay((records.FINISHED, 1, b""), (records.ACCEPTED, 1, accepted(A)))) == 0
    state = replay(
        (records.ACCEPTED, 1, accepted(A)),
        (records.FINISHED, 1, b""),
        (records.ACCEPTED, 1, accepted(A)),
        (records.HELD, 1, b""),
        (records.FAILED, 1, b"0\0no"),
    )
    assert len(state) == 0
    assert not state.held
    assert not state.failures


def test_the_last_schedule_and_hold_count():
    state = replay(
        (records.ACCEPTED, 1, accepted(A)),
        (records.DEFERRED, 1, b"100,200"),
        (records.DEFERRED, 1, b"300,0"),
        (records.HELD, 1, b""),
        (records.RELEASED, 1, b""),
        (records.HELD, 1, b""),
    )
    assert state.retry(1) == (300, 0)
    assert state.held == {1}


def test_a_copy_brings_its_schedule_and_hold_along():
    state = replay((records.ACCEPTED, 1, accepted(A, retry=(5, 6), held=True)))
    assert state.retry(1) == (5, 6)
    assert state.held == {1}


def test_an_older_copy_does_not_bring_a_released_hold_back():
    state = replay(
        (records.ACCEPTED, 1, accepted(A)),
        (records.HELD, 1, b""),
        (records.RELEASED, 1, b""),
        (records.DEFERRED, 1, b"300,0"),
        (records.ACCEPTED, 1, accepted(A, retry=(5, 6), held=True)),
    )
    assert not state.held
    assert state.retry(1) == (300, 0)


def test_marks_of_nobody_are_forgotten():
    state = replay((records.DONE, 9, b"0"), (records.FAILED, 8, b"0\0no"), (records.HELD, 7, b""))
    assert not (state.done)
    assert not (state.failures)
    assert not (state.held)
    assert not (state.failures_in)


@pytest.mark.parametrize("kind", [records.ACCEPTED, records.DONE, records.FAILED, records.DEFERRED])
def test_an_envelope_that_makes_no_sense_is_the_peers_error(kind):
    with pytest.raises(PeerError):
        replay((kind, 1, b"nonsense"))
