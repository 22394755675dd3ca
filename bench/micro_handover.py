"""What handing a message to the queue costs: a connection each, connections that are kept, or one that all sessions share.

usage: python -m bench.micro_handover

Both ends are the real ones (smtpd's pool, the queue's intake, two processes with uvloop), 20 sessions, 4 KB messages; only the
disk is missing: what came in one turn of the loop is settled in the next. Prints processor time and system calls for each
message, of both ends together; system calls are counted in a second run, if strace is there. docs/decisions/0002-handover.md.
"""

import asyncio
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import uvloop

from quail.message import received
from quail.queue.handover import END, Reply, encode_envelope
from quail.queue.store import Entry
from quail.services.inbound import handoff
from quail.services.queue.intake import Incoming, Intake

SESSIONS = 20
MESSAGES = 20_000
COUNTED = 4_000  # messages of a run under strace
ROUNDS = 3
BODY = b"The quick brown fox jumps over the lazy dog, again and again and again.\n" * 57
WAYS = {"each": "a connection each", "kept": "kept connections", "shared": "one shared"}


class Settler:
    """Stands for store and writer: what is submitted is durable at the next turn of the loop."""

    refusing = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._number = 0
        self._waiting: list[Entry] = []
        self.intake: Intake

    def new_number(self) -> int:
        self._number += 1
        return self._number

    def submit(self, entry: Entry) -> None:
        if not self._waiting:
            self._loop.call_soon(self._settle)
        self._waiting.append(entry)

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            assert isinstance(entry.source, Incoming)
            self.intake.settled(entry.source)


def serve(listener: socket.socket) -> None:
    """The queue's end, until it is killed."""
    loop = uvloop.new_event_loop()
    settler = Settler(loop)
    settler.intake = Intake(
        settler,  # type: ignore[arg-type]  # as much of a store and a writer as small messages need
        settler,  # type: ignore[arg-type]
        loop=loop,
        now=lambda: 1.0,
        log=print,
        service_uids=frozenset({os.geteuid()}),
        invoked_by=received.by_uid,
    )
    loop.run_until_complete(loop.create_unix_server(settler.intake.connection, sock=listener))
    loop.run_forever()


class Sender:
    """A session that always has a message: the next one goes when the last one is answered."""

    def __init__(self, pool: handoff.HandoffPool, way: str, left: list[int], done: asyncio.Event) -> None:
        self._pool = pool
        self._way = way
        self._left = left
        self._done = done

    def send(self) -> None:
        frames = encode_envelope(b"sender@example.org", [b"postmaster@localhost"])
        frames += len(BODY).to_bytes(4, "big") + BODY + END
        if self._way == "shared":
            self._pool.submit(frames, self)
        else:
            self._pool.acquire(self).write(frames)

    def handed_over(self, reply: Reply) -> None:
        assert reply.letter == b"K", reply.text
        self._left[0] -= 1
        if self._left[0] >= SESSIONS:
            self.send()
        elif not self._left[0]:
            self._done.set()

    def pause_message(self, paused: bool) -> None:
        """A whole message is in memory anyway."""


async def load(path: str, way: str, messages: int) -> None:
    """smtpd's end."""
    handoff.MAX_IDLE = 0 if way == "each" else SESSIONS
    pool = handoff.HandoffPool(asyncio.get_running_loop(), path)
    done = asyncio.Event()
    left = [messages]
    for _ in range(SESSIONS):
        Sender(pool, way, left, done).send()
    await done.wait()
    pool.close()


def run(way: str, messages: int) -> float:
    """Microseconds of processor time for each message, both ends."""
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/queue.sock")
        listener.listen(1024)
        listener.setblocking(False)
        pid = os.fork()
        if pid == 0:
            serve(listener)
        before = resource.getrusage(resource.RUSAGE_SELF)
        uvloop.run(load(f"{folder}/queue.sock", way, messages))
        after = resource.getrusage(resource.RUSAGE_SELF)
        os.kill(pid, signal.SIGKILL)
        _, _, child = os.wait4(pid, 0)
    mine = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (mine + child.ru_utime + child.ru_stime) / messages * 1e6


def system_calls(way: str) -> str:
    """Of both ends for each message; the start of the interpreter is shared by all and too little to matter."""
    strace = shutil.which("strace")
    if strace is None:
        return "(no strace)"
    counts = []
    for messages in (SESSIONS, SESSIONS + COUNTED):
        command = [strace, "-f", "-c", sys.executable, "-m", "bench.micro_handover", way, str(messages)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        total = re.search(r"([0-9]+)\s+(?:[0-9]+\s+)?total$", done.stderr, re.MULTILINE)
        assert total is not None, done.stderr
        counts.append(int(total[1]))
    return f"{(counts[1] - counts[0]) / COUNTED:.1f}"


def main() -> None:
    if len(sys.argv) == 3:
        run(sys.argv[1], int(sys.argv[2]))
        return
    best = {way: min(run(way, MESSAGES) for _ in range(ROUNDS)) for way in WAYS}
    print(f"{'':<20}{'us a message':>14}{'of the shared':>15}{'system calls':>14}")
    for way, name in WAYS.items():
        print(f"{name:<20}{best[way]:14.1f}{best[way] / best['shared']:15.2f}{system_calls(way):>14}")


if __name__ == "__main__":
    main()
