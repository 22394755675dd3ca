"""Connecting: rounds, addresses of both kinds, ports, what is told of failures. The network is the loopback, or made up."""

import errno
import socket

import pytest

from quail.errors import TemporaryError
from quail.net import naming
from quail.net.dial import Dialler

TIMED_OUT, REFUSED = errno.ETIMEDOUT, errno.ECONNREFUSED


class Scripted(Dialler):
    """Addresses and what connecting to them says, in order: an errno or a connection."""

    def __init__(self, **outcomes):
        self.told, self.tried = [], []
        super().__init__(self.told.append)
        self.outcomes = {f"10.0.0.{name[1:]}": list(outcome) for name, outcome in outcomes.items()}

    def _addresses(self, host):
        return list(self.outcomes)

    def _connect(self, ip, port, patience):
        self.tried.append((ip, patience))
        outcome = self.outcomes[ip].pop(0)
        if isinstance(outcome, int):
            raise OSError(outcome, "")
        return outcome


def test_one_address_has_both_times():
    dialler = Scripted(a1=[TIMED_OUT])
    assert dialler.dial(b"x", b"25") is None
    assert dialler.tried == [("10.0.0.1", 60)]
    assert dialler.told == ["unable to connect to 10.0.0.1 port 25: timed out"]


def test_rounds():
    dialler = Scripted(a1=[TIMED_OUT, TIMED_OUT], a2=[REFUSED], a3=[TIMED_OUT, REFUSED])
    dialler.patience = (1, 5)
    assert dialler.dial(b"x", b"25") is None
    assert dialler.tried == [("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1), ("10.0.0.1", 5), ("10.0.0.3", 5)]
    assert [text.removeprefix("unable to connect to 10.0.0.") for text in dialler.told] == [
        "2 port 25: connection refused",
        "1 port 25: timed out",
        "3 port 25: connection refused",
    ]


def test_the_first_that_answers_is_taken():
    dialler = Scripted(a1=[TIMED_OUT, "found"], a2=[REFUSED])
    assert dialler.dial(b"x", b"25") == "found"
    dialler = Scripted(a1=[REFUSED], a2=["found"], a3=["never"])
    assert dialler.dial(b"x", b"25") == "found"
    assert len(dialler.told) == 1


@pytest.mark.parametrize(
    ("local", "four_only", "remote", "words"),
    [
        ("127.0.0.1", False, b"::1", "::1 port 25: address family not supported"),
        ("::1", False, b"127.0.0.1", "127.0.0.1 port 25: network unreachable"),
        ("", True, b"[::1]", "::1 port 25: address family not supported"),
    ],
)
def test_addresses_of_another_kind(local, four_only, remote, words):
    told = []
    dialler = Dialler(told.append)
    dialler.local_ip, dialler.four_only = local, four_only
    assert dialler.dial(remote, b"25") is None
    assert told == [f"unable to connect to {words}"]


@pytest.mark.parametrize(("host", "as_six", "shown"), [(b"", False, "127.0.0.1"), (b"0", True, "::1")])
def test_this_machine(host, as_six, shown):
    with socket.socket(socket.AF_INET6 if as_six else socket.AF_INET) as listener:
        listener.bind((shown, 0))
        listener.listen()
        dialler = Dialler(pytest.fail)
        dialler.as_six = as_six
        connection = dialler.dial(host, str(listener.getsockname()[1]).encode())
        assert connection is not None
        assert dialler.shown(connection.getpeername()[0]) == shown
        assert connection.getblocking()
        connection.close()


def test_silence():
    """A listener whose queue is full."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        told = []
        dialler = Dialler(told.append)
        dialler.patience = (0, 1)
        port = listener.getsockname()[1]
        assert dialler.dial(b"127.0.0.1", b"%d" % port) is None
        assert told == [f"unable to connect to 127.0.0.1 port {port}: timed out"]


def test_what_can_not_be_bound():
    dialler = Dialler(pytest.fail)
    dialler.local_ip = "192.0.2.1"
    with pytest.raises(TemporaryError, match=r"^unable to bind socket: address not available$"):
        dialler.dial(b"127.0.0.1", b"25")


@pytest.mark.parametrize(("text", "port"), [(b"25", 25), (b"smtp", 25), (b"", 0), (b"70000", 4464), (b"0025", 25)])
def test_ports(text, port):
    assert naming.port(text) == port


@pytest.mark.parametrize("text", [b"25x", b"nosuch", b"-1", b"\xff", b" 25"])
def test_ports_that_are_none(text):
    with pytest.raises(TemporaryError, match="unable to figure out port number for "):
        naming.port(text)
