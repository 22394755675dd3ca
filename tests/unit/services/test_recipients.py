"""smtpd's questions to the users service: answers in any order, remembered only if yes, and nobody waits for ever."""

import asyncio
import socket

import pytest
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.net.frames import Splitter
from quail.net.users_protocol import KNOWN, TROUBLE, UNKNOWN, decode, encode
from quail.services.inbound import recipients as module
from quail.services.inbound.recipients import KEPT_FOR, PATIENCE, Recipients


class Loop(SteppedLoop):
    """Connections are made when the test says so."""

    def __init__(self):
        super().__init__()
        self.connecting = 0

    def create_task(self, coroutine):
        coroutine.close()
        self.connecting += 1
        return object()


class Desk:
    def __init__(self):
        self.loop = Loop()
        self.client = Recipients(self.loop, "nowhere")
        self.answers = []

    def ask(self, address):
        self.client.ask(address, lambda letter, text: self.answers.append((address, letter, text)))

    def connect(self):
        self.client._connecting = None
        self.transport = FakeTransport()
        self.client.connection_made(self.transport)

    def questions(self):
        return [decode(payload) for payload in Splitter(5000).feed(self.transport.take())]


@pytest.fixture
def desk():
    return Desk()


def test_answers_come_in_any_order(desk):
    desk.ask(b"a@x")
    desk.connect()
    desk.ask(b"b@x")
    first, second = desk.questions()
    assert (first.payload, second.payload) == (b"a@x", b"b@x")
    desk.client.data_received(encode(second.tag, UNKNOWN, b"") + encode(first.tag, KNOWN, b""))
    assert desk.answers == [(b"b@x", UNKNOWN, b""), (b"a@x", KNOWN, b"")]
    assert desk.loop.connecting == 1


def test_yes_is_remembered_for_a_moment_and_no_is_not(desk):
    desk.ask(b"a@x")
    desk.ask(b"b@x")
    desk.connect()
    first, second = desk.questions()
    desk.client.data_received(encode(first.tag, KNOWN, b"") + encode(second.tag, UNKNOWN, b""))
    assert desk.client.is_known(b"a@x")
    assert not desk.client.is_known(b"b@x")
    desk.loop.now += KEPT_FOR
    assert not desk.client.is_known(b"a@x")


def test_what_is_remembered_is_bounded(desk, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT", 10)
    desk.connect()
    for n in range(25):
        desk.ask(b"r%d" % n)
        (question,) = desk.questions()
        desk.client.data_received(encode(question.tag, KNOWN, b""))
    assert len(desk.client._known) <= 10


def test_without_an_answer_it_is_trouble(desk):
    desk.ask(b"a@x")
    desk.connect()
    desk.loop.now += PATIENCE - 1
    desk.client.sweep()
    assert desk.answers == []
    desk.loop.now += 1
    desk.client.sweep()
    assert desk.answers == [(b"a@x", TROUBLE, b"no answer from the users service")]
    (question,) = desk.questions()
    desk.client.data_received(encode(question.tag, KNOWN, b""))  # too late
    assert len(desk.answers) == 1
    assert not desk.client._asked


def test_what_was_asked_of_a_service_that_went_is_asked_again(desk):
    desk.ask(b"a@x")
    desk.connect()
    (question,) = desk.questions()
    desk.client.data_received(encode(question.tag, KNOWN, b"")[:3])
    desk.client.connection_lost(None)
    desk.client.sweep()
    assert desk.loop.connecting == 2
    desk.connect()
    (again,) = desk.questions()
    assert again.tag == question.tag
    desk.client.data_received(encode(again.tag, KNOWN, b""))
    assert desk.answers == [(b"a@x", KNOWN, b"")]


def test_nobody_asks_nobody_connects(desk):
    desk.client.sweep()
    assert desk.loop.connecting == 0


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1x"])
def test_what_is_no_answer_closes_the_connection(desk, data):
    desk.ask(b"a@x")
    desk.connect()
    desk.client.data_received(data)
    assert desk.transport.closed
    assert desk.answers == []


def test_over_a_real_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def run():
        loop = asyncio.get_running_loop()
        client = Recipients(loop, "users.sock")
        answered = loop.create_future()
        client.ask(b"a@x", lambda letter, text: answered.set_result((letter, text)))
        await client._connecting  # nobody listens yet
        over = loop.create_future()

        async def serve(reader, writer):
            size = int.from_bytes(await reader.readexactly(4), "big")
            question = decode(await reader.readexactly(size))
            writer.write(encode(question.tag, KNOWN, b""))
            await reader.read()
            writer.close()
            await writer.wait_closed()
            over.set_result(None)

        server = await asyncio.start_unix_server(serve, "users.sock")
        client.sweep()
        assert await asyncio.wait_for(answered, 30) == (KNOWN, b"")
        client.close()
        server.close()
        await asyncio.wait_for(over, 30)

    asyncio.run(run())


def test_when_descriptors_run_out_it_connects_later(tmp_path, monkeypatch, no_sockets):
    """Else no recipient could be told any more until the worker starts again."""
    monkeypatch.chdir(tmp_path)

    async def run():
        client = Recipients(asyncio.get_running_loop(), "users.sock")
        with no_sockets():
            client.ask(b"a@x", lambda _letter, _text: None)
            await asyncio.gather(client._connecting, return_exceptions=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("users.sock")
            listener.listen()
            client.sweep()
            await client._connecting
            listener.accept()[0].close()
        client.close()

    asyncio.run(run())
