import os
import socket

import pytest

from quail.net.pump import PeerGoneError, Pump


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_reads_what_has_come_and_the_end(pair):
    ours, theirs = pair
    pump = Pump(ours.fileno(), ours.fileno(), None)
    theirs.sendall(b"abc")
    assert pump.read() == b"abc"
    theirs.sendall(b"def")
    theirs.shutdown(socket.SHUT_WR)
    assert pump.read() == b"def"
    assert pump.read() == b""
    assert pump.read() == b""


def test_waits_no_longer_than_it_may(pair):
    ours, _ = pair
    assert Pump(ours.fileno(), ours.fileno(), 0.01).read() is None


def test_writes_all(pair):
    ours, theirs = pair
    Pump(ours.fileno(), ours.fileno(), None).write(b"x" * 20_000)
    ours.shutdown(socket.SHUT_WR)
    assert len(theirs.makefile("rb").read()) == 20_000


@pytest.mark.parametrize("blocking", [True, False])
def test_a_peer_that_does_not_read(pair, blocking):
    ours, _ = pair
    ours.setblocking(blocking)
    with pytest.raises(PeerGoneError, match="timed out"):
        Pump(ours.fileno(), ours.fileno(), 0.05).write(b"x" * 10_000_000)


def test_a_pipe_that_nobody_empties():
    read, write = os.pipe()
    try:
        with pytest.raises(PeerGoneError, match="timed out"):
            Pump(read, write, 0.05).write(b"x" * 10_000_000)
    finally:
        os.close(read)
        os.close(write)


def test_a_peer_that_has_gone(pair):
    ours, theirs = pair
    theirs.close()
    pump = Pump(ours.fileno(), ours.fileno(), None)
    assert pump.read() == b""
    with pytest.raises(PeerGoneError, match="unable to write"):
        pump.write(b"abc")


def test_a_peer_that_has_reset_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        with ours:
            ours.sendall(b"unread")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert Pump(ours.fileno(), ours.fileno(), None).read() == b""
