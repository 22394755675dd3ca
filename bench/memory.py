"""usage: python -m bench.memory [--messages N] [--size BYTES] [--dir FOLDER]

A long queue: a million messages (4 KB each, so 5 GB of disk) are sent to a Quail that delivers nothing. Prints the memory
of all its processes (PSS) before, with the full queue, and after kill -9 and a new start; how long that start takes until
the port answers; and how long it takes to show one message and to list all. Needs root and about five minutes.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time

from bench import load
from bench.peer_quail import Quail
from tests.root.box import Box
from tests.root.image import RootUnavailableError
from tests.root.testroot import TestRoot


def say(what: str, value: float, unit: str) -> None:
    print(f"{what:<44} {value:10.1f} {unit}", flush=True)


def kill_all(box: Box) -> None:
    """kill -9 for everything in the box, then wait until it is gone."""
    handles = []
    for pid in load.processes(box):
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
            os.kill(pid, signal.SIGKILL)
    for handle in handles:
        os.close(handle)
    while load.processes(box):
        time.sleep(0.01)


def measure(box: Box, peer: Quail, messages: int, size: int) -> None:
    """All the figures, in the order of the docstring."""
    peer.start(box)
    load.await_banner(box, peer.port)
    say("memory, empty queue", load.memory_bytes(box) / 1e6, "MB")
    seconds = load.send(box, peer.port, peer.recipient, load.Shape(messages, size=size, persistent=True), 7200)
    say("accepting all", messages / seconds, "messages/s")
    say("memory, all queued", load.memory_bytes(box) / 1e6, "MB")
    say("disk, the journal", folder_bytes(peer.folder + "/home/queue") / 1e6, "MB")
    kill_all(box)
    begin = time.monotonic()
    peer.serve(box)
    load.await_banner(box, peer.port, 600)
    say("start after kill -9, until 220", time.monotonic() - begin, "s")
    show(box, peer, messages)
    say("the same, until the queue answers", time.monotonic() - begin, "s")
    begin = time.monotonic()
    show(box, peer, messages)
    say("showing one (the command's start included)", time.monotonic() - begin, "s")
    begin = time.monotonic()
    found = peer.queued(box)
    say("listing all, as JSON, and reading that", time.monotonic() - begin, "s")
    if found != messages:
        sys.exit(f"bench: {messages} messages were acknowledged and {found} are there")
    say("memory, all queued, started anew", load.memory_bytes(box) / 1e6, "MB")


def show(box: Box, peer: Quail, messages: int) -> None:
    """Have one message shown, any of them."""
    peer.quail(box, "queue", "show", str(random.randrange(1, messages + 1)), "--home", "/srv/home")


def folder_bytes(folder: str) -> int:
    return sum(os.lstat(os.path.join(top, name)).st_size for top, _, names in os.walk(folder) for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--dir", default="/var/tmp", help="a folder on a disk with room for all")
    options = parser.parse_args()
    try:
        root = TestRoot.get()
    except RootUnavailableError as error:
        sys.exit(f"bench: {error}")
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="quail-bench-") as folder:
        os.chmod(folder, 0o755)
        with root.enter({folder: "/srv"}) as box:
            measure(box, Quail(folder, held=True), options.messages, options.size)


if __name__ == "__main__":
    main()
