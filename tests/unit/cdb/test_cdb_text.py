"""The text form of a cdb, in pieces of any size. What is said of broken text: tests/programs/test_cdb_programs.py."""

import pytest

from quail.cdb import text as cdb_text
from quail.cdb.maker import Maker, TooMuchError
from quail.cdb.text import TextReader, write_text
from quail.errors import PeerError

RECORDS = [(b"k%d" % n, b"\n+" * (n % 3) + b"d" * (n % 50)) for n in range(500)]
RECORDS += [(b"", b""), (b"\n", b"\n\n"), (b"k" * 2000, b"\n+1,1:a->b\n"), (b"long", b"x" * 70_000), (b"k1", b"again")]


def written(records):
    return b"".join(b"+%d,%d:%s->%s\n" % (len(key), len(data), key, data) for key, data in records) + b"\n"


def in_pieces(data, size):
    at = 0

    def read(most):
        nonlocal at
        piece = data[at : at + min(size, most)]
        at += len(piece)
        return piece

    return read


def made(records):
    maker = Maker()
    for key, data in records:
        maker.add(key, data)
    return maker.to_bytes()


@pytest.fixture(params=[64, 1000, 1 << 18], autouse=True)
def chunk(request, monkeypatch):
    monkeypatch.setattr(cdb_text, "_CHUNK", request.param)


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_whatever_the_pieces_it_is_the_same(size):
    maker = Maker()
    TextReader(in_pieces(written(RECORDS) + b"not read\n+x", size), maker).run()
    assert maker.to_bytes() == made(RECORDS)
    out = []
    write_text(in_pieces(made(RECORDS), size), out.append)
    assert b"".join(out) == written(RECORDS)


def test_nothing_is_read_behind_the_empty_line():
    read = in_pieces(b"+1,1:a->b\n\n", 1)

    def guarded(most):
        piece = read(most)
        assert piece
        return piece

    TextReader(guarded, Maker()).run()


def test_lengths_are_told_from_the_bytes_that_they_count():
    maker = Maker()
    TextReader(in_pieces(b"+1,16:a->b\n+1,1:c->d\n+1,1\n+2,2:ee->ff\n\n", 99), maker).run()
    assert maker.to_bytes() == made([(b"a", b"b\n+1,1:c->d\n+1,1"), (b"ee", b"ff")])


def test_a_record_that_cannot_fit_is_refused_before_its_data_is_there():
    with pytest.raises(TooMuchError):
        TextReader(in_pieces(b"+1,1:a->b\n+1,4294965197:", 99), Maker()).run()
    with pytest.raises(PeerError, match="entry 2: unexpected end"):
        TextReader(in_pieces(b"+1,1:a->b\n+1,4294965196:", 99), Maker()).run()


def test_many_pairs_of_lengths_are_not_all_remembered(monkeypatch):
    monkeypatch.setattr(cdb_text, "_SHAPES", 5)
    maker = Maker()
    reader = TextReader(in_pieces(written(RECORDS), 1 << 20), maker)
    reader.run()
    assert maker.to_bytes() == made(RECORDS)
    assert len(reader._shapes) <= 5


@pytest.mark.parametrize(
    "text",
    [b"+1,1:a->b\n+1,1:ab->\n+1,1:a->b\n\n", b"+1,1:a->b\n+1,1:a-xb\n+1,1:a->b\n\n", b"+1,1:a->b\n+1 ,1:a->b\n+"],
)
def test_the_wrong_one_is_counted(text):
    with pytest.raises(PeerError, match=r"^entry 2: "):
        TextReader(in_pieces(text, 99), Maker()).run()


@pytest.mark.parametrize("cut", [0, 2047, 2050, 2059, 3000])
def test_a_dump_of_less_than_a_file(cut):
    out = []
    with pytest.raises(PeerError, match="truncated file"):
        write_text(in_pieces(made(RECORDS)[:cut], 100), out.append)
    assert written(RECORDS).startswith(b"".join(out))


def test_a_lying_length_is_not_reserved():
    data = bytearray(made([(b"a", b"b")]))
    data[2048:2056] = b"\xff" * 8
    out = []
    with pytest.raises(PeerError, match="truncated file"):
        write_text(in_pieces(bytes(data), 100), out.append)
    assert b"".join(out).startswith(b"+4294967295,4294967295:ab")


def test_the_number_of_an_entry_counts_those_that_were_read_in_bulk():
    with pytest.raises(PeerError, match=r"^entry 501: entry must start"):
        TextReader(in_pieces(written(RECORDS[:500])[:-1] + b"x", 1 << 20), Maker()).run()


def test_data_full_of_starts_of_records_is_not_split_again_and_again(chunk):
    class Counting(Maker):
        calls = 0

        def extend(self, keys, records):
            Counting.calls += 1
            super().extend(keys, records)

    records = [(b"a%d" % n, b"\n+\n+") for n in range(2000)]
    text = written(records)
    maker = Counting()
    TextReader(in_pieces(text, 1 << 20), maker).run()
    assert maker.to_bytes() == made(records)
    assert Counting.calls <= 2 * len(text) // cdb_text._CHUNK + 2
