"""The blocking client of the hand-over, against a queue that a test plays by hand."""

import os
import socket
import threading

import pytest

from quail.errors import PeerError
from quail.net.frames import frame
from quail.queue import handover
from quail.queue.handover import ABANDON, CHUNK, END, MAX_UNANSWERED, Client, decode_envelope

pytestmark = pytest.mark.timeout(60)


class Queue:
    """Answers messages with what it has been given, one after another; None: closes the connection instead."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.messages = []
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("queue.sock")
        self.listener.listen()
        self.listener.settimeout(30)
        self.closed = threading.Event()  # a connection has been closed by this side
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while self.answers:
            connection, _ = self.listener.accept()
            connection.settimeout(30)
            self.connections += 1
            with connection:
                self._serve(connection)
            self.closed.set()
        self.listener.close()

    def _serve(self, connection):
        stream = connection.makefile("rb")
        with stream:
            while self.answers:
                if self.answers[0] is None:
                    self.answers.pop(0)
                    return
                payloads = []
                while payloads[-1:] != [b""]:
                    head = stream.read(4)
                    if len(head) < 4:
                        self.answers.pop(0)
                        return
                    payloads.append(stream.read(int.from_bytes(head, "big")))
                envelope = decode_envelope(payloads[0])
                self.messages.append((envelope.sender, envelope.recipients, b"".join(payloads[1:])))
                connection.sendall(self.answers.pop(0))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def client():
    client = Client("queue.sock", timeout=30)
    yield client
    client.close()


def test_many_messages_over_one_connection(client):
    queue = Queue(frame(b"K1"), frame(b"Zlater (#4.3.0)"), frame(b"Dnever"))
    replies = [client.send(b"a@x", [b"b@y"], [b"one", b"", b"two"]) for _ in range(3)]
    queue.thread.join()
    assert [(reply.letter, reply.text) for reply in replies] == [
        (b"K", b"1"),
        (b"Z", b"later (#4.3.0)"),
        (b"D", b"never"),
    ]
    assert queue.messages == [(b"a@x", [b"b@y"], b"onetwo")] * 3
    assert queue.connections == 1


def test_a_long_body_goes_in_pieces(client):
    queue = Queue(frame(b"K1"))
    body = os.urandom(500_000)
    client.send(b"a@x", [b"b@y"], [body])
    queue.thread.join()
    assert queue.messages[0][2] == body


def test_a_kept_connection_that_the_queue_has_closed_is_made_again(client):
    """With the same recipients: an iterator must not be empty the second time."""
    queue = Queue(frame(b"K1"), None, frame(b"K2"))
    client.send(b"a@x", [b"b@y"], [b"one"])
    assert queue.closed.wait(30)
    reply = client.send(b"a@x", iter([b"b@y", b"c@z"]), iter([b"two"]), iter([(b"smtputf8", b"")]))
    queue.thread.join()
    assert reply.text == b"2"
    assert queue.messages[1] == (b"a@x", [b"b@y", b"c@z"], b"two")
    assert queue.connections == 2


def test_nobody_listens(client):
    with pytest.raises(FileNotFoundError):
        client.send(b"a@x", [b"b@y"], [b"one"])


def test_the_queue_goes_before_it_has_answered(client):
    queue = Queue(b"")
    with pytest.raises(ConnectionError):
        client.send(b"a@x", [b"b@y"], [b"one"])
    queue.thread.join()
    assert client._socket is None


def test_half_an_answer_is_none(client):
    queue = Queue(frame(b"K12345")[:-2])
    with pytest.raises(ConnectionError):
        client.send(b"a@x", [b"b@y"], [b"one"])
    queue.thread.join()


@pytest.mark.parametrize("answer", [frame(b"X1"), frame(b""), b"\xff\xff\xff\xff"])
def test_an_answer_that_is_none(client, answer):
    queue = Queue(answer)
    with pytest.raises(PeerError):
        client.send(b"a@x", [b"b@y"], [b"one"])
    queue.thread.join()
    assert client._socket is None


def test_a_body_that_breaks_off_abandons_its_message(client):
    queue = Queue(frame(b"K1"))

    def body():
        yield b"half" * CHUNK
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        client.send(b"a@x", [b"b@y"], body())
    queue.thread.join()
    assert queue.messages == []


def test_an_empty_chunk_does_not_end_the_message(client):
    queue = Queue(frame(b"K1"))
    client.send(b"a@x", [], [b"", b"body", b""])
    queue.thread.join()
    assert queue.messages == [(b"a@x", [], b"body")]
    assert frame(b"") == END


def test_an_envelope_behind_its_message(client, listener):
    told = []

    def body(*pieces):
        yield from pieces
        told.append(b"a@x")

    for pieces in ((b"one", b"", b"two"), (b"x" * CHUNK, b"y" * CHUNK)):
        told.clear()
        queue = threading.Thread(target=answer, args=(listener, b"K7"))
        queue.start()
        reply = client.send_body_first(body(*pieces), lambda: (told.pop(), [b"b@y"]))
        assert (reply.letter, reply.text) == (b"K", b"7")
        queue.join()
        client.close()
        text, envelope = answered.pop()
        assert text == b"".join(pieces)
        assert (envelope.sender, envelope.recipients) == (b"a@x", [b"b@y"])


answered = []


def answer(listener, reply):
    """Take one message whose envelope comes last."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:

        def take():
            return stream.read(int.from_bytes(stream.read(4), "big"))

        assert take() == b""
        text = b"".join(iter(take, b""))
        answered.append((text, decode_envelope(take())))
        connection.sendall(frame(reply))


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_message_that_is_not_wanted_before_its_envelope(client, listener, size):
    def body():
        yield b"x" * size
        raise LookupError

    with pytest.raises(LookupError):
        client.send_body_first(body(), lambda: (b"", []))
    assert client._socket is None


@pytest.fixture
def listener():
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("queue.sock")
        listener.listen()
        listener.settimeout(30)
        yield listener


def texts(client, count):
    return [client.reply().text for _ in range(count)]


def test_messages_are_handed_over_before_the_first_reply(client, listener):
    for number in range(MAX_UNANSWERED):
        client.submit(b"a@x", [b"%d@y" % number], [b"one"])
    assert not client.has_reply
    queue, _ = listener.accept()
    with queue:
        for number in range(MAX_UNANSWERED):
            queue.sendall(frame(b"K%d" % number))
        assert texts(client, 1) == [b"0"]
        assert client.has_reply
        assert texts(client, MAX_UNANSWERED - 1) == [b"%d" % number for number in range(1, MAX_UNANSWERED)]
        assert not client.has_reply


def test_no_more_than_the_queue_takes(client, listener):
    for _ in range(MAX_UNANSWERED):
        client.submit(b"", [b"a@b"], [b"one"])
    with pytest.raises(AssertionError):
        client.submit(b"", [b"a@b"], [b"one"])


def test_a_body_that_breaks_off_costs_the_others_nothing(client, listener, monkeypatch):
    monkeypatch.setattr(handover, "CHUNK", 1000)

    def broken(half):
        yield half
        raise LookupError("planted")

    client.submit(b"", [b"a@b"], [b"one"])
    for half in (b"half", b"x" * 1000):
        with pytest.raises(LookupError):
            client.submit(b"", [b"c@d"], broken(half))
    client.submit(b"", [b"e@f"], [b"three"])
    queue, _ = listener.accept()
    with queue:
        queue.sendall(frame(b"K1") + frame(b"K3"))
        assert texts(client, 2) == [b"1", b"3"]
        client.close()
        data = b"".join(iter(lambda: queue.recv(1 << 16), b""))
    assert data.count(ABANDON) == 1
    assert frame(b"x" * 1000) + ABANDON in data
    assert b"half" not in data


def test_replies_that_are_lost_are_each_told_before_anything_new(client, listener):
    for _ in range(3):
        client.submit(b"", [b"a@b"], [b"one"])
    queue, _ = listener.accept()
    with queue:
        queue.sendall(frame(b"K1"))
        assert texts(client, 1) == [b"1"]
    for lost in (2, 1):
        if lost == 1:
            assert client.has_reply
        with pytest.raises(ConnectionError):
            client.submit(b"", [b"a@b"], [b"new"]) if lost == 1 else client.reply()
    with pytest.raises(ConnectionError):
        client.reply()
    client.submit(b"", [b"a@b"], [b"new"])
    queue, _ = listener.accept()
    with queue:
        queue.sendall(frame(b"K4"))
        assert texts(client, 1) == [b"4"]


def test_a_queue_that_goes_between_two_messages_loses_the_first(client, listener):
    client.submit(b"", [b"a@b"], [b"one"])
    listener.accept()[0].close()
    with pytest.raises(ConnectionError):
        client.submit(b"", [b"a@b"], [b"x" * CHUNK])
    with pytest.raises(ConnectionError):
        client.reply()


def test_a_path_that_is_too_long_for_a_socket(tmp_path):
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        at = os.open(folder, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{at}/queue.sock")
        os.close(at)
        listener.listen()
        client = Client(f"{folder}/queue.sock", timeout=30)
        client.submit(b"", [b"a@b"], [b"one"])
        queue, _ = listener.accept()
        with queue:
            queue.sendall(frame(b"K1"))
            assert client.reply().text == b"1"
        client.close()
