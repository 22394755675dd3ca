"""Log-ins that come together: what popd has judged, refuses, and puts off. Without authd and without a network."""

from types import SimpleNamespace

import pytest
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.net.authd_protocol import ACCEPTED, REFUSED, TROUBLE
from quail.policy.logins import Guard
from quail.pop3.login import Login, Settings
from quail.services.popd import login
from quail.services.popd.login import PopConnection

FAILED = b"-ERR [AUTH] authorization failed\r\n"
REFUSED_UNSEEN = b"-ERR [SYS/TEMP] too many wrong passwords, try again later\r\n"
LATER = b"-ERR [SYS/TEMP] unable to check the password now, try again later\r\n"


class Loop(SteppedLoop):
    """Whose timers can be cancelled."""

    def call_later(self, delay, call, *args):
        super().call_later(delay, call, *args)
        entry = self._later[-1]
        return SimpleNamespace(cancel=lambda: self._later.remove(entry) if entry in self._later else None)


class Transport(FakeTransport):
    def get_write_buffer_size(self):
        return 0


class Desk:
    """A service without its surroundings; `asked` is what authd was asked: requests, each with the callback for its verdict."""

    def __init__(self):
        self.loop = Loop()
        self.guard = Guard()
        self.authd = self
        self.resolver = None
        self.sessions = set()
        self.stopping = False
        self.lines = []
        self.log = self.lines.append
        self.asked = []

    def count(self, _session, _peer):
        return None

    def leave(self, session, _peer):
        self.sessions.discard(session)

    def admit(self, _peer, _name):
        return Login(Settings(), None)

    def ask(self, request, _connection, judged):
        self.asked.append((request, judged))

    def connect(self, peer="192.0.2.1"):
        session = PopConnection(self)
        transport = Transport(SimpleNamespace(fileno=lambda: 99), (peer, 1234))
        session.connection_made(transport)
        assert transport.take() == b"+OK ready\r\n"
        return session, transport

    def attempt(self, user, secret=b"wrong", peer="192.0.2.1"):
        """A connection that has sent its password."""
        session, transport = self.connect(peer)
        session.data_received(b"USER %b\r\nPASS %b\r\n" % (user, secret))
        assert transport.take() == b"+OK \r\n" or transport.written == b""
        return session, transport

    def judge(self, letter, text=b""):
        """All that were asked so far."""
        asked, self.asked = self.asked, []
        for _, judged in asked:
            judged(letter, text)
        return len(asked)


@pytest.fixture
def desk():
    return Desk()


def test_no_more_guesses_by_trying_many_at_once(desk):
    clients = [desk.connect() for _ in range(100)]
    for number, (session, _) in enumerate(clients):
        session.data_received(b"USER u%d\r\nPASS wrong\r\n" % number)
    assert desk.judge(REFUSED) == 10
    desk.loop.pass_time(login.HELD)
    assert desk.asked == []
    replies = [transport.written.partition(b"\r\n")[2] for _, transport in clients]
    assert replies.count(REFUSED_UNSEEN) == 90
    desk.loop.pass_time(40)
    replies = [transport.written.partition(b"\r\n")[2] for _, transport in clients]
    assert replies.count(FAILED) == 10


def test_many_right_passwords_at_once_have_to_wait_at_most(desk):
    clients = [desk.attempt(b"u%d" % number) for number in range(35)]
    judged = 0
    for _ in range(4):
        judged += desk.judge(ACCEPTED)
        desk.loop.pass_time(login.HELD)
    assert judged == 35
    assert all(transport.aborted for _, transport in clients)
    assert [line.rpartition(" ")[2] for line in desk.lines] == ["ok"] * 35


def test_what_can_not_be_judged_makes_room(desk):
    for number in range(11):
        desk.attempt(b"u%d" % number)
    assert desk.judge(TROUBLE) == 10
    desk.loop.pass_time(login.HELD)
    assert desk.judge(ACCEPTED) == 1


def test_who_is_put_off_is_told_in_the_end(desk):
    for number in range(10):
        desk.attempt(b"u%d" % number)
    session, transport = desk.attempt(b"jane")
    desk.loop.pass_time(login.LONGEST_HELD - 1)
    assert transport.take() == b""
    desk.loop.pass_time(2)
    assert transport.take() == LATER
    assert transport.reading
    assert desk.lines == ["192.0.2.1 log-in of jane: put off: too many attempts are being judged"]
    session.data_received(b"NOOP\r\n")
    assert transport.take() == b"+OK \r\n"


def test_who_is_put_off_is_told_when_the_service_stops(desk):
    for number in range(10):
        desk.attempt(b"u%d" % number)
    session, transport = desk.attempt(b"jane")
    desk.stopping = True
    session.shut_down()
    desk.loop.pass_time(login.HELD)
    assert transport.take().startswith(LATER)
    assert transport.closed


def test_who_is_put_off_and_goes_is_not_judged(desk):
    for number in range(10):
        desk.attempt(b"u%d" % number)
    session, _ = desk.attempt(b"jane")
    session.connection_lost(None)
    desk.judge(ACCEPTED)
    desk.loop.pass_time(60)
    assert desk.asked == []


def test_what_comes_behind_a_password_that_is_put_off_is_not_lost(desk):
    for number in range(10):
        desk.attempt(b"u%d" % number)
    session, _ = desk.connect()
    session.data_received(b"USER jane\r\nPASS right\r\nSTAT\r\n")
    session.data_received(b"LIST\r\n")
    desk.judge(ACCEPTED)
    desk.loop.pass_time(login.HELD)
    ((request, _),) = desk.asked
    assert (request.user, request.secret, request.rest) == (b"jane", b"right", b"STAT\r\nLIST\r\n")


def test_the_same_wrong_password_again_keeps_nobody_else_out(desk):
    for _ in range(12):
        desk.attempt(b"jane", b"last year's")
        desk.judge(REFUSED)
        desk.loop.pass_time(5)
    assert desk.lines.count("192.0.2.1 log-in of jane: failed") == 10
    desk.attempt(b"joe")
    assert desk.judge(ACCEPTED) == 1
    desk.attempt(b"jane", b"this year's")
    assert desk.judge(ACCEPTED) == 1
