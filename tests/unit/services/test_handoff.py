"""Connections from smtpd to the queue: one shared, replies in order; streamed messages apart; the queue gone at any moment."""

import asyncio
import socket

import pytest
from tests.unit.services.stepping import FakeTransport

from quail.net.frames import frame
from quail.queue.handover import ABANDON
from quail.services.inbound import handoff as module
from quail.services.inbound.handoff import GONE, Handoff, HandoffPool


class Borrower:
    def __init__(self):
        self.replies = []
        self.paused = []

    def handed_over(self, reply):
        self.replies.append((reply.letter, reply.text))

    def pause_message(self, paused):
        self.paused.append(paused)


class Pool(HandoffPool):
    """Its connections have fake transports, once open() is called."""

    def __init__(self):
        super().__init__(asyncio.new_event_loop(), "nowhere")
        self.made = []

    def _new(self):
        handoff = Handoff(self._loop, self)
        self.made.append(handoff)
        return handoff

    def open(self, index=-1):
        transport = FakeTransport()
        self.made[index].connection_made(transport)
        return transport

    def turn(self):
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()


@pytest.fixture
def pool():
    pool = Pool()
    yield pool
    pool._loop.close()


def gone():
    return [(GONE.letter, GONE.text)]


def test_whole_messages_share_a_connection_and_get_their_own_replies(pool):
    first, second, third = Borrower(), Borrower(), Borrower()
    pool.submit(b"one", first)
    transport = pool.open()
    pool.submit(b"two", second)
    pool.submit(b"three", third)
    pool.turn()
    assert len(pool.made) == 1
    assert transport.take() == b"onetwothree"
    pool.made[0].data_received(frame(b"K1") + frame(b"Zlater"))
    assert (first.replies, second.replies, third.replies) == ([(b"K", b"1")], [(b"Z", b"later")], [])
    pool.made[0].data_received(frame(b"Dnever"))
    assert third.replies == [(b"D", b"never")]


def test_replies_may_come_byte_by_byte(pool):
    borrower = Borrower()
    pool.submit(b"one", borrower)
    pool.open()
    for byte in frame(b"K123"):
        assert borrower.replies == []
        pool.made[0].data_received(bytes((byte,)))
    assert borrower.replies == [(b"K", b"123")]


def test_a_streamed_message_has_a_connection_to_itself_which_is_used_again(pool):
    first, second = Borrower(), Borrower()
    handoff = pool.acquire(first)
    transport = pool.open()
    handoff.write(b"a")
    handoff.write(b"b")
    pool.turn()
    assert transport.take() == b"ab"
    handoff.data_received(frame(b"K1"))
    assert first.replies == [(b"K", b"1")]
    assert pool.acquire(second) is handoff
    assert pool.acquire(Borrower()) is not handoff


def test_an_abandoned_message_leaves_the_connection_in_step(pool):
    first, second = Borrower(), Borrower()
    handoff = pool.acquire(first)
    transport = pool.open()
    handoff.write(b"half")
    handoff.abandon()
    assert pool.acquire(second) is handoff
    handoff.write(b"whole")
    pool.turn()
    assert transport.take() == b"half" + ABANDON + b"whole"
    handoff.data_received(frame(b"K2"))
    assert (first.replies, second.replies) == ([], [(b"K", b"2")])


def test_the_queue_goes_away_with_messages_unanswered(pool):
    first, second = Borrower(), Borrower()
    pool.submit(b"one", first)
    pool.submit(b"two", second)
    pool.open()
    pool.made[0].data_received(frame(b"K1"))
    pool.made[0].connection_lost(None)
    assert first.replies == [(b"K", b"1")]
    assert second.replies == gone()
    pool.submit(b"three", Borrower())
    assert len(pool.made) == 2


def test_an_idle_connection_that_is_lost_is_not_used_again(pool):
    handoff = pool.acquire(Borrower())
    pool.open()
    handoff.data_received(frame(b"K1"))
    handoff.connection_lost(None)
    assert pool.acquire(Borrower()) is not handoff


@pytest.mark.parametrize("bytes_", [frame(b"X1"), frame(b""), b"\xff\xff\xff\xff", frame(b"K1") + frame(b"K2")])
def test_an_answer_that_is_none_closes_the_connection(pool, bytes_):
    borrower = Borrower()
    pool.submit(b"one", borrower)
    transport = pool.open()
    pool.made[0].data_received(bytes_)
    assert transport.closed
    pool.made[0].connection_lost(None)
    assert len(borrower.replies) == 1


def test_back_pressure_reaches_the_borrower_and_ends(pool):
    borrower = Borrower()
    handoff = pool.acquire(borrower)
    pool.open()
    handoff.pause_writing()
    handoff.resume_writing()
    assert borrower.paused == [True, False]


def test_back_pressure_reaches_who_comes_later(pool):
    """The transport says it once only."""
    first, second = Borrower(), Borrower()
    handoff = pool.acquire(first)
    pool.open()
    handoff.pause_writing()
    handoff.abandon()
    assert pool.acquire(second) is handoff
    assert second.paused == [True]
    handoff.resume_writing()
    assert second.paused == [True, False]


def test_connections_beyond_what_is_kept_are_closed(pool, monkeypatch):
    monkeypatch.setattr(module, "MAX_IDLE", 1)
    handoffs = [pool.acquire(Borrower()) for _ in range(2)]
    transports = [pool.open(0), pool.open(1)]
    for handoff in handoffs:
        handoff.data_received(frame(b"K1"))
    assert [transport.closed for transport in transports] == [False, True]


def test_a_connection_that_is_too_many_before_it_is_made_is_closed_then(pool, monkeypatch):
    monkeypatch.setattr(module, "MAX_IDLE", 0)
    handoff = pool.acquire(Borrower())
    handoff.abandon()
    assert pool.open().closed


def test_close_closes_what_is_idle_and_what_is_shared(pool):
    pool.submit(b"one", Borrower())
    shared = pool.open()
    handoff = pool.acquire(Borrower())
    idle = pool.open()
    handoff.data_received(frame(b"K1"))
    pool.close()
    assert shared.closed
    assert idle.closed


def test_over_a_real_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def run():
        loop = asyncio.get_running_loop()
        pool = HandoffPool(loop, "queue.sock")
        missing = Borrower()
        pool.submit(b"nobody is there", missing)
        await asyncio.gather(*pool._tasks)
        assert missing.replies == gone()

        heard, over = loop.create_future(), loop.create_future()

        async def serve(reader, writer):
            heard.set_result(await reader.readexactly(5))
            writer.write(frame(b"K7"))
            await reader.read()
            writer.close()
            await writer.wait_closed()
            over.set_result(None)

        server = await asyncio.start_unix_server(serve, "queue.sock")
        answered = loop.create_future()
        borrower = Borrower()
        borrower.handed_over = answered.set_result
        pool.submit(b"hello", borrower)
        assert await asyncio.wait_for(heard, 30) == b"hello"
        assert (await asyncio.wait_for(answered, 30)).text == b"7"
        pool.close()
        server.close()
        await asyncio.wait_for(over, 30)

    asyncio.run(run())


def test_no_descriptor_is_left_when_the_queue_does_not_listen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    real = socket.socket

    def counted(*args):
        made.append(real(*args))
        return made[-1]

    async def run():
        pool = HandoffPool(asyncio.get_running_loop(), "queue.sock")
        monkeypatch.setattr(socket, "socket", counted)
        for _ in range(3):
            pool.submit(b"x", Borrower())
            await asyncio.gather(*pool._tasks)
        monkeypatch.undo()

    asyncio.run(run())
    assert len(made) == 3
    assert all(sock.fileno() == -1 for sock in made)


def test_without_a_descriptor_left_the_message_is_put_off_and_the_next_one_is_not(tmp_path, monkeypatch, no_sockets):
    """A connection that could not even be begun must not keep the messages of all sessions from then on."""
    monkeypatch.chdir(tmp_path)

    async def run():
        pool = HandoffPool(asyncio.get_running_loop(), "queue.sock")
        whole, streamed = Borrower(), Borrower()
        with no_sockets():
            pool.submit(b"x", whole)
            broken = pool.acquire(streamed)
            await asyncio.gather(*pool._tasks, return_exceptions=True)
        assert whole.replies == streamed.replies == gone()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("queue.sock")
            listener.listen()
            pool.submit(b"x", Borrower())
            assert pool.acquire(Borrower()) is not broken
            await asyncio.gather(*pool._tasks)
            for _ in range(2):
                listener.accept()[0].close()
        pool.close()

    asyncio.run(run())
