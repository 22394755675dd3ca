"""lspawn's side of the users protocol, against a scripted service on a real socket; the clock is the test's."""

import os
import socket

import pytest

from quail.net.frames import Splitter
from quail.net.pollloop import Loop
from quail.net.users_client import FRESH, PATIENCE, UsersClient
from quail.net.users_protocol import KNOWN, MAX_REQUEST, TROUBLE, UNKNOWN, decode, encode

OWNER = b"joe\x001\x002\0/home/joe\0\0"


class Service:
    def __init__(self, loop, path):
        self.loop = loop
        self.now = 1000.0
        self.answers = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.client = UsersClient(
            loop,
            path,
            lambda local, answer: self.answers.append((local, answer.letter, answer.payload)),
            lambda: self.now,
        )
        self.connection = None

    def accept(self):
        self.hang_up()
        self.connection, _ = self.listener.accept()
        self.splitter = Splitter(MAX_REQUEST)

    def hang_up(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def questions(self, count):
        self.loop.once(0)
        found = []
        while len(found) < count:
            found += self.splitter.feed(self.connection.recv(1 << 16))
        return [decode(frame) for frame in found]

    def answer(self, *frames):
        self.connection.sendall(b"".join(frames))
        self.loop.once(1)


@pytest.fixture
def service(tmp_path):
    loop = Loop()
    folder = os.open(tmp_path, os.O_RDONLY)  # keeps the socket's path short
    made = Service(loop, f"/proc/self/fd/{folder}/s")
    yield made
    made.client.close()
    made.hang_up()
    made.listener.close()
    os.close(folder)
    loop.close()


def test_answers_in_any_order(service):
    for local in (b"joe", b"jane", b"ann"):
        service.client.ask(local)
    service.accept()
    joe, jane, ann = service.questions(3)
    assert (joe.letter, joe.payload) == (b"L", b"joe")
    service.answer(encode(ann.tag, UNKNOWN, b""), encode(joe.tag, KNOWN, OWNER), encode(jane.tag, TROUBLE, b"text"))
    assert service.answers == [(b"ann", UNKNOWN, b""), (b"joe", KNOWN, OWNER), (b"jane", TROUBLE, b"text")]
    assert not service.client.waiting


def test_answers_are_kept_a_second_but_trouble_is_not(service):
    for local in (b"joe", b"jane"):
        service.client.ask(local)
    service.accept()
    joe, jane = service.questions(2)
    service.answer(encode(joe.tag, KNOWN, OWNER), encode(jane.tag, TROUBLE, b"text"))
    service.now += FRESH / 2
    assert service.client.known(b"joe").payload == OWNER
    assert service.client.known(b"jane") is None
    service.now += FRESH
    assert service.client.known(b"joe") is None


def test_a_restarted_service_is_asked_again(service):
    service.client.ask(b"joe")
    service.accept()
    service.questions(1)
    service.hang_up()
    service.loop.once(1)
    assert service.answers == []
    service.client.tick()
    service.accept()
    (again,) = service.questions(1)
    service.answer(encode(again.tag, UNKNOWN, b""))
    assert service.answers == [(b"joe", UNKNOWN, b"")]


@pytest.mark.parametrize("broken", [b"\xff\xff\xff\xff", b"\0\0\0\x01x"])
def test_a_service_that_talks_nonsense_is_asked_again(service, broken):
    service.client.ask(b"joe")
    service.accept()
    service.questions(1)
    service.answer(broken)
    service.client.tick()
    service.accept()
    (again,) = service.questions(1)
    assert again.payload == b"joe"


def test_patience_ends(service):
    service.client.ask(b"joe")
    service.now += PATIENCE - 1
    service.client.tick()
    assert service.answers == []
    service.now += 2
    service.client.tick()
    assert service.answers == [(b"joe", TROUBLE, b"no answer from the users service")]


def test_no_socket_at_all(service):
    service.client._path += "-gone"
    service.client.ask(b"joe")
    service.client.tick()
    assert service.client.waiting
    service.now += PATIENCE
    service.client.tick()
    assert [letter for _, letter, _ in service.answers] == [TROUBLE]


def test_when_descriptors_run_out_it_is_asked_later(service, no_sockets):
    """An exception here would be the end of lspawn."""

    with no_sockets():
        service.client.ask(b"joe")
        service.client.tick()
    service.client.tick()
    service.accept()
    (question,) = service.questions(1)
    service.answer(encode(question.tag, UNKNOWN, b""))
    assert service.answers == [(b"joe", UNKNOWN, b"")]


def test_late_or_invented_answers_are_dropped(service):
    service.client.ask(b"joe")
    service.accept()
    (joe,) = service.questions(1)
    service.answer(encode(joe.tag + 5, KNOWN, OWNER), encode(joe.tag, b"?", b""))
    assert service.answers == []
    service.answer(encode(joe.tag, UNKNOWN, b""), encode(joe.tag, KNOWN, OWNER))
    assert service.answers == [(b"joe", UNKNOWN, b"")]


def test_an_owner_that_is_none_is_trouble(service):
    service.client.ask(b"joe")
    service.accept()
    (joe,) = service.questions(1)
    service.answer(encode(joe.tag, KNOWN, b"joe\0root"))
    assert [letter for _, letter, _ in service.answers] == [TROUBLE]
