"""How long a host is waited for: for each whole answer, however busy it seems (timeoutremote)."""

import asyncio

import pytest

from quail.control.routes import QMTP, SMTP
from quail.delivery.remote.exchangers import Target
from quail.delivery.remote.message import Mail
from quail.delivery.remote.qmtp_connection import QmtpConnection
from quail.delivery.remote.smtp_connection import SmtpConnection

PATIENCE = 100.0


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time a test turns."""

    now = 1000.0

    def time(self):
        return self.now


class Wire(asyncio.Transport):
    aborted = False

    def write(self, data):
        pass

    def is_closing(self):
        return False

    def abort(self):
        self.aborted = True


@pytest.fixture
def loop():
    loop = Clock()
    yield loop
    loop.close()


def smtp(loop, port=25):
    return SmtpConnection(loop, Target("192.0.2.1", port, SMTP, direct=True), PATIENCE, print, b"mx.example.com")


def qmtp(loop):
    return QmtpConnection(loop, Target("192.0.2.1", 209, QMTP, direct=True), PATIENCE, print)


def hear(connection, loop, *pieces):
    """Each piece most of the patience later; whether the connection has been given up at the end."""
    for piece in pieces:
        loop.now += 0.9 * PATIENCE
        connection.look(loop.now)
        connection.data_received(piece)
    loop.now += 0.2 * PATIENCE
    connection.look(loop.now)
    return connection._transport.aborted


@pytest.mark.parametrize(
    ("pieces", "given_up"),
    [
        ([b"220 far.example\r\n", b"250 far.example\r\n"], False),
        ([b"220 far.exam", b"ple\r\n"], True),
        ([b"220-far\r\n", b"220 far\r\n"], True),
        ([b"220 far.example\r\n", b"250-far.example\r\n", b"250-SIZE\r\n"], True),
    ],
)
def test_smtp(loop, pieces, given_up):
    connection = smtp(loop)
    connection.connection_made(Wire())
    assert hear(connection, loop, *pieces) is given_up


@pytest.mark.parametrize(
    ("pieces", "given_up"),
    [([b"3:Kok,", b"3:Kok,"], False), ([b"3:Kok,3", b":", b"Kok,"], True), ([b"3", b":"], True)],
)
def test_qmtp(loop, pieces, given_up):
    connection = qmtp(loop)
    connection.connection_made(Wire())
    mail = Mail(b"far.example", b"s@x.example", [b"a@far.example", b"b@far.example", b"c@far.example"], b"hello\n")
    delivery = loop.create_task(connection.deliver(mail))
    loop.run_until_complete(asyncio.sleep(0))
    assert hear(connection, loop, *pieces) is given_up
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(delivery)
