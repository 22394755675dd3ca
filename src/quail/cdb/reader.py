"""Look keys up in a cdb, or walk through it.

The bytes may be anybody's: whatever they are, a look-up reads only inside of them, ends after as many probes as its table has
slots, and raises nothing but PeerError.
"""

from _collections_abc import Iterator
from struct import Struct

from quail.cdb.layout import HEADER_SIZE, PAIR, PAIR_SIZE, TABLES, cdb_hash
from quail.cdb.window import Window
from quail.errors import PeerError

_PAIR = Struct(PAIR)
_DAMAGED = "not a whole cdb file"


class Reader:
    """A cdb in a buffer, which must not change while the Reader is in use."""

    __slots__ = ("_buffer", "_header", "_size")

    def __init__(self, buffer: bytes | memoryview | Window) -> None:
        self._buffer = buffer
        self._size = len(buffer)
        self._header = buffer[0:HEADER_SIZE]
        if len(self._header) < HEADER_SIZE:
            raise PeerError(_DAMAGED)

    def get(self, key: bytes, skip: int = 0, *, hashed: int | None = None) -> bytes | None:
        """The data of the key's first record, or, after as many as `skip` of them, of the next; None if there is none.

        `hashed` is cdb_hash(key), if the caller has it.
        """
        h = cdb_hash(key) if hashed is None else hashed
        table, slots = _PAIR.unpack_from(self._header, (h & 0xFF) * PAIR_SIZE)
        if not slots:
            return None
        end = table + slots * PAIR_SIZE
        if table < HEADER_SIZE or end > self._size:
            raise PeerError(_DAMAGED)
        at = table + (h >> 8) % slots * PAIR_SIZE
        for _ in range(slots):
            found, position = self._pair(at)
            if not position:
                return None
            if found == h:
                length, size = self._pair(position)
                start = position + PAIR_SIZE
                if length == len(key) and self._slice(start, start + length) == key:
                    if not skip:
                        start += length
                        return self._slice(start, start + size)
                    skip -= 1
            at += PAIR_SIZE
            if at == end:
                at = table
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record, key and data, in the order in which they were added."""
        at = HEADER_SIZE
        # Some makers leave the positions of empty tables at 0.
        tables = (_PAIR.unpack_from(self._header, table * PAIR_SIZE) for table in range(TABLES))
        end = min((position for position, slots in tables if slots), default=HEADER_SIZE)
        if end > self._size or end < at:
            raise PeerError(_DAMAGED)
        while at < end:
            length, size = self._pair(at)
            middle = at + PAIR_SIZE + length
            if middle + size > end:
                raise PeerError(_DAMAGED)
            yield self._slice(at + PAIR_SIZE, middle), self._slice(middle, middle + size)
            at = middle + size

    def _pair(self, at: int) -> tuple[int, int]:
        data = self._buffer[at : at + PAIR_SIZE]
        if len(data) < PAIR_SIZE:
            raise PeerError(_DAMAGED)
        return _PAIR.unpack(data)

    def _slice(self, start: int, end: int) -> bytes:
        if end > self._size:
            raise PeerError(_DAMAGED)
        data = self._buffer[start:end]
        if len(data) < end - start:  # the file under a Window was cut short
            raise PeerError(_DAMAGED)
        return bytes(data)
