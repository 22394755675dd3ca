"""Look keys up in a cdb, or walk through it.

The bytes may be anybody's: whatever they are, a look-up reads only inside of them, ends after as many probes as its table has
slots, and raises nothing but PeerError.
"""

from _collections_abc import Iterator
from struct import Struct, error, iter_unpack

from quail.cdb.layout import HEADER_SIZE, PAIR, PAIR_SIZE, cdb_hash
from quail.cdb.window import Window
from quail.errors import PeerError

_unpack = Struct(PAIR).unpack_from
_DAMAGED = "not a whole cdb file"
_STRETCH = 1 << 16  # of a table that is walked through
_SLOTS_AT_ONCE = 8 * PAIR_SIZE  # of a half empty table nearly always more than enough


class Reader:
    """A cdb in something that can be sliced, which must not change while the Reader is in use."""

    __slots__ = ("_buffer", "_size", "_tables")

    def __init__(self, buffer: bytes | Window) -> None:
        self._buffer = buffer
        self._size = len(buffer)
        header = buffer[0:HEADER_SIZE]
        if len(header) < HEADER_SIZE:
            raise PeerError(_DAMAGED)
        self._tables: list[tuple[int, int]] = [*iter_unpack(PAIR, header)]

    def get(self, key: bytes, skip: int = 0, *, hashed: int | None = None) -> bytes | None:
        """The data of the key's first record, or, after as many as `skip` of them, of the next; None if there is none.

        `hashed` is cdb_hash(key), if the caller has it.
        """
        place = self.find(key, cdb_hash(key) if hashed is None else hashed, skip)
        return None if place is None else self._slice(place[0], place[0] + place[1])

    def find(self, key: bytes, hashed: int, skip: int = 0) -> tuple[int, int] | None:
        """As get(): where the data begins and how long it is, be it there or not."""
        for position in self.positions(hashed):
            start = position + PAIR_SIZE
            middle = start + len(key)
            length, size = _unpack(self._slice(position, start))
            if length == len(key) and self._slice(start, middle) == key:
                if not skip:
                    return middle, size
                skip -= 1
        return None

    def positions(self, h: int) -> Iterator[int]:
        """Where the records are whose keys have this hash."""
        table, slots = self._tables[h & 0xFF]
        end = table + slots * PAIR_SIZE
        if slots and (table < HEADER_SIZE or end > self._size):
            raise PeerError(_DAMAGED)
        first = at = table + (h >> 8) % (slots or 1) * PAIR_SIZE
        while slots > 0:
            stop = min(at + _SLOTS_AT_ONCE, end if at >= first else first)
            for found, position in iter_unpack(PAIR, self._slice(at, stop)):
                if not position:
                    return
                if found == h:
                    yield position
            slots -= (stop - at) // PAIR_SIZE
            at = table if stop == end else stop

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record, key and data, in the order in which they were added."""
        for _, key, data in self.records():
            yield key, data

    def records(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Every record: where it begins, key and data."""
        at = HEADER_SIZE
        # Some makers leave the positions of empty tables at 0.
        end = min((position for position, slots in self._tables if slots), default=HEADER_SIZE)
        if end > self._size or end < at:
            raise PeerError(_DAMAGED)
        while at < end:
            length, size = _unpack(self._slice(at, at + PAIR_SIZE))
            middle = at + PAIR_SIZE + length
            if middle + size > end:
                raise PeerError(_DAMAGED)
            yield at, self._slice(at + PAIR_SIZE, middle), self._slice(middle, middle + size)
            at = middle + size

    def distances(self, longest_key: int) -> Iterator[int]:
        """Of every slot whose record has no longer key: how many slots it lies behind the place of its hash."""
        if sum(slots for _, slots in self._tables) * PAIR_SIZE > self._size:  # they lie over each other
            raise PeerError(_DAMAGED)
        for table, slots in self._tables:
            end = table + slots * PAIR_SIZE
            for start in range(table, end, _STRETCH):
                number = (start - table) // PAIR_SIZE
                for found, position in iter_unpack(PAIR, self._slice(start, min(end, start + _STRETCH))):
                    if position and _unpack(self._slice(position, position + PAIR_SIZE))[0] <= longest_key:
                        yield (number - (found >> 8)) % slots
                    number += 1

    def _slice(self, start: int, end: int) -> bytes:
        if end > self._size:
            raise PeerError(_DAMAGED)
        data = self._buffer[start:end]
        if len(data) < end - start:  # the file under a Window was cut short
            raise PeerError(_DAMAGED)
        return data


class MemoryReader(Reader):
    """A cdb in memory: the same, a few times faster."""

    __slots__ = ("_memory",)

    def __init__(self, memory: bytes) -> None:
        super().__init__(memory)
        self._memory = memory

    def get(self, key: bytes, skip: int = 0, *, hashed: int | None = None) -> bytes | None:
        """As Reader.get."""
        h = cdb_hash(key) if hashed is None else hashed
        table, slots = self._tables[h & 0xFF]
        if not slots:
            return None
        end = table + slots * PAIR_SIZE
        if table < HEADER_SIZE or end > self._size:
            raise PeerError(_DAMAGED)
        memory = self._memory
        first = at = table + (h >> 8) % slots * PAIR_SIZE
        try:
            while True:
                found, position = _unpack(memory, at)
                if not position:
                    return None
                if found == h:
                    length, size = _unpack(memory, position)
                    start = position + PAIR_SIZE
                    if length == len(key):
                        middle = start + length
                        if middle > self._size:
                            raise PeerError(_DAMAGED)
                        if memory[start:middle] == key:
                            if not skip:
                                if middle + size > self._size:
                                    raise PeerError(_DAMAGED)
                                return memory[middle : middle + size]
                            skip -= 1
                at += PAIR_SIZE
                if at == end:
                    at = table
                if at == first:
                    return None
        except error:  # a record's position outside of the file
            raise PeerError(_DAMAGED) from None
