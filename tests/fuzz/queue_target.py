"""Fuzz target of the queue: what clients send it, and what a disk may make of its journal.

A parser of these bytes may raise PeerError and nothing else, recovery TemporaryError; whatever a client sends, the memory that
is counted for it comes back when it goes.
"""

import os
import random
import socket

from tests.unit.queue.journaling import Home
from tests.unit.services.stepping import FakeTransport
from tests.unit.services.test_intake import Desk

from quail.errors import PeerError, TemporaryError
from quail.net.frames import Splitter, frame
from quail.queue import handover, records
from quail.queue.recovery import open_journal
from quail.storage.calls import SystemCalls


class NoSync(SystemCalls):
    """Nothing survives a power cut, which nobody plans here."""

    fsync = fdatasync = staticmethod(lambda _fd: None)


def clients_words():
    """What well-behaved clients send."""
    envelope = handover.encode_envelope
    return [
        envelope(b"a@x", [b"b@y"]) + frame(b"Subject: x\n") + frame(b"\nhi\n") + handover.END,
        envelope(b"", []) + handover.END,
        envelope(b"a@x", [b"b@y"] * 5, [(b"smtputf8", b"")]) + frame(b"half") + handover.ABANDON,
        envelope(b"s" * 1003, [b"b@y"]) + frame(b"x" * 5000) + handover.END,
        envelope(b"a@x", [b"b@y"]) + frame(b"z" * 140_000) + handover.END,
        handover.BODY_FIRST + frame(b"Subject: x\n") + frame(b"\nhi\n") + handover.END + envelope(b"a@x", [b"b@y"]),
        handover.BODY_FIRST + frame(b"z" * 140_000) + handover.END + handover.ABANDON,
    ]


def mutate(rng, data):
    """A few of the things that go wrong with bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        elif kind == 2:
            del data[at : at + rng.choice((1, 4, 600))]
        elif kind == 3:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\x80\0\0"))
        elif kind == 4:
            del data[at:]
        else:
            data[at:at] = data[at : at + 200]
    return bytes(data)


def check_client(rng, data):
    """One connection, its bytes in pieces, its batches written or refused at any moment; then it goes."""
    desk = Desk()
    ours, theirs = socket.socketpair()
    try:
        transport = FakeTransport(ours)
        connection = desk.intake.connection()
        connection.connection_made(transport)
        at = replies = 0
        while at < len(data) and not transport.closed:
            size = rng.choice((1, 7, 1000, 1 << 20)) if len(data) - at < 5000 else 65536
            connection.data_received(data[at : at + size])
            at += size
            if rng.random() < 0.3:
                replies += settle(rng, desk, transport)
        replies += settle(rng, desk, transport)
        connection.connection_lost(None)
        settle(rng, desk, transport)
        assert desk.intake.inline_total == 0
        assert not desk.intake.connections
        assert desk.intake.shares.nothing_held()
        assert replies <= data.count(handover.END) + 1
    finally:
        ours.close()
        theirs.close()


def settle(rng, desk, transport):
    entries = list(desk.writer.entries)
    rng.shuffle(entries)
    for entry in entries:
        records.Accepted.decode(entry.envelope)
        if rng.random() < 0.7:
            desk.settle(entry)
        else:
            desk.refuse(entry)
    desk.loop.turn()
    replies = Splitter(handover.MAX_REPLY).feed(transport.take())
    for payload in replies:
        handover.decode_reply(payload)
    return len(replies)


def check_decoders(data):
    for decode in (handover.decode_envelope, handover.decode_reply, records.Accepted.decode, Splitter(1000).feed):
        try:
            decode(data)
        except PeerError:
            pass


class JournalTarget:
    """A journal with some of everything in it, which is damaged and opened again and again."""

    def __init__(self, folder):
        home = Home(folder, segment_size=20_000)
        messages = [home.accept(b"a@x", b"b@x", body=b"body %d " % n * 200) for n in range(8)]
        home.accept(body=b"large" * 1000, large=True)
        home.done(messages[0], 0)
        home.failed(messages[1], 1)
        home.deferred(messages[2], 1_700_000_000)
        home.mark(records.HELD, messages[3])
        home.finish(messages[4])
        home.close()
        self.directory = home.directory
        self.files = {}
        for place, _, names in os.walk(home.directory):
            for name in names:
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    self.files[path] = file.read()

    def restore(self):
        for place, _, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(place, name)
                if path not in self.files:
                    os.unlink(path)
        for path, data in self.files.items():
            with open(path, "wb") as file:
                file.write(data)

    def check(self, rng):
        self.restore()
        victims = [path for path in self.files if "/journal/" in path or path.endswith("secret") or "/mess/" in path]
        for path in rng.sample(victims, rng.choice((1, 1, 2))):
            data = mutate(rng, self.files[path])
            if rng.random() < 0.1:
                os.unlink(path)
            else:
                with open(path, "wb") as file:
                    file.write(data)
        for _ in range(2):  # the second start reads what the first one wrote
            try:
                opened = open_journal(self.directory, calls=NoSync(), segment_size=20_000)
            except TemporaryError:
                return
            try:
                self.look(opened.journal)
            finally:
                opened.journal.close()
                os.close(opened.lock)

    @staticmethod
    def look(journal):
        for number in list(journal.state):
            try:
                stored = journal.read(number, body=True)
            except (OSError, TemporaryError):
                continue
            journal.close_descriptor(stored.fd)
            journal.state.left(number, stored.accepted.recipients)
            list(journal.failures(number))


def fuzz(count, seed, journal):
    """How many inputs were checked."""
    rng = random.Random(seed)
    words = clients_words()
    for turn in range(count):
        data = b"".join(rng.choice(words) for _ in range(rng.choice((1, 2, 4))))
        data = mutate(rng, data)
        check_client(rng, data)
        check_decoders(data[4:])
        if turn % 4 == 0:
            journal.check(rng)
    return count
