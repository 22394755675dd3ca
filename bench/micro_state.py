"""What the queue's memory of a message costs: the arrays of queue/state.py against an object for each message in a dict.

usage: python -m bench.micro_state

Prints bytes for each of 300,000 messages, and microseconds of a look-up and of one more message.
docs/decisions/0005-state.md.
"""

import gc
import os
import time
from collections.abc import Callable

from quail.queue.state import State, pack

MESSAGES = 300_000
CALLS = 50_000
SIZE = 4200  # bytes of a record


class Row:
    """One message, as an object."""

    __slots__ = ("local", "place", "remote", "size")

    def __init__(self, place: int, size: int) -> None:
        self.place = place
        self.size = size
        self.local = self.remote = 0


class Objects:
    """The same as State, the obvious way."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}

    def accept(self, number: int, segment: int, offset: int, size: int) -> None:
        self.rows[number] = Row(pack(segment, offset), size)

    def place(self, number: int) -> int:
        return self.rows[number].place


def resident() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def microseconds(call: Callable[[int], object]) -> float:
    start = time.perf_counter()
    for number in range(1, CALLS + 1):
        call(number)
    return (time.perf_counter() - start) / CALLS * 1e6


def measure(kind: type[State] | type[Objects]) -> tuple[float, float, float]:
    """Bytes a message, look-up, accepting; in a child, so that each starts from the same heap."""
    before = resident()
    table = kind()
    for number in range(1, MESSAGES + 1):
        table.accept(number, number * SIZE >> 26, number * SIZE & (1 << 26) - 1, SIZE)
    size = (resident() - before) / MESSAGES
    find = microseconds(table.place)
    accept = microseconds(lambda number: table.accept(MESSAGES + number, 1, 4096, SIZE))
    return size, find, accept


def in_child(kind: type[State] | type[Objects]) -> tuple[float, float, float]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, " ".join(map(str, measure(kind))).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    size, find, accept = map(float, os.read(read, 1000).split())
    return size, find, accept


def main() -> None:
    print(f"{'':<24}{'bytes':>8}{'look-up us':>12}{'accept us':>12}")
    for name, kind in (("arrays", State), ("an object a message", Objects)):
        size, find, accept = in_child(kind)
        print(f"{name:<24}{size:8.0f}{find:12.2f}{accept:12.2f}")


if __name__ == "__main__":
    main()
