"""Connections to run/queue.sock: any pieces, any number of messages, replies in order, limits, and memory that comes back."""

import os
import socket

import pytest
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.net.frames import Splitter, frame
from quail.queue import records
from quail.queue.handover import ABANDON, BODY_FIRST, END, MAX_ATTRIBUTES, MAX_RECIPIENTS, encode_envelope
from quail.queue.store import LargeBody
from quail.services.queue import intake as module
from quail.services.queue import shares
from quail.services.queue.intake import DEADLINE, IDLE_DEADLINE, Intake


class FakeStore:
    def __init__(self):
        self.last = 0
        self.large = {}
        self.discarded = []
        self.trouble = None

    def new_number(self):
        self.last += 1
        return self.last

    def new_large_body(self, number):
        if self.trouble == "open":
            raise OSError(28, "No space left on device")
        self.large[number] = b""
        return LargeBody(number, 99, 0)

    def large_write(self, body, data):
        if self.trouble == "write":
            raise OSError(28, "No space left on device")
        self.large[body.number] += data

    def discard_large(self, body):
        self.discarded.append(body.number)


class FakeWriter:
    def __init__(self):
        self.refusing = False
        self.entries = []

    def submit(self, entry):
        self.entries.append(entry)


class Desk:
    def __init__(self):
        self.store = FakeStore()
        self.writer = FakeWriter()
        self.loop = SteppedLoop()
        self.lines = []
        self.pairs = []
        self.intake = Intake(
            self.store,
            self.writer,
            loop=self.loop,
            now=lambda: 812_123_456.5,
            log=self.lines.append,
            service_uids=frozenset(),
            invoked_by=lambda uid: b"invoked by uid %d" % uid,
        )

    def connect(self):
        pair = socket.socketpair()
        self.pairs += pair
        return Client(self, pair[0])

    def settle(self, *entries):
        """Durable, in any order."""
        for entry in entries or list(self.writer.entries):
            self.writer.entries.remove(entry)
            self.intake.settled(entry.source)
        self.loop.turn()

    def refuse(self, entry):
        self.writer.entries.remove(entry)
        self.intake.refused(entry.source)
        self.loop.turn()


class Client:
    def __init__(self, desk, sock):
        self.desk = desk
        self.transport = FakeTransport(sock)
        self.connection = desk.intake.connection()
        self.connection.connection_made(self.transport)

    def send(self, data):
        self.connection.data_received(data)
        self.desk.loop.turn()

    def replies(self):
        return Splitter(1000).feed(self.transport.take())

    def gone(self):
        self.connection.connection_lost(None)
        self.desk.loop.turn()


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    for sock in desk.pairs:
        sock.close()
    assert desk.intake.inline_total == 0 or desk.writer.entries


@pytest.fixture
def client(desk):
    return desk.connect()


def message(body=b"hi\n", sender=b"a@x", recipients=(b"b@y",), attributes=()):
    pieces = b"".join(frame(body[at : at + 1000]) for at in range(0, len(body), 1000))
    return encode_envelope(sender, recipients, attributes) + pieces + END


def test_one_message(desk, client):
    client.send(message(b"Subject: x\n\nhi\n", attributes=[(b"smtputf8", b"")]))
    (entry,) = desk.writer.entries
    assert (entry.kind, entry.number, entry.time) == (records.ACCEPTED, 1, 812_123_456_500_000)
    accepted = records.Accepted.decode(entry.envelope)
    assert (accepted.sender, accepted.recipients, accepted.attributes) == (b"a@x", {0: b"b@y"}, ((b"smtputf8", b""),))
    assert (accepted.uid, accepted.pid) == (os.getuid(), os.getpid())
    body = b"".join(entry.body)
    assert body.startswith(b"Received: (")
    assert b"invoked by uid %d" % os.getuid() in body
    assert body.endswith(b"Subject: x\n\nhi\n")
    assert client.replies() == []
    desk.settle()
    assert client.replies() == [b"K1"]


def test_byte_by_byte_and_with_what_follows(desk, client):
    for byte in message(b"one") + message(b"two")[:-1]:
        client.send(bytes((byte,)))
    assert [b"".join(entry.body)[-3:] for entry in desk.writer.entries] == [b"one"]
    client.send(message(b"two")[-1:] + message(b"three")[:5])
    assert len(desk.writer.entries) == 2
    client.gone()
    desk.settle()


def body_first(body=b"hi\n", **envelope):
    """The same with the envelope at the end."""
    whole = message(body, **envelope)
    size = 4 + int.from_bytes(whole[:4], "big")
    return BODY_FIRST + whole[size:] + whole[:size]


def test_an_envelope_behind_its_message(desk, client):
    client.send(
        body_first(b"one", recipients=(b"b@y", b"c@y")) + message(b"two") + body_first(b"") + body_first(b"four")
    )
    entries = list(desk.writer.entries)
    accepted = [records.Accepted.decode(entry.envelope) for entry in entries]
    assert [(each.sender, each.recipients) for each in accepted] == [
        (b"a@x", {0: b"b@y", 1: b"c@y"}),
        *[(b"a@x", {0: b"b@y"})] * 3,
    ]
    assert accepted[0].uid == os.getuid()
    assert [b"".join(entry.body).rpartition(b"\n")[2] for entry in entries] == [b"one", b"two", b"", b"four"]
    desk.settle()
    assert client.replies() == [b"K1", b"K2", b"K3", b"K4"]


def test_an_envelope_behind_its_message_byte_by_byte(desk, client):
    data = body_first(b"one")
    for byte in data[:-1]:
        client.send(bytes((byte,)))
    assert not desk.writer.entries
    client.send(data[-1:])
    (entry,) = desk.writer.entries
    assert b"".join(entry.body).endswith(b"one")
    desk.settle()
    assert client.replies() == [b"K1"]


def test_a_large_body_before_its_envelope_is_in_a_file_and_no_longer_if_it_is_abandoned(desk, client):
    data = body_first(b"x" * 200_000)
    envelope = len(data) - len(encode_envelope(b"a@x", [b"b@y"]))
    client.send(data[:envelope])
    assert len(desk.store.large[1]) > 200_000
    assert not desk.writer.entries
    client.send(data[envelope:] + data[:envelope] + ABANDON)
    desk.settle()
    assert client.replies() == [b"K1"]
    assert desk.store.discarded == [2]


@pytest.mark.parametrize("at", [4, 50, -30])
def test_a_client_that_goes_before_its_envelope_leaves_nothing(desk, client, at):
    client.send(body_first(b"x" * 5000)[:at])
    client.gone()
    assert not desk.writer.entries
    assert desk.intake.inline_total == 0
    assert desk.intake.shares.nothing_held()


def test_what_is_wrong_with_a_late_envelope_is_told(desk, client):
    client.send(body_first(sender=b"s" * 1003) + body_first(b"x" * 300_000, recipients=[b"b"] * (MAX_RECIPIENTS + 1)))
    desk.writer.refusing = True
    client.send(body_first(sender=b"s" * 1003))
    desk.writer.refusing = False
    data = body_first()
    client.send(data[:8])
    desk.intake.stopping = True
    client.send(data[8:] + body_first())
    desk.settle()
    assert client.replies() == [
        b"Denvelope address too long for qq (#5.1.3)", b"Dtoo many recipients (#5.5.3)", module._DISK_FULL, b"K4",
        b"Zmail system is stopping, try again later (#4.3.2)",
    ]  # fmt: skip
    assert desk.store.discarded == [2]


def test_replies_come_in_the_order_of_the_messages(desk, client):
    client.send(message() * 3)
    first, second, third = desk.writer.entries
    desk.settle(third)
    desk.settle(second)
    assert client.replies() == []
    desk.refuse(first)
    assert client.replies() == [b"Zqq write error or disk full (#4.3.0)", b"K2", b"K3"]


def test_a_message_without_recipients_is_taken(desk, client):
    client.send(message(recipients=()))
    desk.settle()
    assert client.replies() == [b"K1"]


def test_an_abandoned_message_is_forgotten_and_not_answered(desk, client):
    client.send(message()[:-4] + ABANDON + message(b"next"))
    (entry,) = desk.writer.entries
    assert b"".join(entry.body).endswith(b"next")
    desk.settle()
    assert client.replies() == [b"K2"]


def test_abandon_between_messages_is_a_format_error(desk, client):
    client.send(ABANDON)
    assert client.replies() == [b"Dqq internal bug (#4.3.0)"]
    assert client.transport.closed


@pytest.mark.parametrize(
    ("sender", "recipients", "taken"),
    [
        (b"s" * 1002, [b"r" * 1002], True),
        (b"s" * 1003, [b"r"], False),
        (b"s", [b"ok", b"r" * 1003], False),
    ],
)
def test_addresses_that_are_too_long(desk, client, sender, recipients, taken):
    client.send(message(sender=sender, recipients=recipients))
    assert len(desk.writer.entries) == taken
    desk.settle()
    assert client.replies() == ([b"K1"] if taken else [b"Denvelope address too long for qq (#5.1.3)"])


def test_a_refused_message_is_read_to_its_end(desk, client):
    client.send(message(sender=b"s" * 2000, body=b"x" * 300_000) + message(b"next"))
    desk.settle()
    assert client.replies() == [b"Denvelope address too long for qq (#5.1.3)", b"K2"]
    assert not desk.store.large


def test_while_stopping_and_while_the_disk_is_full(desk, client):
    desk.writer.refusing = True
    client.send(message())
    desk.writer.refusing = False
    desk.intake.stopping = True
    client.send(message())
    assert client.replies() == [
        b"Zqueue disk is nearly full, try again later (#4.3.1)",
        b"Zmail system is stopping, try again later (#4.3.2)",
    ]


def test_a_message_that_began_before_the_stop_is_taken(desk, client):
    data = message()
    client.send(data[:-4])
    desk.intake.stopping = True
    client.send(data[-4:])
    desk.settle()
    assert client.replies() == [b"K1"]


def test_a_large_body_goes_to_a_file(desk, client):
    body = os.urandom(200_000)
    client.send(message(body))
    (entry,) = desk.writer.entries
    assert entry.body == ()
    assert entry.large.number == 1
    assert desk.store.large[1].endswith(body)
    assert desk.store.large[1].startswith(b"Received: ")
    assert desk.intake.inline_total == 0
    desk.settle()
    assert client.replies() == [b"K1"]


def test_when_much_is_in_memory_small_bodies_go_to_files_too(desk, client, monkeypatch):
    monkeypatch.setattr(module, "INLINE_TOTAL", 3000)
    other = desk.connect()
    other.send(message(b"y" * 2500)[:-4])
    client.send(message(b"x" * 1000))
    assert desk.store.large[2].endswith(b"x" * 1000)
    other.gone()
    desk.settle()
    assert desk.intake.inline_total == 0


@pytest.mark.parametrize("trouble", ["open", "write"])
def test_a_file_that_cannot_be_written_refuses_its_message_only(desk, client, trouble):
    desk.store.trouble = trouble
    client.send(message(b"x" * 400_000))
    assert client.replies() == [b"Zqq write error or disk full (#4.3.0)"]
    assert desk.store.discarded == ([1] if trouble == "write" else [])
    desk.store.trouble = None
    client.send(message(b"x" * 400_000))
    desk.settle()
    assert client.replies() == [b"K2"]


def test_a_large_body_whose_batch_was_refused_is_removed(desk, client):
    client.send(message(b"x" * 200_000))
    desk.refuse(desk.writer.entries[0])
    assert desk.store.discarded == [1]
    assert client.replies() == [b"Zqq write error or disk full (#4.3.0)"]


def test_a_client_that_goes_in_the_middle_leaves_nothing(desk, client):
    client.send(message(b"x" * 5000)[:3000])
    assert desk.intake.inline_total > 0
    client.gone()
    assert desk.intake.inline_total == 0
    other = desk.connect()
    other.send(message(b"x" * 300_000)[:250_000])
    other.gone()
    assert desk.store.discarded == [2]
    assert not desk.writer.entries
    assert not desk.intake.connections
    assert desk.intake.shares.nothing_held()


def test_a_client_that_goes_while_its_message_waits_has_sent_it(desk, client):
    client.send(message())
    client.gone()
    desk.settle()
    assert client.replies() == []
    assert desk.intake.inline_total == 0


@pytest.mark.parametrize(
    "data",
    [
        (9 << 20).to_bytes(4, "big"),
        frame(b"nonsense"),
        END + END + END,
        END + frame(b"x") + END + frame(b"nonsense"),
        END + END + (9 << 20).to_bytes(4, "big"),
        END + (2 << 20).to_bytes(4, "big"),
        frame(b"Tearly\0"),
        encode_envelope(b"a", [b"b"]) + (2 << 20).to_bytes(4, "big"),
        b"\xff\xff\xff\xfe",
    ],
)
def test_what_is_no_message_closes_the_connection(desk, client, data):
    client.send(data)
    assert client.replies() == [b"Dqq internal bug (#4.3.0)"]
    assert client.transport.closed
    assert len(desk.lines) == 1
    assert desk.intake.inline_total == 0
    client.gone()


def test_a_format_error_does_not_take_back_what_came_before(desk, client):
    client.send(message() + frame(b"nonsense"))
    assert len(desk.writer.entries) == 1
    desk.settle()


def test_many_messages_ahead_are_read_as_replies_go_out(desk, client):
    count = module.MAX_AT_WORK * 2 + 10
    client.send(message() * count)
    assert len(desk.writer.entries) == module.MAX_AT_WORK
    assert not client.transport.reading
    seen = 0
    while desk.writer.entries:
        desk.settle()
        seen += len(client.replies())
    assert seen == count
    assert client.transport.reading


def test_one_user_has_so_many_connections_and_no_more(desk, monkeypatch):
    monkeypatch.setattr(shares, "CONNECTIONS", 2)
    clients = [desk.connect() for _ in range(3)]
    assert [client.transport.closed for client in clients] == [False, False, True]
    for client in clients:
        client.gone()
    assert not desk.connect().transport.closed


def test_one_user_has_so_many_bytes_and_no_more(desk, monkeypatch):
    monkeypatch.setattr(shares, "BYTES", 20_000)
    half, one, more = (desk.connect() for _ in range(3))
    half.send(encode_envelope(b"a", [b"b" * 900] * 10)[:-1])  # some 9 KB that can't be looked at yet
    one.send(message(recipients=[b"b"] * 40))  # whole, but not durable: some 8 KB
    assert not half.transport.closed
    assert not one.transport.closed
    more.send(message(recipients=[b"b"] * 40)[:-4])
    assert more.transport.closed
    assert more.replies() == [b"Ztoo much mail from you at once, try again later (#4.3.2)"]
    desk.settle()
    more.gone()
    again = desk.connect()
    again.send(message(recipients=[b"b"] * 40))
    desk.settle()
    assert one.replies() + again.replies() == [b"K1", b"K3"]
    for client in (half, one, again):
        client.gone()
    assert desk.intake.shares.nothing_held()


def test_a_message_has_so_many_recipients_and_no_more(desk, client):
    client.send(message(recipients=[b"b"] * (MAX_RECIPIENTS + 1)))
    client.send(message(recipients=[b"b"] * 2))
    desk.settle()
    assert client.replies() == [b"Dtoo many recipients (#5.5.3)", b"K2"]


def test_deadlines(desk, client):
    idle = desk.connect()
    client.send(message()[:10])
    desk.loop.now += DEADLINE + 1
    desk.intake.sweep(desk.loop.now)
    assert client.transport.aborted
    assert not idle.transport.closed
    desk.loop.now += IDLE_DEADLINE
    desk.intake.sweep(desk.loop.now)
    assert idle.transport.closed
    client.gone()


def test_after_its_reply_a_connection_may_idle(desk, client):
    client.send(message())
    desk.settle()
    desk.loop.now += DEADLINE + 1
    desk.intake.sweep(desk.loop.now)
    assert not client.transport.closed


def test_a_body_without_end_stops_where_the_disk_must_stay_free(desk, client):
    client.send(message(b"x" * 200_000)[:-4])
    assert desk.store.large
    desk.writer.refusing = True
    client.send(frame(b"y" * 1000))
    assert desk.store.discarded == [1]
    client.send(END + message(b"z\n"))
    assert client.replies() == [module._DISK_FULL, module._DISK_FULL]
    assert not desk.writer.entries


def test_bodies_that_never_end_do_not_keep_the_disk_full(desk, client):
    small, gone = desk.connect(), desk.connect()
    client.send(message(b"x" * 200_000)[:-4])
    small.send(message()[:-4])
    desk.intake.make_room()
    assert desk.store.discarded == [1]
    for each in (client, small):
        each.send(END)
    gone.gone()
    desk.settle()
    assert client.replies() == [module._DISK_FULL]
    assert small.replies() == [b"K2"]


def test_attributes_take_memory_too(desk, client):
    """Two million of them fit into one envelope."""
    client.send(message(attributes=[(b"a", b"")] * MAX_ATTRIBUTES))
    client.send(message(attributes=[(b"a", b"")] * (MAX_ATTRIBUTES + 1)))
    assert client.transport.closed
    assert len(desk.writer.entries) == 1
    other = desk.connect()
    other.send(len(b"\0" * 200_000).to_bytes(4, "big") + b"\0" * 200_000)
    assert other.transport.closed
    assert any("too many records" in line for line in desk.lines)


def test_one_user_has_so_many_recipients_in_the_queue_and_no_more(desk, client, monkeypatch):
    monkeypatch.setattr(shares, "RECIPIENTS", 500)
    many = message(recipients=[b"b@y"] * 300)
    for expected in (b"K1", module._TOO_MUCH):
        client.send(many)
        for entry in desk.writer.entries:
            desk.intake.shares.queued(entry.number, client.connection.uid, 300)
        desk.settle()
        assert client.replies() == [expected]
    client.send(message(recipients=[b"b@y"] * shares.MANY))
    desk.settle()
    assert client.replies() == [b"K3"]  # what is small always goes
    desk.intake.shares.finished(1)
    client.send(many)
    desk.settle()
    assert client.replies() == [b"K4"]
    assert sum("too many recipients in the queue" in line for line in desk.lines) == 1


def test_one_message_with_as_many_as_a_message_may_have_always_has_room(desk, monkeypatch):
    monkeypatch.setattr(shares, "RECIPIENTS", 500)
    assert desk.intake.shares.has_room(1000, MAX_RECIPIENTS)


def test_a_user_has_so_many_lines_in_the_log_and_no_more(desk):
    for _ in range(1000):
        client = desk.connect()
        client.send(b"\xff\xff\xff\xf0garbage")
        client.gone()
    assert len(desk.lines) == shares.LINES
    assert "no more about this uid" in desk.lines[-1]
    desk.intake.sweep(desk.loop.now)
    desk.connect().send(b"\xff\xff\xff\xf0garbage")
    assert len(desk.lines) == shares.LINES + 1
