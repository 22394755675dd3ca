"""The world outside of a mail system, in the same box: smtp-sink for every host there is, and a name server that knows them.

The hosts' addresses are 10.77.M.H, all of them the box's own without being any interface's. smtp-sink keeps each transaction
as a file in memory, so that every message and every recipient can be counted.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from bench.accounts import LostError
from tests.root.box import Box

NETWORK = 77  # 10.77.0.0/16
RELAY = f"10.{NETWORK}.0.1"
FOLDER = "/dev/shm/sink"  # in the box
INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")
_GLANCE = 0.02  # seconds between looks at what has come, at least
_RECIPIENT = b"\nX-Rcpt-Args: <"

# An interface address of the loopback makes its whole network the box's own.
_ADDRESS = f"""
import fcntl, socket, struct
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for request, value in ((0x8916, "10.{NETWORK}.255.254"), (0x891C, "255.255.0.0")):  # SIOCSIFADDR, SIOCSIFNETMASK
    fcntl.ioctl(control, request, struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(value)))
"""


class Came(NamedTuple):
    """What one transaction brought: how long its file is, and for whom."""

    size: int
    recipients: list[str]


class World:
    """Begun once for each box, before the mail system starts there. Leaving the box ends it."""

    def __init__(self, box: Box, folder: str) -> None:
        """`folder` is what the box has as /srv."""
        self._box = box
        self._top = f"/proc/{box.pid}/root{FOLDER}"
        self._seen: dict[str, Came] = {}
        box.run(["python3", "-c", _ADDRESS])
        box.run(["mkdir", "-m", "0777", FOLDER])
        box.run(["sh", "-c", "echo nameserver 127.0.0.1 > /etc/resolv.conf"])
        shutil.copyfile(f"{INSIDE}/names.py", f"{folder}/names.py")
        log = os.open(folder + "/world.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._guests = [
                box.popen(words, stdout=log, stderr=log)
                for words in (
                    ["smtp-sink", "-u", "nobody", "-m", "10000", "-d", f"{FOLDER}/m.", "0.0.0.0:25", "1000"],
                    ["python3", "/srv/names.py", str(NETWORK)],
                )
            ]
        finally:
            os.close(log)

    @property
    def pids(self) -> list[int]:
        """Its processes, as the machine numbers them: what they cost is not the mail system's."""
        return [pid for guest in self._guests if (pid := guest.guest_pid) is not None]

    def clear(self) -> None:
        """Forget what has come; nothing may be under way."""
        for entry in os.scandir(self._top):
            os.unlink(entry.path)
        self._seen.clear()

    def _look(self) -> int:
        """Read what is new; how many recipients have come so far."""
        for entry in os.scandir(self._top):
            if entry.name not in self._seen:
                with open(entry.path, "rb") as file:
                    text = file.read()
                header, end, _ = text.partition(b"\nReceived: ")
                if end:  # else not all of it is written yet
                    recipients = [words.partition(b">")[0].decode() for words in header.split(_RECIPIENT)[1:]]
                    self._seen[entry.name] = Came(len(text), recipients)
        return sum(len(came.recipients) for came in self._seen.values())

    def await_recipients(self, count: int, seconds: float = 600) -> None:
        """Return when so many have got mail, the last of it perhaps not whole yet. Looking takes a fiftieth of a core or less,
        and then 40 microseconds for each transaction.
        """
        end = time.monotonic() + seconds
        while True:
            start = time.monotonic()
            found = self._look()
            if found >= count:
                return
            if start > end:
                raise TimeoutError(f"{found} of {count} recipients have their mail after {seconds:.0f} s")
            time.sleep(max(_GLANCE, 50 * (time.monotonic() - start)))

    def last_arrival(self) -> float:
        """When the last byte came, by the clock of time.time(), to a few milliseconds."""
        return max(entry.stat().st_mtime_ns for entry in os.scandir(self._top)) / 1e9

    def check(self, wanted: Mapping[str, int], least: int) -> int:
        """Raise LostError unless these addresses have got exactly so many messages, none below `least` bytes.

        Nothing may be under way any more. Returns the number of transactions.
        """
        self._seen.clear()
        self._look()
        found = Counter(name for came in self._seen.values() for name in came.recipients)
        if found != Counter(wanted):
            lost, twice = Counter(wanted) - found, found - Counter(wanted)
            raise LostError(f"smtp-sink misses {_few(lost)}, and has too many times {_few(twice)}")
        if any(came.size < least for came in self._seen.values()):
            raise LostError(f"smtp-sink has messages of less than {least} bytes")
        return len(os.listdir(self._top))


def _few(names: Counter[str]) -> str:
    return f"{names.total()} ({', '.join(sorted(names)[:3])})" if names else "none"
