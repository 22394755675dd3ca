"""A cdb file mapped into memory: the quickest for a great many look-ups in a big file, and not for services.

Who cuts a mapped file short in place kills the process that looks behind the new end (SIGBUS, which Python can't catch). Each
look-up makes sure of the size before, so that only a file cut short in that very moment does harm (docs/decisions/0008).
"""

from mmap import PROT_READ, mmap

from quail.cdb.reader import MemoryReader
from quail.errors import PeerError

_DAMAGED = "not a whole cdb file"


class MappedReader(MemoryReader):
    """Reads from the file that a descriptor is open on, which stays the caller's and may be closed."""

    __slots__ = ("_mapping",)

    def __init__(self, fd: int) -> None:
        """PeerError if the file is no cdb, OSError if it can't be mapped."""
        try:
            self._mapping = mmap(fd, 0, prot=PROT_READ)
        except ValueError:  # it is empty
            raise PeerError(_DAMAGED) from None
        super().__init__(self._mapping)  # type: ignore[arg-type]  # it slices as bytes do, to bytes

    def get(self, key: bytes, skip: int = 0, *, hashed: int | None = None) -> bytes | None:
        """As Reader.get."""
        if self._mapping.size() < self._size:
            raise PeerError(_DAMAGED)
        return super().get(key, skip, hashed=hashed)
