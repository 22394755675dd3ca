"""Make a cdb. The same records in the same order give the same bytes as the original cdbmake's."""

import sys
from _collections_abc import Iterator
from array import array
from struct import Struct

from quail.cdb.layout import HEADER_SIZE, MAX_SIZE, PAIR, PAIR_SIZE, TABLES, cdb_hashes
from quail.errors import PermanentError

_PAIR = Struct(PAIR)
_RECORD_COST = 3 * PAIR_SIZE  # its two lengths, and two slots in a table that is kept half empty
_BATCH = 1 << 13  # keys that are hashed together


class Maker:
    """Gathers records in memory: add() each, then take the file as bytes or in chunks, as often as wanted."""

    __slots__ = ("_keys", "_limit", "_members", "_positions", "_records", "_size")

    def __init__(self, limit: int = MAX_SIZE) -> None:
        """Files over `limit` bytes are refused."""
        self._limit = limit
        self._size = HEADER_SIZE  # what the file would have by now
        self._records = bytearray()
        self._keys: list[bytes] = []  # added since the last batch was hashed, and where their records begin
        self._positions: list[int] = []
        self._members = [array("I") for _ in range(TABLES)]  # hash and position of each record, for each table

    def add(self, key: bytes, data: bytes) -> None:
        """Add a record; a key may be added again, and readers then find the first one first.

        Raises PermanentError, and stays as it was, if the file would get too big for its format.
        """
        size = self._size + _RECORD_COST + len(key) + len(data)
        if size > self._limit:
            raise PermanentError("too much for one cdb file, which must stay under 4 GiB")
        self._size = size
        self._keys.append(key)
        self._positions.append(HEADER_SIZE + len(self._records))
        self._records += _PAIR.pack(len(key), len(data)) + key + data
        if len(self._keys) == _BATCH:
            self._hash()

    def to_bytes(self) -> bytes:
        """The whole file."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes | bytearray]:
        """The whole file piece by piece: the header, the records, then each table that has slots."""
        self._hash()
        header = bytearray()
        at = HEADER_SIZE + len(self._records)
        for members in self._members:
            header += _PAIR.pack(at, len(members))  # two numbers for each member, and two slots
            at += len(members) * PAIR_SIZE
        yield header
        yield self._records
        for members in self._members:
            if members:
                yield _table(members)

    def _hash(self) -> None:
        members = self._members
        for h, position in zip(cdb_hashes(self._keys), self._positions, strict=True):
            table = members[h & 0xFF]
            table.append(h)
            table.append(position)
        self._keys = []
        self._positions = []


def _table(members: "array[int]") -> bytes:
    """Lay out a hash table: twice as many slots as members, each in the first free slot from its place on."""
    slots = len(members)
    table = array("I", bytes(slots * PAIR_SIZE))
    each = iter(members)
    for h, position in zip(each, each, strict=True):
        at = (h >> 8) % slots * 2
        while table[at + 1]:
            at += 2
            if at == 2 * slots:
                at = 0
        table[at] = h
        table[at + 1] = position
    if sys.byteorder == "big":
        table.byteswap()
    return table.tobytes()
