"""Tables about mail for others: from the first byte given to the mail system until smtp-sink has the last."""

import time
from collections import Counter

from bench import load
from bench.calling import call
from bench.peer_postfix import RemotePostfix
from bench.peer_quail import RemoteQuail
from bench.runs import Run
from bench.sizes import TRACED, WARM_UP, Sizes
from tests.root.box import Box

REMOTE: dict[str, type[RemoteQuail] | type[RemotePostfix]] = {"quail": RemoteQuail, "postfix": RemotePostfix}
LIST_WARM_UP = 100  # recipients


class Relay:
    """Messages over SMTP to as many recipients, all by one relay."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name = name
        self._sizes = sizes

    def peer(self, name: str, folder: str) -> RemoteQuail | RemotePostfix:
        return REMOTE[name](folder, relay=True)

    def measure(self, peer: RemoteQuail | RemotePostfix, box: Box) -> list[Run]:
        messages = self._sizes.relayed
        self._send(peer, box, min(WARM_UP, messages))
        peer.world.clear()
        before = load.cpu_seconds(box, peer.world.pids)
        begin = time.time()
        self._send(peer, box, messages)
        spent = load.cpu_seconds(box, peer.world.pids) - before
        return [Run(self.name, peer.name, messages, peer.world.last_arrival() - begin, spent)]

    def traced(self, peer: RemoteQuail | RemotePostfix, box: Box) -> int:
        messages = min(TRACED, self._sizes.relayed)
        self._send(peer, box, messages)
        return messages

    def _send(self, peer: RemoteQuail | RemotePostfix, box: Box, messages: int) -> None:
        """Send, wait until all is there and nobody has anything to do, and count."""
        size = self._sizes.size
        shape = load.Shape(messages, self._sizes.sessions, size, persistent=True, numbered=True)
        load.send(box, peer.port, "to@far.example", shape)
        peer.world.await_recipients(messages)
        load.settle(box)
        peer.world.check({f"{number}to@far.example": 1 for number in range(1, messages + 1)}, _least(size))


class Lists:
    """Messages to many recipients at one host or at many, one after another, each handed to sendmail.

    No host is met twice, so that nobody has an answer of the name server or a connection from the message before. The calls
    of sendmail count, their processor time too.
    """

    def __init__(self, name: str, sizes: Sizes) -> None:
        """`name`: onehost (by a relay) or manyhosts."""
        self.name = name
        self._sizes = sizes
        self._hosts = 1 if name == "onehost" else sizes.hosts

    def peer(self, name: str, folder: str) -> RemoteQuail | RemotePostfix:
        return REMOTE[name](folder, relay=self.name == "onehost")

    def measure(self, peer: RemoteQuail | RemotePostfix, box: Box) -> list[Run]:
        lists, recipients = self._sizes.lists, self._sizes.recipients
        self._send(peer, box, 0, min(LIST_WARM_UP, recipients))
        before = load.cpu_seconds(box, peer.world.pids)
        seconds = calls = 0.0
        for number in range(1, lists + 1):
            took, cpu = self._send(peer, box, number, recipients)
            seconds += took
            calls += cpu
        spent = load.cpu_seconds(box, peer.world.pids) - before + calls
        return [Run(self.name, peer.name, lists * recipients, seconds, spent)]

    def traced(self, peer: RemoteQuail | RemotePostfix, box: Box) -> int:
        self._send(peer, box, 0, self._sizes.recipients)
        return self._sizes.recipients

    def _send(self, peer: RemoteQuail | RemotePostfix, box: Box, number: int, count: int) -> tuple[float, float]:
        """One message, until all is there, nobody has anything to do and all is counted; seconds, and those of the caller."""
        peer.world.clear()
        addresses = [f"r{place}@h{1 + place % self._hosts}-{number}.example" for place in range(count)]
        size = self._sizes.size
        words = [peer.sendmail, "-i", "-f", f"user000@{peer.domain}", "--", *addresses]
        figures = call(peer, box, 1, 1, size, words)
        peer.world.await_recipients(count)
        load.settle(box)
        peer.world.check(Counter(addresses), _least(size))
        return peer.world.last_arrival() - figures["begin"], sum(figures["cpu"])


def _least(size: int) -> int:
    """What smtp-sink writes of a message of so many bytes, at least: its lines end with one byte there, not two."""
    return size * 9 // 10
