"""Whatever goes into a cdb comes out; whatever bytes come in, a Reader ends, stays inside, and raises only PeerError."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from quail.cdb.layout import cdb_hash
from quail.cdb.maker import Maker
from quail.cdb.reader import MemoryReader, Reader
from quail.errors import PeerError

keys = st.one_of(st.binary(max_size=3), st.binary(max_size=80))
records = st.lists(st.tuples(keys, st.binary(max_size=30)), max_size=60)


def make(pairs):
    maker = Maker()
    for key, data in pairs:
        maker.add(key, data)
    return maker.to_bytes()


@given(records, st.lists(keys, max_size=5))
def test_round_trip(pairs, others):
    for reader in Reader(make(pairs)), MemoryReader(make(pairs)):
        assert list(reader.items()) == pairs
        for key in [key for key, _ in pairs] + others:
            wanted = [data for other, data in pairs if other == key]
            assert [reader.get(key, skip) for skip in range(len(wanted) + 1)] == [*wanted, None]


class Guarded:
    """A buffer that notices reads outside of it, and counts them all."""

    def __init__(self, data):
        self.data = data
        self.reads = 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, where):
        assert 0 <= where.start <= where.stop
        assert where.step is None
        self.reads += 1
        data = self.data[where]
        assert where.stop - where.start <= max(len(self.data), 2048)
        return data


def survives(data, some):
    buffer = Guarded(data)
    try:
        reader = Reader(buffer)
        for key in some:
            for skip in (0, 1):
                try:
                    reader.get(key, skip)
                except PeerError:
                    pass
        for _ in reader.items():
            pass
    except PeerError:
        pass
    # A probe costs at most three reads, a step of the walk three; there are no more of either than 8-byte places.
    assert buffer.reads <= 3 * (len(data) // 8 + 1) * (2 * len(some) + 1)
    agree(data, some)


def answer(reader, key, skip):
    try:
        return reader.get(key, skip)
    except PeerError:
        return PeerError


def agree(data, some):
    """In memory the answers are the same, and cost no more probes than there are slots."""
    try:
        slow, quick = Reader(data), MemoryReader(data)
    except PeerError:
        return
    for key in some:
        for skip in (0, 1):
            assert answer(slow, key, skip) == answer(quick, key, skip)


@given(st.binary(max_size=4000), st.lists(keys, min_size=1, max_size=4))
def test_hostile_bytes(data, some):
    survives(data, some)


@given(
    records.filter(bool),
    st.lists(
        st.tuples(st.floats(0, 1), st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2047, 2048, 2**31]))),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 40),
)
def test_damaged_files(pairs, lies, cut):
    data = bytearray(make(pairs))
    for where, lie in lies:
        # One in two lies goes where look-ups of the first key pass for sure.
        table = (cdb_hash(pairs[0][0]) & 0xFF) * 8
        at = table if where < 0.25 else table + 4 if where < 0.5 else int((where - 0.5) * 2 * (len(data) - 4))
        struct.pack_into("<L", data, at, lie)
    survives(bytes(data[: len(data) - cut]), [key for key, _ in pairs[:5]] + [b"other"])
