"""A dispatcher on a bench: a store in memory, a clock that stands still, and every delivery and entry in a list.

Nothing is settled before settle() is called, so a test chooses what happens while marks are on their way to disk. What
settling does to the state is the journal's own code.
"""

import os
from types import SimpleNamespace

from quail.message.routing import Routes
from quail.queue import records
from quail.queue.dispatch import Dispatcher, Rules
from quail.queue.journal import Journal
from quail.queue.records import Accepted
from quail.queue.state import State, pack
from quail.queue.store import DamagedBodyError, Stored

BIRTH = 1_700_000_000
WEEK = 604_800


class MemoryStore:
    """The reading side of store.Store, and the journal's way to settle."""

    settle = Journal.settle

    def __init__(self):
        self.state = State()
        self.messages = {}  # number: (Accepted, microseconds, body)
        self.reports = {}  # place: envelope of a FAILED record
        self.damaged = set()
        self.unreadable = set()
        self.large = set()
        self.removed_bodies = []
        self.reads = 0
        self._offset = 0

    def put(self, number, accepted, birth, body):
        self.messages[number] = (accepted, birth * 1_000_000, body)
        self._offset += 64
        self.state.accept(number, 1, self._offset, 64, accepted.retry)

    def apply(self, entry):
        self._offset += 64
        if entry.kind == records.FAILED:
            self.reports[pack(1, self._offset)] = entry.envelope
        self.settle(SimpleNamespace(segment=1, entries=[entry], offsets=[self._offset], sizes=[64]))

    def remove_large(self, number):
        self.removed_bodies.append(number)

    def read(self, number, *, body):
        if number not in self.state:
            raise KeyError(number)
        if number in self.unreadable:
            raise OSError(5, "Input/output error")
        if body and number in self.damaged:
            raise DamagedBodyError(f"body of message {number} is damaged")
        self.reads += 1
        accepted, time, content = self.messages[number]
        if body and number in self.large:
            return Stored(accepted, time, len(content), None, os.open(os.devnull, os.O_RDONLY))
        return Stored(accepted, time, len(content), content if body else None, -1)

    def read_descriptor(self, fd, length):
        return os.pread(fd, length, 0)

    def close_descriptor(self, fd):
        if fd >= 0:
            os.close(fd)

    def failures(self, number):
        for place in self.state.failures.get(number, {}).values():
            yield records.decode_failure(self.reports[place])


def routes():
    return Routes([b"here"], {b"virtual.org": b"joe-v"}, [], b"here")


class Bench:
    """`entries` wait to be settled; `started` are deliveries without a report; `groups` are the addresses of every
    group that was ever handed over; `bounces` are messages whose bounce is due.
    """

    def __init__(self, *, local=10, remote=20, each=20, lifetime=WEEK):
        self.store = MemoryStore()
        self.clock = float(BIRTH)
        self.entries = []
        self.started = []
        self.groups = []
        self.bounces = []
        self.lines = []
        self.connected = True
        self.last_number = 0
        self.dispatcher = Dispatcher(
            self.store,
            Rules(routes(), lifetime),
            {"local": (local, each), "remote": (remote, each)},
            submit=self.entries.append,
            start=self._start,
            bounce=self.bounces.append,
            log=self.lines.append,
            now=lambda: self.clock,
        )

    def _start(self, group):
        if self.connected:
            self.groups.append([delivery.address for delivery in group.deliveries])
            self.started += group.deliveries
        return self.connected

    def dispatch(self):
        """As often as there is something to start."""
        while self.dispatcher.dispatch():
            pass

    def stored(self, recipients, *, sender=b"from@x", body=b"body\n", retry=(0, 0)):
        """A message in the store that the dispatcher has not been told of."""
        self.last_number += 1
        accepted = Accepted(sender, dict(enumerate(recipients)), uid=1000, pid=1, retry=retry)
        self.store.put(self.last_number, accepted, int(self.clock), body)
        return self.last_number

    def accept(self, *recipients, sender=b"from@x", body=b"body\n"):
        """A new message; deliveries that may start have started."""
        number = self.stored(recipients, sender=sender, body=body)
        accepted, time, content = self.store.messages[number]
        self.dispatcher.admit(number, accepted, time, len(content), content)
        self.dispatch()
        return number

    def report(self, letter, text=b"why", *, index=0, host_down=False):
        """How the delivery that has waited longest went."""
        delivery = self.started.pop(index)
        self.dispatcher.report(delivery.number, letter, text, host_down)
        self.dispatch()
        return delivery

    def settle(self, count=None):
        """The next entries are durable: what the queue service does then."""
        batch, self.entries[:] = self.entries[:count], self.entries[len(self.entries[:count]) :]
        for entry in batch:
            self.store.apply(entry)
        for entry in batch:
            if entry.kind in (records.DONE, records.FAILED):
                self.dispatcher.marked(entry)
            elif entry.kind == records.FINISHED:
                self.dispatcher.finished(entry.number)
            elif entry.kind == records.RELEASED:
                self.dispatcher.release(entry.number)
        self.dispatcher.suspended = False
        self.dispatch()

    def settle_all(self):
        while self.entries:
            self.settle()

    def wait(self, seconds):
        """Time passes."""
        self.clock += seconds
        self.dispatcher.tick()
        self.dispatch()

    def hold(self, number):
        """As the operator's socket does."""
        self.store.state.held.add(number)
        self.entries.append(records_entry(records.HELD, number))

    def unhold(self, number):
        self.entries.append(records_entry(records.RELEASED, number))

    def to(self):
        """Addresses on their way."""
        return [delivery.address for delivery in self.started]

    def kinds(self):
        return [entry.kind for entry in self.entries]

    def deliveries_log(self):
        return [line for line in self.lines if not line.startswith("status:")]

    def nothing_is_kept(self):
        """No message that is over leaves anything behind."""
        dispatcher = self.dispatcher
        assert len(self.store.state) == 0
        assert not dispatcher.deliveries
        assert not dispatcher._active
        assert dispatcher._kept_bytes == 0
        for channel in dispatcher.channels.values():
            assert channel.running == 0
            assert channel.waiting() == 0
        for table in (self.store.state.done, self.store.state.failures, self.store.state.held, self.store.state.only):
            assert not table


def records_entry(kind, number):
    from quail.queue.store import Entry

    return Entry(kind, number, 0)
