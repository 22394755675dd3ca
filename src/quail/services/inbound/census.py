"""How many connections there are, in all and from one address, over all workers: a table in memory that they share.

Each worker writes only its own column, so nothing needs a lock; a new worker begins by clearing it. All of an IPv6 /64 is one
address here. Addresses are told apart by a hash: two that share a row share a limit, which hurts only those near it.
"""

import mmap

from quail.net.peers import network

ROWS = 1 << 16
_TOTAL = ROWS  # the last row counts all
_ITEM = 4  # bytes of a counter


def make(workers: int) -> memoryview:
    """The table, before the workers are forked."""
    return memoryview(mmap.mmap(-1, (ROWS + 1) * workers * _ITEM)).cast("I")


class Census:
    """One worker's view."""

    def __init__(self, table: memoryview, worker: int) -> None:
        """Clears what a dead predecessor has counted."""
        self._table = table
        self._workers = len(table) // (ROWS + 1)
        self._worker = worker
        for row in range(ROWS + 1):
            cell = row * self._workers + worker
            if table[cell]:
                table[cell] = 0

    def _row(self, address: str) -> int:
        return hash(network(address)) % ROWS  # the seed is the same in all workers: they are forks of one process

    def _sum(self, row: int) -> int:
        start = row * self._workers
        return sum(self._table[start : start + self._workers])

    def enter(self, address: str) -> None:
        """A connection begins."""
        for row in (self._row(address), _TOTAL):
            self._table[row * self._workers + self._worker] += 1

    def leave(self, address: str) -> None:
        """It ends."""
        for row in (self._row(address), _TOTAL):
            self._table[row * self._workers + self._worker] -= 1

    def from_address(self, address: str) -> int:
        """Connections from this address now."""
        return self._sum(self._row(address))

    def total(self) -> int:
        """Connections now."""
        return self._sum(_TOTAL)
