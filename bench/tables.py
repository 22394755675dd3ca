"""What the bench measures: each table loads a peer in a fresh box, counts what must be there, and tells the figures."""

import json
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench import load
from bench.accounts import LostError, shares
from bench.calling import call, program
from bench.peer_postfix import Postfix, SystemPostfix
from bench.peer_quail import Quail, SystemQuail
from bench.runs import CallRun, Run
from bench.sizes import TRACED, WARM_UP, Sizes
from tests.root.box import Box

CALLS_WARM_UP, CALLS_TRACED, CALLS_IN_TURN = 20, 50, 25
CALL_SIZE = 1024  # bytes of a message on sendmail's standard input
SINGLE: dict[str, type[Quail] | type[Postfix]] = {"quail": Quail, "postfix": Postfix}
SYSTEM: dict[str, type[SystemQuail] | type[SystemPostfix]] = {"quail": SystemQuail, "postfix": SystemPostfix}
BARE = "bare python3"
BARE_COMMAND = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
SYNC_CALLS = ("fsync", "fdatasync", "syncfs", "sync_file_range", "msync", "sync")


def tracer(name: str) -> tuple[str, ...]:
    """What a program is started below for its syncs to be written to a file of the peer's folder."""
    trace = "trace=" + ",".join(SYNC_CALLS)
    return ("strace", "-f", "-qq", "-e", trace, "-e", "signal=none", "-o", f"/srv/{name}.trace")


def syncs(folder: str) -> int:
    """How many were traced, the box being gone."""
    found = 0
    for name in os.listdir(folder):
        if name.endswith(".trace"):
            with open(f"{folder}/{name}", encoding="ascii", errors="replace") as file:
                found += sum(1 for line in file if any(f" {call}(" in line for call in SYNC_CALLS))
    return found


class Mailbox:
    """All messages to one address, over SMTP: accepted and kept, or delivered."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        """`name`: connection, persistent or deliver."""
        self.name = name
        self._sizes = sizes
        self._held = name != "deliver"

    def peer(self, name: str, folder: str) -> Quail | Postfix:
        return SINGLE[name](folder, held=self._held)

    def measure(self, peer: Quail | Postfix, box: Box) -> list[Run]:
        messages = self._sizes.messages
        whole = min(WARM_UP, messages)
        self._send(peer, box, whole, whole)
        before = load.cpu_seconds(box)
        whole += messages
        seconds = self._send(peer, box, messages, whole)
        spent = load.cpu_seconds(box) - before
        self._check(peer, box, whole)
        return [Run(self.name, peer.name, messages, seconds, spent)]

    def traced(self, peer: Quail | Postfix, box: Box) -> int:
        messages = min(TRACED, self._sizes.messages)
        self._send(peer, box, messages, messages)
        self._check(peer, box, messages)
        return messages

    def _send(self, peer: Quail | Postfix, box: Box, messages: int, whole: int) -> float:
        """Send, and wait for `whole` delivered messages if the table is about that; the seconds that count."""
        shape = load.Shape(messages, self._sizes.sessions, self._sizes.size, persistent=self.name == "persistent")
        seconds = load.send(box, peer.port, peer.recipient, shape)
        return seconds if self._held else seconds + load.await_files(peer.maildir, whole)

    def _check(self, peer: Quail | Postfix, box: Box, whole: int) -> None:
        """Raise LostError unless everything acknowledged is there, once."""
        found = peer.queued(box) if self._held else len(os.listdir(peer.maildir))
        if found != whole:
            raise LostError(f"{peer.name} acknowledged {whole} messages and has {found}")


class Users:
    """The mail system of a machine: messages over SMTP to many of its users, until the last file is in its Maildir.

    The warm-up is for a tenth of them: what a server must do for each user who gets mail again is measured.
    """

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name = name
        self._sizes = sizes

    def peer(self, name: str, folder: str) -> SystemQuail | SystemPostfix:
        return SYSTEM[name](folder, self._sizes.users)

    def measure(self, peer: SystemQuail | SystemPostfix, box: Box) -> list[Run]:
        messages = self._sizes.messages
        names = peer.accounts.names
        wanted: Counter[str] = Counter()
        self._send(peer, box, min(WARM_UP, messages), names[: max(1, len(names) // 10)], wanted)
        load.settle(box)
        before = load.cpu_seconds(box)
        seconds = self._send(peer, box, messages, names, wanted)
        load.settle(box)
        spent = load.cpu_seconds(box) - before
        peer.accounts.check(wanted)
        return [Run(self.name, peer.name, messages, seconds, spent)]

    def traced(self, peer: SystemQuail | SystemPostfix, box: Box) -> int:
        messages = min(TRACED, self._sizes.messages)
        wanted: Counter[str] = Counter()
        self._send(peer, box, messages, peer.accounts.names, wanted)
        peer.accounts.check(wanted)
        return messages

    def _send(
        self,
        peer: SystemQuail | SystemPostfix,
        box: Box,
        messages: int,
        names: Sequence[str],
        wanted: Counter[str],
    ) -> float:
        """Send, wait until all is there, and add it to what is wanted; seconds from the first connection to the last file."""
        words = [*program(peer, "sender"), *map(str, (peer.port, messages, self._sizes.sessions, self._sizes.size))]
        done = box.run(words, data="".join(f"{name}@{peer.domain}\n" for name in names), timeout=1800)
        wanted.update(shares(messages, names))
        peer.accounts.await_mail(wanted)
        return peer.accounts.last_arrival() - float(json.loads(done.stdout)["begin"])


class Sendmail:
    """sendmail, called by an ordinary user one call after another, and by some at once; the servers deliver meanwhile."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name = name
        self._sizes = sizes

    def peer(self, name: str, folder: str) -> SystemQuail | SystemPostfix:
        return SYSTEM[name](folder, 2)

    def measure_together(self, started: list[tuple[SystemQuail | SystemPostfix, Box]]) -> list[CallRun]:
        """A few calls of each in turn: a call is so short that what slows one peer for a second must slow the other too.

        The bare interpreter takes a turn as well: no program in Python can be quicker.
        """
        calling = [_Calling(peer, box) for peer, box in started]
        for one in calling:
            one.call(min(CALLS_WARM_UP, self._sizes.calls), 1)
        runs = []
        for at_once in self._sizes.callers:
            bare = _Figures()
            for one in calling:
                one.begin()
            left = self._sizes.calls
            while left > 0:
                calls = min(left, CALLS_IN_TURN)
                left -= calls
                for one in calling:
                    one.figures.add(one.call(calls, at_once))
                bare.add(call(*started[0], calls, at_once, CALL_SIZE, BARE_COMMAND))
            table = self._table(at_once)
            runs += [one.figures.run(table, one.peer.name, one.spent()) for one in calling]
            runs.append(bare.run(table, BARE, 0.0))
        for one in calling:
            one.peer.accounts.check({one.recipient: one.sent})
        return runs

    def traced(self, peer: SystemQuail | SystemPostfix, box: Box) -> int:
        calls = min(CALLS_TRACED, self._sizes.calls)
        calling = _Calling(peer, box)
        calling.call(calls, 1, tracer("calls"))
        peer.accounts.check({calling.recipient: calls})
        return calls

    @staticmethod
    def _table(at_once: int) -> str:
        return "sendmail" if at_once == 1 else f"sendmail x{at_once}"


class _Calling:
    """Calls with one peer: its first user sends to the second."""

    def __init__(self, peer: SystemQuail | SystemPostfix, box: Box) -> None:
        self.peer, self.box = peer, box
        self.sent = 0
        sender, self.recipient = peer.accounts.names
        self._words = [peer.sendmail, "-i", "-f", f"{sender}@{peer.domain}", self.recipient]

    def begin(self) -> None:
        self.figures = _Figures()
        load.settle(self.box)
        self._before = load.cpu_seconds(self.box)

    def spent(self) -> float:
        """Processor seconds of the servers since begin()."""
        load.settle(self.box)
        return load.cpu_seconds(self.box) - self._before

    def call(self, calls: int, at_once: int, below: tuple[str, ...] = ()) -> dict[str, Any]:
        """The caller's figures of so many calls, all of them delivered."""
        figures = call(self.peer, self.box, calls, at_once, CALL_SIZE, self._words, below)
        self.sent += calls
        self.peer.accounts.await_mail({self.recipient: self.sent})
        return figures


class _Figures:
    """What callers have told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def add(self, figures: dict[str, Any]) -> None:
        self.seconds += figures["seconds"]
        self.wall += figures["wall"]
        self.cpu += figures["cpu"]

    def run(self, table: str, peer: str, servers: float) -> CallRun:
        calls = len(self.wall)
        return CallRun(
            table,
            peer,
            calls,
            self.seconds,
            1e3 * statistics.median(self.wall),
            1e3 * sorted(self.wall)[int(0.95 * (calls - 1))],
            1e3 * sum(self.cpu) / calls,
            1e3 * servers / calls,
        )
