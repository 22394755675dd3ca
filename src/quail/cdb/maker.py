"""Make a cdb. The same records in the same order give the same bytes as the original cdbmake's."""

import sys
from _collections_abc import Callable, Iterator
from array import array
from itertools import accumulate
from struct import Struct

from quail.cdb.layout import HEADER_SIZE, MAX_SIZE, PAIR, PAIR_SIZE, TABLES, cdb_hashes
from quail.errors import PermanentError

_LENGTHS = Struct(PAIR).pack
_SLOTS_COST = 2 * PAIR_SIZE  # of a record: two slots in a table that is kept half empty
_RECORD_COST = PAIR_SIZE + _SLOTS_COST  # besides its key and data
_BATCH = 1 << 13  # records that are hashed together
_BATCH_BYTES = 1 << 20
_LONG_WAY = 16  # slots on the way to a free one, from which on the way is shortened for the next


class TooMuchError(PermanentError):
    """The file would outgrow its format's positions."""

    def __init__(self) -> None:
        super().__init__("too much for one cdb file, which must stay under 4 GiB")


class Maker:
    """Takes records, in order, and knows then what stands before and behind them.

    The records are kept in memory, for to_bytes() and chunks(); or, with a `sink`, they go there in large pieces, and only 8
    bytes for each stay. Whoever made the sink puts header() before them and tables() behind.
    """

    __slots__ = ("_end", "_keys", "_limit", "_members", "_pending", "_pending_size", "_records", "_sink", "_size")

    def __init__(self, limit: int = MAX_SIZE, sink: Callable[[bytes], object] | None = None) -> None:
        """Files over `limit` bytes are refused."""
        self._limit = limit
        self._size = HEADER_SIZE  # what the file would have by now
        self._end = HEADER_SIZE  # of the records that have been hashed
        self._records = bytearray()
        self._sink = sink or self._records.extend
        self._keys: list[bytes] = []  # added since, and their records
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._members = [array("Q") for _ in range(TABLES)]  # position << 32 | hash of each record, for each table

    def add(self, key: bytes, data: bytes) -> None:
        """Add a record; a key may be added again, and readers then find the first one first.

        Raises TooMuchError, and stays as it was, if the file would get too big for its format.
        """
        size = len(key) + len(data)
        self.make_room(size)
        self._keys.append(key)
        self._pending.append(encode(key, data))
        self._size += size + _RECORD_COST
        self._pending_size += size
        if len(self._keys) == _BATCH or self._pending_size > _BATCH_BYTES:
            self._flush()

    def extend(self, keys: list[bytes], records: list[bytes]) -> None:
        """Add many records, each as it stands in the file: two lengths, key and data. Raises as add()."""
        size = sum(map(len, records)) + len(records) * _SLOTS_COST
        if self._size + size > self._limit:
            raise TooMuchError
        self._flush()
        self._size += size
        self._put(keys, records)

    def make_room(self, size: int) -> None:
        """Raise TooMuchError if one more record, whose key and data have so many bytes together, would be too much."""
        if self._size + size + _RECORD_COST > self._limit:
            raise TooMuchError

    def to_bytes(self) -> bytes:
        """The whole file; without a sink."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes | bytearray]:
        """The whole file piece by piece: the header, the records, then each table that has slots; without a sink."""
        yield self.header()
        yield self._records
        yield from self.tables()

    def header(self) -> bytes:
        """The first bytes of the file, when all records have been added."""
        self._flush()
        header = bytearray()
        at = self._end
        for members in self._members:
            slots = 2 * len(members)
            header += _LENGTHS(at, slots)
            at += slots * PAIR_SIZE
        return bytes(header)

    def tables(self) -> Iterator[bytes]:
        """What stands behind the records, when all have been added: each table that has slots."""
        self._flush()
        steps = [*range(1, 2 * max(map(len, self._members)) + 1)]
        for members in self._members:
            if members:
                yield _table(members, steps)

    def _flush(self) -> None:
        if self._keys:
            self._put(self._keys, self._pending)
            self._keys = []
            self._pending = []
            self._pending_size = 0

    def _put(self, keys: list[bytes], records: list[bytes]) -> None:
        self._sink(b"".join(records))
        positions = [*accumulate(map(len, records), initial=self._end)]
        self._end = positions.pop()
        append = [members.append for members in self._members]
        for h, position in zip(cdb_hashes(keys), positions, strict=True):
            append[h & 0xFF](position << 32 | h)


def encode(key: bytes, data: bytes) -> bytes:
    """A record as it stands in the file, for extend()."""
    return _LENGTHS(len(key), len(data)) + key + data


def _table(members: "array[int]", steps: list[int]) -> bytes:
    """Lay out a hash table: twice as many slots as members, each in the first free slot from its place on.

    Keys may have been chosen to meet in one place: from each taken slot leads a way on, which is one slot long at first, and
    whoever went a long way makes it short for those who come after. `steps` are 1, 2, 3 and so on, enough of them.
    """
    slots = 2 * len(members)
    words = memoryview(members).cast("B").cast("I").tolist()
    table = [0] * slots
    onward = steps[:slots]
    onward[-1] = 0
    for h, member in zip(words[sys.byteorder == "big" :: 2], members, strict=True):
        at = (h >> 8) % slots
        if table[at]:
            start = at
            while table[at]:
                at = onward[at]
            if not 0 < at - start < _LONG_WAY:
                while start != at:
                    further = onward[start]
                    onward[start] = at
                    start = further
        table[at] = member
    laid_out = array("Q", table)
    if sys.byteorder == "big":
        laid_out.byteswap()
    return laid_out.tobytes()
