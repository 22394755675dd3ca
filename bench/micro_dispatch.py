"""What it costs the queue service to decide: a dispatcher without disk, delivery services or a log.

usage: python -m bench.micro_dispatch

Prints recipients for a second of the processor, and microseconds for each, from admission until every report is in and every
mark is handed to the journal. Then what a turn costs by itself, with few and with many that wait for theirs.
docs/decisions/0012-remote-turns.md.
"""

import time
from collections import deque
from collections.abc import Iterator

from quail.message.routing import Routes
from quail.queue.dispatch import Dispatcher, Rules
from quail.queue.group import Group
from quail.queue.records import Accepted
from quail.queue.schedule import RemoteChannel
from quail.queue.state import State
from quail.queue.store import Entry, Stored

BODY = b"x" * 4000
TURNS = 50_000
Load = Iterator[tuple[bytes, list[bytes]]]


class Memory:
    """As much of a Store as a dispatcher asks of it."""

    def __init__(self) -> None:
        self.state = State()
        self.accepted: dict[int, Accepted] = {}

    def read(self, number: int, *, body: bool) -> Stored:
        return Stored(self.accepted[number], 0, len(BODY), BODY if body else None, -1)


def run(load: Load, letter: bytes, *, host_down: bool = False) -> tuple[int, float]:
    """Recipients, and seconds of the processor."""
    store, entries = Memory(), deque[Entry]()
    started: deque[Group] = deque()
    lines: deque[str] = deque(maxlen=100)
    dispatcher = Dispatcher(
        store,  # type: ignore[arg-type]  # it only reads
        Rules(Routes([b"here"], {}, [], b"here"), 604_800),
        {"local": (100, 50), "remote": (500, 20)},
        submit=entries.append,
        start=lambda group: started.append(group) or True,
        bounce=lambda _message: None,
        log=lines.append,
        now=time.time,
    )
    messages = list(load)
    begin = time.process_time()
    for number, (sender, recipients) in enumerate(messages, 1):
        accepted = Accepted(sender, dict(enumerate(recipients)), uid=0, pid=0)
        store.accepted[number] = accepted
        store.state.accept(number, 1, number * 5000, 5000)
        dispatcher.admit(number, accepted, int(time.time() * 1e6), len(BODY), BODY)
    reports = 0
    while dispatcher.dispatch() or started:
        for _ in range(len(started)):
            group = started.popleft()
            for delivery in group.deliveries:
                dispatcher.report(delivery.number, letter, b"why", host_down)
                reports += 1
        while entries:
            entry = entries.popleft()
            if entry.source is not None:
                dispatcher.marked(entry)
    seconds = time.process_time() - begin
    count = sum(len(recipients) for _, recipients in messages)
    assert reports == count, (reports, count)
    return count, seconds


def turns(waiting: int) -> float:
    """Microseconds for a group to start and end, while so many hosts wait with a message and as many messages for one host."""
    channel = RemoteChannel(limit=500, limit_each=20)
    for number in range(waiting):
        channel.add(b"host%d.example" % number, number, fresh=True)
        channel.add(b"dead.example", number, fresh=True)
    begin = time.process_time()
    for number in range(TURNS):
        turn = channel.next()
        assert turn is not None
        host = turn[0]
        channel.started(host)
        channel.learn(host, seconds=1.0, host_down=host == b"dead.example")
        channel.ended(host)
        channel.add(host, number, fresh=True)
    return (time.process_time() - begin) / TURNS * 1e6


def main() -> None:
    many = [b"recipient%d@host.example" % number for number in range(2000)]
    alone = (([b"r@host%d.example" % number]) for number in range(20_000))
    print(f"{'':<44}{'a second':>10}{'us':>8}")
    for name, load, letter, host_down in (
        ("one message, 2,000 recipients of a host", iter([(b"from@x", many)]), b"K", False),
        ("the same, each with its own sender (VERP)", iter([(b"list-@x-@[]", many)]), b"K", False),
        ("the same, 2,000 hosts", iter([(b"from@x", [b"r@h%d.example" % n for n in range(2000)])]), b"K", False),
        ("2,000 messages to one host", ((b"from@x", [address]) for address in many), b"K", False),
        ("20,000 messages, a host each", ((b"from@x", recipients) for recipients in alone), b"K", False),
        ("20,000 messages to a dead host", ((b"from@x", [b"r@dead.example"]) for _ in range(20_000)), b"Z", True),
    ):
        count, seconds = run(load, letter, host_down=host_down)
        print(f"{name:<44}{count / seconds:10,.0f}{seconds / count * 1e6:8.1f}")
    for waiting in (100, 100_000):
        print(f"a turn, {waiting:,} hosts waiting".ljust(54) + f"{turns(waiting):8.1f}")


if __name__ == "__main__":
    main()
