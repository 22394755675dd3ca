"""A POP3 connection before its log-in, between a client and authd."""

import asyncio

import pytest
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.net.authd_protocol import ACCEPTED, REFUSED, TROUBLE
from quail.policy.logins import Guard
from quail.pop3.login import Login, Settings
from quail.services.popd import authd_client
from quail.services.popd.login import LEAST, PopConnection

NO_WORD = getattr(authd_client, "NO_WORD", b"")
LOG_IN = b"USER joe\r\nPASS secret\r\n"


class FakeSocket:
    def fileno(self):
        return 99


class FakeService:
    """What a connection asks of popd, and of authd."""

    def __init__(self, loop=None, resolver=None):
        self.loop = loop or SteppedLoop()
        self.resolver = resolver
        self.sessions = set()
        self.guard = Guard()
        self.authd = self
        self.requests, self.lines = [], []
        self.judged = None

    def count(self, _session, _peer):
        return None

    def admit(self, _peer, _name):
        return Login(Settings(), None)

    def leave(self, session, _peer):
        self.sessions.discard(session)

    def log(self, line):
        self.lines.append(line)

    def ask(self, request, connection, judged):
        assert connection == 99
        self.requests.append(request)
        self.judged = judged


class Client:
    def __init__(self, service):
        self.session = PopConnection(service)
        self.transport = FakeTransport(FakeSocket())
        self.session.connection_made(self.transport)

    def say(self, data):
        self.session.data_received(data)
        return self.transport.take()


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def client(service):
    made = Client(service)
    assert made.transport.take() == b"+OK ready\r\n"
    return made


def test_accepted(client, service):
    assert client.say(LOG_IN + b"STAT\r\n") == b"+OK \r\n"
    (request,) = service.requests
    assert (request.user, request.secret, request.rest) == (b"joe", b"secret", b"STAT\r\n")
    assert not client.transport.reading
    service.judged(ACCEPTED, b"")
    assert client.transport.aborted
    assert client.transport.written == b""
    assert service.lines == ["192.0.2.1 log-in of joe: ok"]


@pytest.mark.parametrize(
    ("letter", "reply"), [(REFUSED, b"-ERR [AUTH] authorization failed\r\n"), (TROUBLE, b"-ERR [SYS/TEMP] later\r\n")]
)
def test_not_accepted(client, service, letter, reply):
    client.say(LOG_IN + b"NOOP\r\n")
    service.judged(letter, b"later" if letter == TROUBLE else b"")
    service.loop.pass_time(LEAST)
    assert client.transport.take() == reply + b"+OK \r\n"
    assert client.transport.reading


def test_without_a_word_of_authd_the_connection_is_given_up(client, service):
    """Somebody else may own it by now: nothing is written to it or read from it."""
    client.say(LOG_IN + b"NOOP\r\n")
    service.judged(NO_WORD, b"")
    assert client.transport.aborted
    service.loop.pass_time(60)
    assert client.transport.written == b""
    assert not client.transport.reading
    assert service.lines == ["192.0.2.1 log-in of joe: no word from authd, connection dropped"]


def test_without_a_word_for_a_client_that_has_gone(client, service):
    client.say(LOG_IN)
    client.session.connection_lost(None)
    service.judged(NO_WORD, b"")
    assert not client.transport.aborted


class SlowResolver:
    def __init__(self, loop):
        self.name = loop.create_future()

    async def name_of(self, _peer, *, patience):
        del patience
        return await self.name


@pytest.mark.parametrize("ended", [False, True])
def test_what_comes_before_the_greeting_is_heard_in_one_piece(ended):
    """A log-in and what is behind it: that goes to the session with the log-in, however the network has cut it."""
    loop = asyncio.new_event_loop()
    try:
        resolver = SlowResolver(loop)
        service = FakeService(loop, resolver)
        client = Client(service)
        assert client.say(LOG_IN) == b""
        assert client.say(b"STAT\r\nQU") == b""
        assert client.say(b"IT\r\n") == b""
        if ended:
            client.session.eof_received()
        resolver.name.set_result(None)
        loop.run_until_complete(client.session._naming)
    finally:
        loop.close()
    assert client.transport.take() == b"+OK ready\r\n+OK \r\n"
    (request,) = service.requests
    assert request.rest == b"STAT\r\nQUIT\r\n"
