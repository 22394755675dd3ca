"""popd's connection to authd: verdicts in any order, and what becomes of log-ins when none comes.

The rule behind it: a connection whose descriptor was sent may have a new owner, so its asker never hears TROUBLE, which would
have it go on, without authd's word.
"""

import os
import socket

import pytest
from tests.unit.services.stepping import SteppedLoop

from quail.net import descriptors
from quail.net.authd_protocol import (
    ACCEPTED,
    MAX_REQUEST,
    MAX_REST,
    REFUSED,
    TROUBLE,
    Request,
    decode_request,
    encode_verdict,
)
from quail.net.frames import Splitter
from quail.services.popd import authd_client
from quail.services.popd.authd_client import AuthdClient

NO_WORD = getattr(authd_client, "NO_WORD", b"")
LATE = authd_client.PATIENCE + 1


class Service:
    """authd's end of one connection."""

    def __init__(self, listener):
        self.sock, _ = listener.accept()
        self.sock.setblocking(False)
        self.splitter = Splitter(MAX_REQUEST)
        self.held = []

    def read(self):
        """The log-ins that have come whole."""
        requests = []
        while True:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(1 << 18, descriptors.SPACE)
            except BlockingIOError:
                return requests
            self.held += descriptors.received(ancillary)
            requests += map(decode_request, self.splitter.feed(data))
            if not data:
                return requests

    def close(self):
        self.sock.close()
        for fd in self.held:
            os.close(fd)


class House:
    """A client of a service that is there between start() and the end of the test, and those who ask."""

    def __init__(self, path):
        self.path = path
        self.loop = SteppedLoop()
        self.client = AuthdClient(self.loop, path)
        self.listener = None
        self.made = []

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()

    def accept(self):
        self.made.append(Service(self.listener))
        return self.made[-1]

    def ask(self, user=b"joe", rest=b""):
        """One more log-in: the client's far end, and the verdicts, which come later."""
        near, far = socket.socketpair()
        far.setblocking(False)
        self.made.append(far)
        verdicts = []
        request = Request(0, b"P", service=b"pop3", user=user, secret=b"s", rest=rest)
        self.client.ask(request, near.fileno(), lambda *verdict: verdicts.append(verdict))
        near.close()  # so that `far` tells when nobody has it any more
        self.loop.turn()
        return far, verdicts

    def hear(self):
        self.loop.ready(self.client._sock.fileno())

    def go_on_writing(self):
        self.loop.ready(self.client._sock.fileno(), write=True)

    def late(self):
        self.loop.now += LATE
        self.client.sweep()

    def close(self):
        self.client.close()
        for one in [*self.made, self.listener]:
            if one is not None:
                one.close()


@pytest.fixture
def house(tmp_path):
    made = House(str(tmp_path / "authd.sock"))
    yield made
    made.close()


@pytest.fixture
def served(house):
    house.start()
    return house


def is_let_go(far):
    """Whether nobody has the other end any more."""
    try:
        return far.recv(1) == b""
    except BlockingIOError:
        return False


def test_verdicts_come_in_any_order(served):
    _, first = served.ask(b"one")
    _, second = served.ask(b"two")
    authd = served.accept()
    one, two = authd.read()
    assert (one.user, two.user, len(authd.held)) == (b"one", b"two", 2)
    authd.sock.sendall(encode_verdict(two.tag, REFUSED) + encode_verdict(one.tag, ACCEPTED))
    served.hear()
    assert (first, second) == ([(ACCEPTED, b"")], [(REFUSED, b"")])


def test_a_late_log_in_that_authd_may_have_is_not_told_to_go_on(served):
    _, verdicts = served.ask()
    authd = served.accept()
    (request,) = authd.read()
    served.late()
    assert verdicts == [(NO_WORD, b"")]
    assert NO_WORD != TROUBLE
    authd.sock.sendall(encode_verdict(request.tag, TROUBLE))  # too late: it is heard once
    served.hear()
    assert len(verdicts) == 1


def test_a_late_log_in_that_nobody_got_is_told_to_come_again(house):
    far, verdicts = house.ask()
    assert not is_let_go(far)
    house.late()
    assert verdicts == [(TROUBLE, b"")]
    assert is_let_go(far)
    house.start()
    house.client.sweep()
    assert house.client._sock is None  # nothing is left to be sent


def test_what_authd_had_got_when_it_went_has_no_verdict(served):
    _, verdicts = served.ask()
    served.accept().close()
    served.hear()
    assert verdicts == [(NO_WORD, b"")]
    _, verdicts = served.ask(b"next")
    authd = served.accept()
    (request,) = authd.read()
    authd.sock.sendall(encode_verdict(request.tag, ACCEPTED))
    served.hear()
    assert verdicts == [(ACCEPTED, b"")]


def test_what_authd_had_not_got_is_asked_of_the_next_one(served):
    _, large = served.ask(b"large", b"x" * MAX_REST)  # more than the socket takes
    _, small = served.ask(b"small")
    served.accept().close()
    served.hear()
    assert (large, small) == ([(NO_WORD, b"")], [])
    served.client.sweep()
    authd = served.accept()
    assert [request.user for request in authd.read()] == [b"small"]
    assert len(authd.held) == 1


def test_a_frame_that_is_half_sent_is_finished_however_late(served):
    """Else everything behind it would be misread."""
    _, large = served.ask(b"large", b"x" * MAX_REST)
    _, small = served.ask(b"small")
    authd = served.accept()
    served.late()
    assert (large, small) == ([(NO_WORD, b"")], [(TROUBLE, b"")])
    _, last = served.ask(b"last")
    requests = authd.read()
    while served.client._out:
        served.go_on_writing()
        requests += authd.read()
    assert [request.user for request in requests] == [b"large", b"last"]
    authd.sock.sendall(encode_verdict(requests[1].tag, REFUSED))
    served.hear()
    assert last == [(REFUSED, b"")]


def test_authd_learns_when_it_was_asked(served, monkeypatch):
    monkeypatch.setattr(authd_client.time, "monotonic", lambda: 12345.678)
    served.ask()
    (request,) = served.accept().read()
    assert request.asked == 12_345_678
