"""The bench's own programs in a box (those of inside/), and calls of a program by an ordinary user."""

import json
import os
import shutil
from typing import Any

from bench.accounts import FIRST_UID, HOMES
from bench.sizes import Peer
from tests.root.box import Box

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")


def program(peer: Peer, name: str) -> list[str]:
    """One of the programs of inside/, where the box can see it."""
    shutil.copyfile(f"{INSIDE}/{name}.py", f"{peer.folder}/{name}.py")
    return ["python3", f"/srv/{name}.py"]


def call(
    peer: Peer, box: Box, count: int, at_once: int, size: int, words: list[str], below: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The caller's figures (see inside/caller.py); it is the first of the users, its messages are of `size` bytes."""
    caller = [*program(peer, "caller"), str(count), str(at_once), str(size), *words]
    home = f"{HOMES}/user000"
    environment = {"HOME": home, "USER": "user000", "LOGNAME": "user000"}
    if below:  # a tracer without root would take from Postfix's postdrop the group that it has for the queue
        done = box.run([*below, "-u", "user000", *caller], env=environment, timeout=1800)
    else:
        done = box.run(caller, user=FIRST_UID, cwd=home, env=environment, timeout=1800)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
