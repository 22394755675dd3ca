"""The load, and what it costs: smtp-source against a server in a box, processor time from /proc, Maildirs counted."""

import os
import time
from collections.abc import Collection
from typing import NamedTuple

from tests.root.box import Box

TICKS = os.sysconf("SC_CLK_TCK")

# Runs in the box, whose loopback the machine cannot reach. Arguments: port, seconds.
BANNER = """
import socket, sys, time
end = time.monotonic() + float(sys.argv[2])
while True:
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5) as link:
            word = link.recv(4)
            link.sendall(b"QUIT\\r\\n")
            while link.recv(512):
                pass
        if word in (b"220 ", b"+OK "):
            break
    except OSError:
        pass
    if time.monotonic() > end:
        sys.exit("no greeting on port " + sys.argv[1])
    time.sleep(0.02)
"""


class Shape(NamedTuple):
    """What is sent: `size` bytes a message, `sessions` at a time, one message a connection or all on a few."""

    messages: int
    sessions: int = 20
    size: int = 4096
    persistent: bool = False
    numbered: bool = False  # each recipient another, 1NAME, 2NAME, ... instead of NAME


def await_banner(box: Box, port: int, seconds: float = 60) -> None:
    """Return when the server greets; raise BoxError after some seconds."""
    box.run(["python3", "-c", BANNER, str(port), str(seconds)], timeout=seconds + 30)


def send(box: Box, port: int, recipient: str, shape: Shape, timeout: float = 1800) -> float:
    """Send all messages; the seconds it took. smtp-source fails at the first reply that is not the expected one."""
    words = ["smtp-source", "-s", str(shape.sessions), "-l", str(shape.size), "-m", str(shape.messages)]
    words += ["-f", "sender@example.org", "-t", recipient, *(["-d"] if shape.persistent else [])]
    words += ["-N"] if shape.numbered else []
    start = time.monotonic()
    box.run([*words, f"127.0.0.1:{port}"], timeout=timeout)
    return time.monotonic() - start


def await_files(folder: str, count: int, seconds: float = 1800) -> float:
    """The seconds until a folder holds that many files. The looking takes a fiftieth of a core at most."""
    begin = time.monotonic()
    end = begin + seconds
    while True:
        start = time.monotonic()
        found = len(os.listdir(folder)) if os.path.isdir(folder) else 0
        if found >= count:
            return time.monotonic() - begin
        if start > end:
            raise TimeoutError(f"{folder} holds {found} of {count} messages after {seconds:.0f} s")
        time.sleep(max(0.02, 50 * (time.monotonic() - start)))


def processes(box: Box) -> list[int]:
    """Every process of the box but its first, as the machine numbers them."""
    inside = os.readlink(f"/proc/{box.pid}/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(name) != box.pid and os.readlink(f"/proc/{name}/ns/pid") == inside:
                found.append(int(name))
        except OSError:  # ended meanwhile
            continue
    return found


def cpu_seconds(box: Box, without: Collection[int] = ()) -> float:
    """Processor time used so far by every process of the box but some that last, those that have ended included."""
    ticks = 0
    for pid in {box.pid, *processes(box)}.difference(without):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                words = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, words[11:15]))  # proc(5): utime, stime and those of children that were waited for
    return ticks / TICKS


def memory_bytes(box: Box, without: Collection[int] = ()) -> int:
    """Memory of all processes of the box but some together, shared pages counted once (PSS)."""
    kilobytes = 0
    for pid in set(processes(box)).difference(without):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                kilobytes += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            continue
    return kilobytes * 1024


def settle(box: Box, seconds: float = 120) -> None:
    """Return when the box's processes have nothing left to do: two looks in a row find next to no processor time used."""
    end = time.monotonic() + seconds
    before = cpu_seconds(box)
    while True:
        time.sleep(0.25)
        now = cpu_seconds(box)
        if now - before <= 2 / TICKS:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"the box is still busy after {seconds:.0f} s")
        before = now
