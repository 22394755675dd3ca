"""run/control.sock: who may ask, every verb, and requests that make no sense."""

import json
import os
import socket
from types import SimpleNamespace

import pytest
from tests.unit.queue.dispatching import Bench
from tests.unit.services.stepping import FakeTransport

from quail.net.frames import Splitter, frame
from quail.queue import records
from quail.services.queue import operator as module
from quail.services.queue.operator import Operator


class Desk:
    def __init__(self):
        self.bench = Bench()
        self.bench.dispatcher.suspended = True  # nothing starts: what operators see stands still
        self.service = SimpleNamespace(
            store=self.bench.store,
            dispatcher=self.bench.dispatcher,
            writer=SimpleNamespace(submit=self.bench.entries.append),
            now=lambda: self.bench.clock,
            retry_all=lambda: self.bench.dispatcher.tick(everything=True),
            statistics=lambda: {"messages": len(self.bench.store.state)},
        )
        self.pair = socket.socketpair()
        self.transport = FakeTransport(self.pair[0])
        self.operator = Operator(self.service)

    def connect(self):
        self.operator.connection_made(self.transport)
        return self

    def answers(self):
        return [json.loads(payload) for payload in Splitter(1 << 20).feed(self.transport.take())]

    def ask(self, **request):
        self.operator.data_received(frame(json.dumps(request).encode()))
        (answer,) = self.answers()
        assert answer.pop("end") is True
        return answer


@pytest.fixture
def desk():
    desk = Desk()
    yield desk.connect()
    for sock in desk.pair:
        sock.close()


def test_only_root_and_ourselves(desk, monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(module, "_CREDENTIALS", SimpleNamespace(size=12, unpack=lambda _: (1, 12345, 1)))
    stranger = Operator(desk.service)
    stranger.connection_made(desk.transport)
    assert "only root" in desk.answers()[0]["error"]
    assert desk.transport.closed
    stranger.data_received(frame(b'{"do": "status"}'))
    assert desk.answers() == []


def test_status(desk):
    desk.bench.stored([b"a@here"])
    assert desk.ask(do="status") == {"messages": 1}


def test_list_goes_page_by_page(desk):
    for n in range(5):
        desk.bench.stored([b"r%d@here" % n])
    desk.bench.store.state.finish(3)
    first = desk.ask(do="list", after=0, count=2)
    assert [message["number"] for message in first["messages"]] == [1, 2]
    assert first["more"] is True
    rest = desk.ask(do="list", after=2, count=5)
    assert [message["number"] for message in rest["messages"]] == [4, 5]
    assert rest["more"] is False


def test_a_page_has_so_many_recipients(desk, monkeypatch):
    monkeypatch.setattr(module, "_PAGE_RECIPIENTS", 5)
    for _ in range(3):
        desk.bench.stored([b"r%d@here" % n for n in range(3)])
    first = desk.ask(do="list", after=0, count=500)
    assert [message["number"] for message in first["messages"]] == [1, 2]
    assert first["more"] is True
    rest = desk.ask(do="list", after=2, count=500)
    assert [message["number"] for message in rest["messages"]] == [3]
    assert rest["more"] is False


def test_what_is_told_of_a_message(desk):
    bench = desk.bench
    number = bench.stored([b"a@here", b"info@virtual.org", b"c@far.org"], sender=b"s\xff@x", body=b"12345")
    from quail.queue.store import Entry

    bench.store.apply(Entry(records.FAILED, number, 0, b"0\0no such \xe9 user\n"))
    bench.store.apply(Entry(records.DEFERRED, number, 0, b"0,1700000400"))
    bench.store.apply(Entry(records.HELD, number, 0))
    message = desk.ask(do="show", number=number)["message"]
    assert message["sender"] == "s\\xff@x"
    assert message["bytes"] == 5
    assert (message["next_local"], message["next_remote"]) == (0, 1700000400)
    assert message["held"] is True
    assert message["bouncing"] is True
    assert [(r["channel"], r["address"], r["done"]) for r in message["recipients"]] == [
        ("local", "a@here", True),
        ("local", "joe-v-info@virtual.org", False),
        ("remote", "c@far.org", False),
    ]
    assert message["failures"] == [{"address": "a@here", "report": "no such \\xe9 user\n"}]


def test_a_message_that_cannot_be_read_is_listed_with_its_trouble(desk):
    number = desk.bench.stored([b"a@here"])
    desk.bench.store.unreadable.add(number)
    (message,) = desk.ask(do="list")["messages"]
    assert message == {"number": 1, "trouble": "[Errno 5] Input/output error"}


def test_show_what_is_not_there(desk):
    assert desk.ask(do="show", number=99) == {"error": "message 99 is not in the queue"}
    assert not desk.transport.closed


def test_hold_works_at_once_and_is_written(desk):
    desk.bench.stored([b"a@here"])
    assert desk.ask(do="hold", numbers=[1, 2]) == {"changed": 1, "missing": [2]}
    assert desk.bench.store.state.held == {1}
    assert desk.bench.kinds() == [records.HELD]
    assert desk.ask(do="release", numbers=[1]) == {"changed": 1, "missing": []}
    assert desk.bench.kinds() == [records.HELD, records.RELEASED]


def test_remove_all(desk):
    for _ in range(3):
        desk.bench.stored([b"a@here"])
    assert desk.ask(do="remove", all=True)["changed"] == 3
    assert desk.bench.kinds() == [records.FINISHED] * 3
    desk.ask(do="remove", numbers=[1, 1])
    assert len(desk.bench.entries) == 3


def test_retry_starts_deliveries(desk):
    number = desk.bench.stored([b"a@here"], retry=(1_700_009_999, 0))
    desk.bench.dispatcher.resume(number)
    desk.bench.dispatcher.suspended = False
    desk.ask(do="retry", numbers=[number])
    assert desk.bench.to() == [b"a@here"]


def test_retry_of_all_is_what_alarm_does(desk):
    number = desk.bench.stored([b"a@here"], retry=(1_700_009_999, 0))
    desk.bench.dispatcher.resume(number)
    assert desk.ask(do="retry", all=True) == {"changed": 1, "missing": []}
    desk.bench.dispatcher.suspended = False
    desk.bench.dispatcher.dispatch()
    assert desk.bench.to() == [b"a@here"]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b'{"do": 5}',
        b'{"do": "unknown"}',
        b"{}",
        b'{"do": "show"}',
        b'{"do": "show", "number": null}',
        b'{"do": "show", "number": [1]}',
        b'{"do": "show", "number": 1e999}',
        b'{"do": "list", "after": "x"}',
        b'{"do": "list", "after": {}}',
        b'{"do": "hold", "numbers": 5}',
        b'{"do": "hold", "numbers": [[]]}',
        b"[" * 100_000,
    ],
)
def test_requests_that_make_no_sense_are_answered(desk, request_):
    desk.operator.data_received(frame(request_))
    (answer,) = desk.answers()
    assert answer["error"]
    assert answer["end"] is True


@pytest.mark.parametrize(("after", "count"), [(-5, 2), (0, -1), (10**30, 5), (0, 10**30), (0, 0)])
def test_odd_pages(desk, after, count):
    desk.bench.stored([b"a@here"])
    answer = desk.ask(do="list", after=after, count=count)
    assert len(answer["messages"]) <= 1


def test_requests_in_pieces_and_together(desk):
    data = frame(b'{"do": "status"}') * 2
    for byte in data[:-1]:
        desk.operator.data_received(bytes((byte,)))
    assert len(desk.answers()) == 1
    desk.operator.data_received(data[-1:] + frame(b'{"do": "status"}'))
    assert len(desk.answers()) == 2


def test_an_operator_who_has_gone(desk):
    desk.operator.connection_lost(None)
    desk.operator.data_received(frame(b'{"do": "status"}'))
    assert desk.transport.written == b""
