"""Ordinary users of a box, each with a home and a Maildir on the disk, and the counting of what comes to them."""

import os
import time
from collections.abc import Mapping, Sequence

from tests.root.box import Box

FIRST_UID = 3000
HOMES = "/home"  # in the box; what the image has there is not seen
PASSWORD = "secret"  # of the first user, where it is asked for
_GLANCE = 0.02  # seconds between looks at Maildirs, at least


class LostError(Exception):
    """Acknowledged messages are not where they must be."""


class Accounts:
    """`count` users: user000, user001, ... with uids and gids of their own from FIRST_UID on."""

    def __init__(self, folder: str, count: int) -> None:
        """Make their homes below `folder`, which the box must have as HOMES."""
        self.folder = folder
        self.names = [f"user{number:03}" for number in range(count)]
        for uid, name in enumerate(self.names, FIRST_UID):
            top = f"{folder}/{name}"
            maildir = top + "/Maildir"
            for path in (top, maildir, *(f"{maildir}/{part}" for part in ("tmp", "new", "cur"))):
                os.mkdir(path, 0o700)
                os.chown(path, uid, uid)

    def uid(self, name: str) -> int:
        return FIRST_UID + self.names.index(name)

    def enrol(self, box: Box) -> None:
        """Make them known in the box, as useradd would."""
        for file, line in (
            ("passwd", "{name}:x:{uid}:{uid}::{homes}/{name}:/bin/sh\n"),
            ("group", "{name}:x:{uid}:\n"),
            ("shadow", "{name}:*:20000:0:99999:7:::\n"),
        ):
            text = "".join(
                line.format(name=name, uid=uid, homes=HOMES) for uid, name in enumerate(self.names, FIRST_UID)
            )
            box.run(["sh", "-c", f"cat >> /etc/{file}"], data=text)

    def _new(self, name: str) -> str:
        return f"{self.folder}/{name}/Maildir/new"

    def await_mail(self, wanted: Mapping[str, int], seconds: float = 600) -> None:
        """Return when everybody has so many messages. The looking takes a fiftieth of a core at most."""
        end = time.monotonic() + seconds
        missing = dict(wanted)
        while True:
            start = time.monotonic()
            for name, count in list(missing.items()):
                if len(os.listdir(self._new(name))) < count:
                    break  # whoever waits for one need not look at the rest
                del missing[name]
            if not missing:
                return
            if start > end:
                raise TimeoutError(
                    f"{len(missing)} users wait for messages after {seconds:.0f} s: {sorted(missing)[:5]}"
                )
            time.sleep(max(_GLANCE, 50 * (time.monotonic() - start)))

    def last_arrival(self) -> float:
        """When the newest message got its name in a new/: its inode's change, by the clock of time.time()."""
        return max(entry.stat().st_ctime_ns for name in self.names for entry in os.scandir(self._new(name))) / 1e9

    def check(self, wanted: Mapping[str, int]) -> None:
        """Raise LostError unless everybody has exactly so many, as files of his own that nobody else can read."""
        for name in self.names:
            status = [entry.stat() for entry in os.scandir(self._new(name))]
            if len(status) != wanted.get(name, 0):
                raise LostError(f"{name} must have {wanted.get(name, 0)} messages and has {len(status)}")
            if {one.st_uid for one in status} - {self.uid(name)} or any(one.st_mode & 0o077 for one in status):
                raise LostError(f"{name} has messages that are not his alone")


def shares(messages: int, names: Sequence[str]) -> dict[str, int]:
    """How many of so many messages each gets, when they are spread evenly."""
    count = len(names)
    return {name: messages // count + (number < messages % count) for number, name in enumerate(names)}
