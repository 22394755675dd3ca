"""The cdb file itself. Files marked as golden were made by Debian's freecdb 0.76 and, the same, by tinycdb 0.78."""

import hashlib
import struct
from array import array

import pytest

from quail.cdb import reader as cdb_reader
from quail.cdb.layout import cdb_hash, cdb_hashes
from quail.cdb.maker import Maker, TooMuchError, _table, encode
from quail.errors import PeerError, PermanentError


@pytest.fixture(params=["Reader", "MemoryReader"], autouse=True)
def kind(request, monkeypatch):
    """Every test for both kinds of readers."""
    monkeypatch.setattr(f"{__name__}.Reader", getattr(cdb_reader, request.param))


Reader = cdb_reader.Reader
ODD = [(b"", b""), (b"", b"again"), (b"\0\n->", b"+1,1:a->b\n"), (b"k" * 33, b"d"), (b"one", b""), (b"one", b"2nd")]


def make(records, **kwargs):
    maker = Maker(**kwargs)
    for key, data in records:
        maker.add(key, data)
    return maker.to_bytes()


GOLDEN = [
    ([], 2048, "ad292543e381bc50175b6b6452ccc06e579755910a528c8dc7d18019279e1f3f"),
    ([(b"one", b"Hello")], 2080, "2b1864a59451a2e4588037e22fecee775d2a8d1b339e3cd2888907b3a3c3d985"),
    (ODD, 2254, "87bde8623e9c34fa2ffa8f4b67075a0477fb770db1e1d8d0e75a00c69493647b"),
    (
        [(b"key%d" % (i % 700), b"x" * (i % 50)) for i in range(1000)],
        56328,
        "9e2aa0f5438c9753fcbbcdca79fdf90e697801962d2d9e38b8bdb1b1c028a75b",
    ),
    (
        [(b"%d" % i, b"%d" % i) for i in range(20000)],
        659828,
        "12a23890f2d97059d5af7ea6979c6a554cbde2d2319072b47ce177a70c55f613",
    ),
]


@pytest.mark.parametrize(("records", "size", "digest"), GOLDEN)
def test_golden_files_byte_for_byte(records, size, digest):
    data = make(records)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


def test_layout_of_one_record_by_hand():
    data = make([(b"one", b"Hello")])
    record = bytes.fromhex("0300000005000000") + b"oneHello"
    # "one" has the hash 0x0b875b81: table 0x81, place 0x0b875b mod 2 = 1.
    slots = struct.pack("<LLLL", 0, 0, 0x0B875B81, 2048)
    before, after = struct.pack("<LL", 2064, 0), struct.pack("<LL", 2080, 0)
    assert data == before * 0x81 + struct.pack("<LL", 2064, 2) + after * 0x7E + record + slots


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"", 5381), (b"a", 5381 * 33 ^ 97), (b"one", 0x0B875B81), (b"\xff" * 3, None), (b"x" * 1000, None)],
)
def test_hash(key, expected):
    h = 5381
    for byte in key:
        h = (((h << 5) + h) ^ byte) % 2**32
    assert cdb_hash(key) == h
    assert expected in (None, h)


@pytest.mark.parametrize("length", [0, 1, 3, 31, 32, 33, 64, 65, 200])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 100])
def test_hashing_many_keys_at_once_is_hashing_each(length, count):
    keys = [bytes((i * 7 + j * 13 + length) % 256 for j in range(length)) for i in range(count)]
    assert cdb_hashes([*keys, b"other"]) == [cdb_hash(key) for key in [*keys, b"other"]]


def test_hashing_no_keys():
    assert cdb_hashes([]) == []


def test_duplicates_are_found_in_the_order_they_were_added():
    reader = Reader(bytes(make([(b"k", b"1"), (b"other", b"x"), (b"k", b"2"), (b"k", b"3")])))
    assert [reader.get(b"k", skip) for skip in range(5)] == [b"1", b"2", b"3", None, None]
    assert reader.get(b"other") == b"x"
    assert reader.get(b"nothing") is None
    assert list(reader.items()) == [(b"k", b"1"), (b"other", b"x"), (b"k", b"2"), (b"k", b"3")]


def test_a_key_is_not_found_by_its_hash_alone():
    a, b = b"000B", b"001c"
    assert cdb_hash(a) == cdb_hash(b)
    reader = Reader(make([(a, b"first"), (b, b"second"), (a, b"third")]))
    assert [reader.get(a), reader.get(b), reader.get(a, 1), reader.get(b, 1)] == [b"first", b"second", b"third", None]


def test_making_can_go_on_after_taking_the_bytes():
    maker = Maker()
    maker.add(b"a", b"1")
    assert maker.to_bytes() == make([(b"a", b"1")])
    maker.add(b"b", b"2")
    assert maker.to_bytes() == b"".join(maker.chunks()) == make([(b"a", b"1"), (b"b", b"2")])


def test_more_than_one_batch_of_hashes():
    records = [(b"%d" % i, b"") for i in range(20_000)]
    assert list(Reader(make(records)).items()) == records


def test_the_size_limit_is_exact_and_a_refusal_changes_nothing():
    size = len(make([(b"a", b"1"), (b"b", b"2")]))
    maker = Maker(limit=size)
    maker.add(b"a", b"1")
    with pytest.raises(PermanentError, match="under 4 GiB"):
        maker.add(b"b", b"22")
    maker.add(b"b", b"2")
    assert maker.to_bytes() == make([(b"a", b"1"), (b"b", b"2")])
    with pytest.raises(PermanentError, match="under 4 GiB"):
        maker.add(b"", b"")


def test_the_real_limit_is_4_gib():
    class Endless(bytes):
        def __len__(self):
            return 2**32 - 2048 - 24

    maker = Maker()
    with pytest.raises(PermanentError, match="under 4 GiB"):
        maker.add(b"", Endless())
    assert maker.to_bytes() == make([])


def test_with_a_sink_the_records_go_there_and_the_rest_is_the_same():
    pieces = []
    maker = Maker(sink=pieces.append)
    for key, data in GOLDEN[3][0]:
        maker.add(key, data)
    maker.extend([b"x", b"yz"], [encode(b"x", b"1"), encode(b"yz", b"")])
    header = maker.header()
    assert header + b"".join(pieces) + b"".join(maker.tables()) == make([*GOLDEN[3][0], (b"x", b"1"), (b"yz", b"")])


def test_many_at_once_are_refused_together():
    maker = Maker(limit=len(make([(b"a", b"1"), (b"b", b"2")])))
    with pytest.raises(TooMuchError):
        maker.extend([b"a", b"b"], [encode(b"a", b"1"), encode(b"b", b"22")])
    maker.extend([b"a", b"b"], [encode(b"a", b"1"), encode(b"b", b"2")])
    assert maker.to_bytes() == make([(b"a", b"1"), (b"b", b"2")])


def test_room_is_asked_for_before_data_is_read():
    maker = Maker(limit=2048 + 24 + 10)
    maker.make_room(10)
    with pytest.raises(TooMuchError):
        maker.make_room(11)


def plain_table(members, slots):
    """As the format page says it."""
    table = [(0, 0)] * slots
    for h, position in members:
        at = (h >> 8) % slots
        while table[at][1]:
            at = (at + 1) % slots
        table[at] = (h, position)
    return b"".join(struct.pack("<LL", *pair) for pair in table)


@pytest.mark.parametrize("starts", ["one", "behind each other", "at the end", "all over"])
def test_tables_of_keys_that_meet_are_laid_out_as_ever(starts):
    count = 300
    place = {
        "one": lambda n: 7,
        "behind each other": lambda n: n // 2,
        "at the end": lambda n: 599 - n % 5,
        "all over": lambda n: n * 7919 % 600,
    }
    members = [(place[starts](n) << 8 | 5, 2048 + n) for n in range(count)]
    packed = array("Q", [position << 32 | h for h, position in members])
    assert _table(packed, [*range(1, 700)]) == plain_table(members, 2 * count)


@pytest.mark.parametrize("starts", ["one", "rising"])
def test_keys_that_were_chosen_to_meet_cost_no_square(starts):
    class Counting(list):
        steps = 0

        def __getitem__(self, at):
            if not isinstance(at, slice):
                Counting.steps += 1
                return super().__getitem__(at)
            return Counting(super().__getitem__(at))

    count = 4000
    first = [0] * (count // 2) + ([0] * (count // 2) if starts == "one" else [*range(count // 2)])
    _table(
        array("Q", [2048 + n << 32 | place << 8 for n, place in enumerate(first)]), Counting(range(1, 2 * count + 1))
    )
    assert Counting.steps < 40 * count


@pytest.mark.parametrize("size", [0, 1, 8, 2047])
def test_too_short_for_a_header(size):
    with pytest.raises(PeerError, match="not a whole cdb file"):
        Reader(bytes(size))


def pair_at(data, at):
    return struct.unpack_from("<LL", data, at)


def patched(data, at, *numbers):
    return data[:at] + struct.pack(f"<{len(numbers)}L", *numbers) + data[at + 4 * len(numbers) :]


class TestDamage:
    """Each field in turn is made to lie."""

    key = b"a"
    data = make([(b"a", b"11"), (b"b", b"22")])
    header = (cdb_hash(b"a") & 0xFF) * 8
    table = pair_at(data, header)[0]
    slot = table + (cdb_hash(b"a") >> 8) % 2 * 8

    @pytest.mark.parametrize("lie", [0, 8, 2047, 2**32 - 1, 2**31])
    def test_table_position(self, lie):
        with pytest.raises(PeerError):
            Reader(patched(self.data, self.header, lie)).get(self.key)

    @pytest.mark.parametrize("lie", [5, 2**29, 2**32 - 1])
    def test_number_of_slots(self, lie):
        with pytest.raises(PeerError):
            Reader(patched(self.data, self.header + 4, lie)).get(self.key)

    @pytest.mark.parametrize("lie", [2**32 - 1, 2**32 - 8, len(data), len(data) - 4])
    def test_record_position(self, lie):
        with pytest.raises(PeerError):
            Reader(patched(self.data, self.slot + 4, lie)).get(self.key)

    def test_key_length(self):
        assert Reader(patched(self.data, 2048, 2**32 - 1)).get(self.key) is None

    def test_key_beyond_the_end(self):
        cut = patched(self.data, self.slot + 4, len(self.data) - 8)
        with pytest.raises(PeerError):
            Reader(patched(cut, len(self.data) - 8, 1)).get(self.key)

    @pytest.mark.parametrize("lie", [2**32 - 1, 2**31, len(data)])
    def test_data_length(self, lie):
        with pytest.raises(PeerError):
            Reader(patched(self.data, 2052, lie)).get(self.key)

    def test_a_table_without_an_empty_slot_ends(self):
        full = b"".join(struct.pack("<LL", cdb_hash(b"missing"), 2048) for _ in range(4))
        header = (cdb_hash(b"missing") & 0xFF) * 8
        data = patched(self.data, header, len(self.data), 4) + full
        assert Reader(data).get(b"missing") is None
        assert Reader(data).get(b"missing", 99) is None

    @pytest.mark.parametrize("cut", [1, 8, 31, 32, 33])
    def test_cut_short(self, cut):
        reader = Reader(self.data[:-cut])
        with pytest.raises(PeerError):
            assert [reader.get(key) for key in (b"a", b"b")]

    def test_tables_over_each_other_are_not_walked_through(self):
        assert sorted(Reader(self.data).distances(1)) == [0, 0]
        both = struct.pack("<LL", self.table, 2)
        with pytest.raises(PeerError):
            list(Reader(both * 256 + self.data[2048:]).distances(1))

    @pytest.mark.parametrize(("at", "lie"), [(2048, 2**32 - 1), (2052, 2**32 - 1), (2052, 3), (2048, 100)])
    def test_walking_over_a_lying_record(self, at, lie):
        with pytest.raises(PeerError):
            list(Reader(patched(self.data, at, lie)).items())

    @pytest.mark.parametrize("lie", [0, 2047, 2**32 - 1])
    def test_walking_with_a_lying_end(self, lie):
        with pytest.raises(PeerError):
            list(Reader(patched(self.data, self.header, lie)).items())

    def test_walking_does_not_need_positions_of_empty_tables(self):
        data = self.data
        for table in range(256):
            if not pair_at(data, table * 8)[1]:
                data = patched(data, table * 8, 0)
        assert list(Reader(data).items()) == [(b"a", b"11"), (b"b", b"22")]
        assert list(Reader(bytes(2048)).items()) == []
