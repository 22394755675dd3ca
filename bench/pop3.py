"""The table of POP3: a mailbox fetched by one client, one message after another and pipelined."""

import json
import os
import statistics

from bench import load
from bench.accounts import PASSWORD, LostError
from bench.calling import program
from bench.peer_dovecot import Dovecot
from bench.peer_quail import Pop3Quail
from bench.runs import Run
from bench.sizes import Sizes
from tests.root.box import Box

# In place of Postfix, which has no POP3.
SERVERS: dict[str, type[Pop3Quail] | type[Dovecot]] = {"quail": Pop3Quail, "postfix": Dovecot}
DEPTH = 50  # RETR on their way at once
SESSIONS = 3  # of each kind: their median counts
_LINE = b"X" * 78 + b"\n"


class Pop3:
    """One session is not measured: it makes what a server keeps beside a mailbox."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name = name
        self._sizes = sizes

    def peer(self, name: str, folder: str) -> Pop3Quail | Dovecot:
        return SERVERS[name](folder)

    def measure(self, peer: Pop3Quail | Dovecot, box: Box) -> list[Run]:
        messages = self._sizes.messages
        self._fill(peer)
        self._fetch(peer, box, DEPTH, 1)
        runs = []
        for table, depth in ((self.name, 1), (f"{self.name} x{DEPTH}", DEPTH)):
            load.settle(box)
            before = load.cpu_seconds(box)
            seconds = self._fetch(peer, box, depth, SESSIONS)
            load.settle(box)
            spent = load.cpu_seconds(box) - before
            runs.append(Run(table, peer.name, messages, seconds, spent / SESSIONS))
        return runs

    def _message(self) -> bytes:
        head = b"From: <sender@example.org>\nSubject: x\n\n"
        return head + _LINE * max(0, (self._sizes.size - len(head)) // len(_LINE))

    def _fill(self, peer: Pop3Quail | Dovecot) -> None:
        name = peer.accounts.names[0]
        uid = peer.accounts.uid(name)
        text = self._message()
        for number in range(self._sizes.messages):
            path = f"{peer.accounts.folder}/{name}/Maildir/cur/{1_700_000_000 + number}.M1P1Q{number}.host:2,"
            with open(path, "wb") as file:
                file.write(text)
            os.chown(path, uid, uid)

    def _fetch(self, peer: Pop3Quail | Dovecot, box: Box, depth: int, sessions: int) -> float:
        """Seconds from the first RETR until the last reply. LostError unless every byte has come."""
        name, count = peer.accounts.names[0], self._sizes.messages
        words = [*program(peer, "popper"), *map(str, (peer.port, name, PASSWORD, count, depth, sessions))]
        told = json.loads(box.run(words, timeout=1800).stdout)
        text = self._message()
        least = count * (len(text) + text.count(b"\n"))
        if min(told["bytes"]) < least:
            raise LostError(f"{peer.name} has sent {min(told['bytes']):.0f} of {least} bytes")
        return statistics.median(told["seconds"])
