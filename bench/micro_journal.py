"""What durability costs a message: batches of the journal against a file for each message, 4 KB messages, real syncs.

usage: python -m bench.micro_journal [FOLDER]

Writes below FOLDER (a new folder in /var/tmp by default), on the disk that is to be judged. Prints messages a second for
batches of 1 to 64 messages and for a file each, then what laying a message out costs without any disk, and which part of that
is its sum. docs/decisions/0001-journal.md.
"""

import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from hashlib import blake2b, sha256

from quail.queue import records
from quail.queue.journal import Journal
from quail.queue.records import Accepted
from quail.queue.recovery import open_journal
from quail.queue.store import Entry
from quail.storage.calls import REAL
from quail.storage.durable import sync_directory, write_all

BODY = b"The quick brown fox jumps over the lazy dog, again and again and again.\n" * 57  # 4 KB
BATCHES = (1, 4, 16, 64)
SECONDS = 1.0  # each measurement, at least
ROUNDS = 3
CALLS = 2_000


def entries(journal: Journal, count: int) -> list[Entry]:
    envelope = Accepted(b"sender@example.org", {0: b"postmaster@localhost"}, uid=1000, pid=1).encode()
    return [Entry(records.ACCEPTED, journal.new_number(), 1, envelope, (BODY,)) for _ in range(count)]


def journal_batch(journal: Journal, size: int) -> None:
    if not journal.commit(entries(journal, size)):
        raise OSError("the journal could not be written")


def one_file(folder: str, number: int) -> None:
    """As queues of files do it: written under a temporary name, synced, moved to its own, and the folder synced."""
    path = f"{folder}/{number}"
    fd = REAL.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    write_all(REAL, fd, BODY)
    REAL.fsync(fd)
    REAL.close(fd)
    REAL.rename(path + ".tmp", path)
    sync_directory(REAL, folder)


def rate(step: Callable[[], None], messages: int) -> float:
    """Messages a second."""
    done, start = 0, time.perf_counter()
    while (used := time.perf_counter() - start) < SECONDS:
        step()
        done += messages
    return done / used


def microseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def disk(folder: str) -> None:
    os.mkdir(f"{folder}/files")
    os.mkdir(f"{folder}/queue")
    opened = open_journal(f"{folder}/queue")
    journal, numbers = opened.journal, iter(range(1, 1 << 30))
    best: dict[str, float] = {}
    for _ in range(ROUNDS):  # in turn, so that what else the disk does hits all of them
        for size in BATCHES:
            name = f"journal, {size} a batch"
            best[name] = max(best.get(name, 0.0), rate(partial(journal_batch, journal, size), size))
        alone = rate(lambda: one_file(f"{folder}/files", next(numbers)), 1)
        best["a file each"] = max(best.get("a file each", 0.0), alone)
    journal.close()
    os.close(opened.lock)
    for name, value in best.items():
        print(f"{name:<28}{value:10.0f} messages/s {value / best['a file each']:7.1f} times a file each")


def encoding(folder: str) -> None:
    os.mkdir(f"{folder}/encode")
    opened = open_journal(f"{folder}/encode")
    journal = opened.journal
    batch = entries(journal, 64)
    whole = microseconds(lambda: journal.lay_out(list(batch))) / len(batch)
    print(f"\n{'laying a message out':<28}{whole:10.2f} us")
    for name, total in (("crc32", zlib.crc32), ("blake2b", blake2b), ("sha256", sha256)):
        took = microseconds(partial(total, BODY))
        print(f"{name + ' of its body':<28}{took:10.2f} us {took / whole:18.2f} of that")
    journal.close()
    os.close(opened.lock)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp") as folder:
        disk(folder)
        encoding(folder)


if __name__ == "__main__":
    main()
