"""Laws of the journal's bytes, of frames and of the hand-over: round trips, no flip unnoticed, nothing but PeerError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.errors import PeerError
from quail.net.frames import Splitter, frame
from quail.queue import handover, records
from quail.queue.records import Accepted

SECRET = bytes(range(16))
OTHER = bytes(range(1, 17))

words = st.binary(max_size=40).map(lambda text: text.replace(b"\0", b"0"))
names = words.map(lambda text: text.replace(b"=", b"_"))
big = st.integers(0, 2**64 - 1)
numbers = st.integers(0, records.MAX_NUMBER)
seconds = st.integers(0, 2**32 - 1)
accepted = st.builds(
    lambda sender, addresses, uid, pid, attributes, retry, held: Accepted(
        sender, addresses, uid=uid, pid=pid, attributes=tuple(attributes), retry=retry, held=held
    ),
    words,
    st.dictionaries(st.integers(0, 30), words, max_size=8).map(lambda table: dict(sorted(table.items()))),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**22),
    st.lists(st.tuples(names, words), max_size=3),
    st.tuples(seconds, seconds),
    st.booleans(),
)


def fields(item):
    return {name: getattr(item, name) for name in Accepted.__slots__}


@given(accepted)
def test_an_accepted_envelope_comes_back(item):
    assert fields(Accepted.decode(item.encode())) == fields(item)


@given(
    st.sampled_from(list(records.KINDS)),
    numbers,
    big,
    st.binary(max_size=60),
    st.lists(st.binary(max_size=30), max_size=4),
)
def test_a_record_comes_back(kind, number, time, envelope, body):
    data = b"".join(records.record(SECRET, kind, number, time, envelope, body))
    header = records.parse_record(b"before" + data + b"behind", 6, SECRET)
    whole = b"".join(body)
    assert (header.kind, header.number, header.time) == (kind, number, time)
    assert (header.envelope_length, header.body_length, header.inline_body) == (len(envelope), len(whole), len(whole))
    assert (header.envelope_sum, header.body_sum) == (records.crc32(envelope), records.crc32(whole))
    assert header.size == len(data)
    assert data[records.RECORD_HEADER :] == envelope + whole


@given(big, st.integers(0, 2**32 - 1))
def test_a_record_of_a_large_body_has_none_inline(length, body_sum):
    data = b"".join(
        records.record(SECRET, records.ACCEPTED, 1, 2, b"envelope", body_file_length=length, known_body_sum=body_sum)
    )
    header = records.parse_record(data, 0, SECRET)
    assert (header.body_length, header.body_sum, header.inline_body) == (length, body_sum, 0)
    assert header.size == len(data)


def intact(data):
    """Whether a reader takes the record in data, as replay does: header, envelope and body with their sums."""
    header = records.parse_record(data, 0, SECRET)
    if header is None or header.size > len(data):
        return False
    at = records.RECORD_HEADER + header.envelope_length
    return (
        records.crc32(data[records.RECORD_HEADER : at]) == header.envelope_sum
        and records.crc32(data[at : header.size]) == header.body_sum
    )


def test_every_flipped_bit_of_a_record_is_noticed():
    data = b"".join(records.record(SECRET, records.FAILED, 77, 123456, b"0\0no such user", [b"body of it"]))
    assert intact(data)
    for index in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[index] ^= 1 << bit
            assert not intact(bytes(flipped)), (index, bit)


def test_every_cut_of_a_record_is_noticed():
    data = b"".join(records.record(SECRET, records.DONE, 77, 123456, b"0", [b"body"]))
    for length in range(len(data)):
        assert not intact(data[:length])


def test_every_flipped_bit_of_a_batch_header_is_noticed():
    data = records.batch_header(SECRET, 5, (3, 4096), 17, 300, [(1, 100), (2, 200)])
    header = records.parse_batch(data, 0, SECRET)
    assert (header.running, header.mark, header.next_number, header.length) == (5, (3, 4096), 17, 300)
    assert (header.first, header.ends, header.header_length) == (True, {1: 100, 2: 200}, len(data))
    for index in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[index] ^= 1 << bit
            assert records.parse_batch(bytes(flipped), 0, SECRET) is None, (index, bit)
    for length in range(len(data)):
        assert records.parse_batch(data[:length], 0, SECRET) is None


@given(numbers, st.tuples(big, big), numbers, seconds, st.none() | st.dictionaries(big, big, max_size=5))
def test_a_batch_header_comes_back_at_any_offset(running, mark, following, length, ends):
    data = records.batch_header(SECRET, running, mark, following, length, ends.items() if ends is not None else None)
    for known in (SECRET, None):
        header = records.parse_batch(b"xyz" + data + b"more", 3, known)
        assert (header.running, header.mark, header.next_number) == (running, mark, following)
        assert (header.length, header.first, header.ends) == (length, ends is not None, ends or {})
        assert (header.secret, header.header_length) == (SECRET, len(data))


def test_what_another_home_has_written_is_nothing():
    record = b"".join(records.record(OTHER, records.DONE, 1, 2, b"0"))
    batch = records.batch_header(OTHER, 1, (0, 0), 1, 0, None)
    assert records.parse_record(record, 0, SECRET) is None
    assert records.parse_batch(batch, 0, SECRET) is None


def test_a_newer_format_is_told_apart_from_damage(monkeypatch):
    monkeypatch.setattr(records, "FORMAT", 2)
    data = records.batch_header(SECRET, 1, (0, 0), 1, 0, None)
    monkeypatch.undo()
    with pytest.raises(records.UnknownFormatError):
        records.parse_batch(data, 0, SECRET)


@given(st.binary(max_size=300), st.integers(0, 10))
def test_hostile_bytes_are_no_record_and_no_batch(data, offset):
    assert records.parse_record(data, offset, SECRET) is None
    assert records.parse_batch(data, offset, SECRET) is None
    assert records.parse_batch(data, offset, None) is None


hostile = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.one_of(
            words, st.sampled_from([b"u1", b"p-1", b"Fa", b"Tb", b"N3", b"N-1", b"R1,2", b"R", b"R99999999999,0", b"H"])
        ),
        max_size=8,
    ).map(lambda parts: b"".join(part + b"\0" for part in parts)),
    st.integers(1, 6000).map(lambda n: b"9" * n),
)


@pytest.mark.parametrize(
    "decode", [Accepted.decode, records.decode_failure, records.decode_number, records.decode_schedule]
)
@given(hostile)
def test_hostile_envelopes_raise_peer_error_only(decode, data):
    try:
        decode(data)
    except PeerError:
        pass


@given(hostile)
def test_what_was_decoded_can_be_kept_in_the_table_of_messages(data):
    """Numbers that the state's arrays can't hold are the peer's error as well, not a crash of recovery."""
    from quail.queue.state import State

    try:
        item = Accepted.decode(data)
        schedule = records.decode_schedule(data)
    except PeerError:
        return
    state = State()
    state.accept(1, 1, 0, 100, item.retry)
    state.defer(1, *schedule)


@given(seconds, seconds, st.integers(0, 10**6), st.binary(max_size=50))
def test_marks_come_back(local, remote, recipient, report):
    assert records.decode_schedule(b"%d,%d" % (local, remote)) == (local, remote)
    assert records.decode_failure(records.encode_failure(recipient, report)) == (recipient, report)
    assert records.decode_number(b"%d" % recipient) == recipient


# Frames.


@given(st.lists(st.binary(max_size=50), max_size=6), st.data())
def test_frames_arrive_whole_however_they_are_cut(payloads, data):
    stream = b"".join(map(frame, payloads))
    splitter, found, at = Splitter(50), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += splitter.feed(stream[at : at + size])
        at += size
    assert found == payloads
    byte_by_byte = Splitter(50)
    assert [payload for n in range(len(stream)) for payload in byte_by_byte.feed(stream[n : n + 1])] == payloads
    assert Splitter(50).feed(stream + b"\0\0") == payloads  # what follows is kept for the next


@given(st.integers(51, 2**32 - 1), st.binary(max_size=20))
def test_a_frame_that_is_too_long_is_refused_before_it_comes(size, behind):
    with pytest.raises(PeerError):
        Splitter(50).feed(size.to_bytes(4, "big") + behind)


# The hand-over's envelope.

addresses = st.lists(words, max_size=6)
attributes = st.lists(st.tuples(names.filter(bool), words), max_size=3)


@given(words, addresses, attributes)
def test_a_handed_over_envelope_comes_back(sender, recipients, pairs):
    data = handover.encode_envelope(sender, recipients, pairs)
    (payload,) = Splitter(handover.MAX_ENVELOPE).feed(data)
    envelope = handover.decode_envelope(payload)
    assert (envelope.sender, envelope.recipients, list(envelope.attributes)) == (sender, recipients, pairs)


@given(words, addresses, attributes)
def test_every_cut_of_an_envelope_is_noticed_or_shorter(sender, recipients, pairs):
    payload = handover.encode_envelope(sender, recipients, pairs)[4:]
    for length in range(len(payload)):
        if not payload[:length].endswith(b"\0"):
            with pytest.raises(PeerError):
                handover.decode_envelope(payload[:length])


@given(hostile)
def test_a_hostile_envelope_raises_peer_error_only(data):
    try:
        envelope = handover.decode_envelope(data)
    except PeerError:
        return
    assert handover.encode_envelope(envelope.sender, envelope.recipients, envelope.attributes)[4:] == data


@given(st.binary(max_size=20))
def test_a_reply_is_k_z_or_d(data):
    try:
        reply = handover.decode_reply(data)
    except PeerError:
        assert data[:1] not in (b"K", b"Z", b"D")
    else:
        assert reply.letter + reply.text == data


@given(st.integers(records.MAX_NUMBER + 1, 2**64 - 1))
def test_a_number_after_which_there_is_none_makes_no_record(number):
    data = b"".join(records.record(SECRET, records.FINISHED, number, 0))
    assert records.parse_record(data, 0, SECRET) is None
    assert records.parse_batch(records.batch_header(SECRET, number, (0, 0), 1, 0, None), 0, SECRET) is None
    assert records.parse_batch(records.batch_header(SECRET, 1, (0, 0), number, 0, None), 0, SECRET) is None
