"""What a process costs: a fork of the preloaded program, a new interpreter, a worker that is there already; and what a frozen
collector is worth to the memory of forks.

usage: python -m bench.micro_fork

Prints microseconds (the best of some rounds, parent and child on the clock) and, for a child that has run a full collection,
how much memory is its own. docs/decisions/0004-forks.md.
"""

import gc
import os
import socket
import sys
import time
from collections.abc import Callable

import quail.cli.serve  # what serve has loaded when it forks

CALLS = 50
ROUNDS = 5
TASK = b"x" * 4096
PRELOADED = quail.cli.serve.__name__


def fork_and_wait() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def spawn(*args: str) -> Callable[[], None]:
    def call() -> None:
        pid = os.posix_spawn(sys.executable, [sys.executable, *args], dict(os.environ))
        _, status = os.waitpid(pid, 0)
        assert status == 0

    return call


def fork_for_a_task() -> None:
    """As qmail-lspawn does: a process for each delivery, which ends with its report."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        theirs.recv(65536)
        theirs.send(b"K")
        os._exit(0)
    theirs.close()
    ours.send(TASK)
    assert ours.recv(1) == b"K"
    ours.close()
    os.waitpid(pid, 0)


class Worker:
    """One child for all tasks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            while theirs.recv(65536):
                theirs.send(b"K")
            os._exit(0)
        theirs.close()

    def task(self) -> None:
        self._socket.send(TASK)
        assert self._socket.recv(1) == b"K"

    def close(self) -> None:
        self._socket.close()
        os.waitpid(self._pid, 0)


def report(what: str, call: Callable[[], None], unit: float = 0.0) -> float:
    """Microseconds; `unit` is what counts as one."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - start) / CALLS * 1e6)
    print(f"{what:<52}{best:10.0f} us{best / (unit or best):10.1f}")
    return best


def own_memory() -> int:
    """KiB that only this process has."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:")))


def child_after_collection() -> int:
    """KiB of a child of its own, after what happens to every process that lives long."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        gc.collect()
        os.write(write, b"%d" % own_memory())
        os._exit(0)
    os.waitpid(pid, 0)
    found = int(os.read(read, 100))
    os.close(read)
    os.close(write)
    return found


def main() -> None:
    gc.collect()
    loose = child_after_collection()
    gc.freeze()
    frozen = child_after_collection()
    unit = report("fork of the preloaded process, and its end", fork_and_wait)
    report("a new interpreter without site (-I -S)", spawn("-I", "-S", "-c", "pass"), unit)
    report("a new interpreter that loads the services", spawn("-c", f"import {PRELOADED}"), unit)
    worker = Worker()
    unit = report("a 4 KB task for a worker that lives, and its report", worker.task)
    worker.close()
    report("a fork for the task", fork_for_a_task, unit)
    print(
        f"a child's own memory after a collection: {loose} KiB, {frozen} KiB if frozen before ({loose / frozen:.1f} times)"
    )


if __name__ == "__main__":
    main()
