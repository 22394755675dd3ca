"""Fuzz target of cdb: damaged files for the readers, damaged text for the maker.

A reader may raise PeerError and nothing else, reads only inside of what it was given, and both kinds of readers agree;
what comes out of a walk is no more than went in.
"""

import os
import random
import sys
import time

from quail.cdb.layout import HEADER_SIZE, cdb_hash
from quail.cdb.maker import Maker, TooMuchError
from quail.cdb.reader import MemoryReader, Reader
from quail.cdb.text import TextReader, write_text
from quail.errors import PeerError

LIES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\x08\0\0", b"\0\0\0\x80", b"\x01\0\0\0")
TOKENS = (b"+", b"\n", b"->", b":", b",", b"1", b"9999999999", b"\n+", b"+1,1:a->b\n", b"\n\n")


class Watched:
    """A buffer that lets nobody look outside of it, and counts."""

    def __init__(self, data):
        self.data = data
        self.looks = 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, where):
        assert 0 <= where.start <= where.stop
        assert where.stop <= max(len(self.data), HEADER_SIZE)
        self.looks += 1
        return self.data[where]


def some_file(rng):
    """A small cdb, and keys of which some are in it."""
    maker = Maker()
    keys = [b"", b"one", b"k" * 200, *(b"%d" % number for number in range(rng.choice((1, 30))))]
    for _ in range(rng.choice((0, 1, 5, 60))):
        maker.add(rng.choice(keys), rng.randbytes(rng.choice((0, 1, 40))))
    return maker.to_bytes(), keys


def damage(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 6))):
        # Header, records and slots alike, mostly where numbers are.
        at = rng.choice(
            (rng.randrange(512) * 4, rng.randrange(len(data)), HEADER_SIZE, max(0, len(data) - 8 * rng.randrange(40)))
        )
        data[at : at + 4] = rng.choice((*LIES, rng.randbytes(4), len(data).to_bytes(4, "little")))
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def answer(call, *args):
    try:
        return call(*args)
    except PeerError:
        return PeerError


def check_file(data, keys):
    watched = Watched(data)
    slow, quick = answer(Reader, watched), answer(MemoryReader, data)
    if slow is PeerError or quick is PeerError:
        assert slow is quick
        return
    for key in [*keys, b"absent"]:
        for skip in (0, 1, 1 << 40):
            found = answer(slow.get, key, skip)
            assert found == answer(quick.get, key, skip)
            assert found is None or found is PeerError or found in data
        answer(slow.find, key, cdb_hash(key))
    records = answer(lambda: list(slow.items()))
    assert records == answer(lambda: list(quick.items()))
    if records is not PeerError:
        assert sum(8 + len(key) + len(value) for key, value in records) <= len(data)
    distances = answer(lambda: list(slow.distances(1024)))
    assert distances is PeerError or len(distances) * 8 <= len(data)
    assert watched.looks <= 4 * (len(data) // 8 + 1) * (4 * len(keys) + 8) + len(data) // 4
    pieces = iter([data[at : at + 700] for at in range(0, len(data), 700)])
    out = []
    answer(write_text, lambda _size: next(pieces, b""), out.append)
    assert len(b"".join(out)) <= 4 * len(data) + 40


def check_text(rng, data, keys):
    """Text with errors is refused in words, or it means what it says."""
    out = []
    write_text(_once(data), out.append)
    text = bytearray(b"".join(out))
    for _ in range(rng.choice((0, 1, 1, 3))):
        at = rng.randrange(len(text))
        text[at : at + rng.choice((0, 1, 5))] = rng.choice(TOKENS)
    maker = Maker()
    try:
        TextReader(_once(bytes(text)), maker).run()
    except (PeerError, TooMuchError):
        return
    again = []
    write_text(_once(maker.to_bytes()), again.append)
    assert len(b"".join(again)) <= 2 * len(text) + 10
    assert keys


def _once(data):
    parts = [data]
    return lambda _size: parts.pop() if parts else b""


def fuzz(count, seed, seconds=float("inf")):
    """How many inputs were checked."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    for turn in range(count):
        if time.monotonic() > end:
            return turn
        data, keys = some_file(rng)
        check_text(rng, data, keys)
        bad = damage(rng, data)
        try:
            check_file(bad, rng.sample(keys, min(4, len(keys))))
        except BaseException:
            print(f"seed {seed}, input {turn}: {bad!r}", file=sys.stderr)
            raise
    return count


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), "big")
    print(f"seed {chosen}: {fuzz(1 << 62, chosen, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)} inputs")
