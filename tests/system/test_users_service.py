"""The real users process: what smtpd and lspawn ask, and what it withstands."""

import contextlib
import os
import signal

import pytest
from tests.system.delivery_home import Ask, Installation

from quail.net import users_protocol as users
from quail.net.frames import frame


@pytest.fixture
def home(tmp_path):
    with contextlib.ExitStack() as stack:
        installation = Installation(tmp_path)
        stack.callback(installation.close)
        installation.wait_until_up()
        yield installation


@pytest.fixture
def ask(home):
    return Ask(home)


@pytest.mark.parametrize(
    ("recipient", "letter"),
    [
        (b"joe@localhost", b"K"),
        (b"JOE@LocalHost", b"K"),
        (b"joe", b"K"),  # envnoathost is localhost
        (b"nobody@localhost", b"N"),
        (b"nobody@elsewhere.example", b"K"),
        (b"@localhost", b"N"),
        (b"list-in@localhost", b"K"),
        (b"list-out@localhost", b"N"),
        (b"in@virtual.example", b"K"),
        (b"out@virtual.example", b"N"),
        (b"", b"N"),
    ],
)
def test_is_it_known(home, ask, recipient, letter):
    home.dot_qmail(".qmail-in", b"")
    home.control("virtualdomains", "virtual.example:list")
    home.signal("users", signal.SIGHUP)
    assert ask.ask(b"L", b"joe")[0] == b"K"  # the signal has been served
    assert ask.ask(b"R", recipient) == (letter, b"")


def test_rcptcheck_off(home, ask):
    home.control("rcptcheck", "0")
    home.signal("users", signal.SIGHUP)
    assert ask.ask(b"L", b"nobody") == (b"N", b"")
    assert ask.ask(b"R", b"nobody@localhost") == (b"K", b"")


def test_whose_is_it(home, ask):
    owner = users.decode_owner(ask.ask(b"L", b"list-A.b")[1])
    assert (owner.user, owner.uid, owner.gid) == (b"list", os.getuid(), os.getgid())
    assert (owner.home, owner.dash, owner.ext) == (os.fsencode(home.path / "mail/list"), b"-", b"A.b")


def test_users_cdb_is_followed(home, ask):
    assert ask.ask(b"L", b"new") == (b"N", b"")
    home.assign(f"=new:new:1:1:{home.path}/mail/new:::\n")
    assert ask.ask(b"L", b"new")[0] == b"K"
    (home.path / "users/cdb").write_bytes(b"rubbish")
    letter, text = ask.ask(b"R", b"new@localhost")
    assert letter == b"T"
    assert b"users/cdb" in text
    assert "can't tell about b'new@localhost'" in home.log()


def test_unknown_question(ask):
    assert ask.ask(b"Q", b"joe")[0] == b"T"


def test_malformed_control_file_keeps_the_old_rules(home, ask):
    home.control("locals", "localhost\r")
    home.signal("users", signal.SIGHUP)
    assert ask.ask(b"R", b"nobody@localhost") == (b"N", b"")
    assert "control/locals line 1" in home.log()


def test_nonsense_ends_only_its_own_connection(home, ask):
    other = Ask(home)
    other.sock.sendall(frame(b"x"))
    assert other.frame() is None
    assert ask.ask(b"L", b"joe")[0] == b"K"
    other.sock.close()


def test_a_client_that_does_not_read_keeps_only_itself_waiting(home, ask):
    greedy = Ask(home)
    greedy.sock.setblocking(False)
    question = users.encode(1, b"L", b"joe") * 1000
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 100 << 20:
            sent += greedy.sock.send(question)
            assert ask.ask(b"L", b"nobody") == (b"N", b"")  # the service has gone round
    assert sent < 100 << 20
    greedy.sock.close()
    assert ask.ask(b"L", b"joe")[0] == b"K"


def test_many_clients_pipelined(home):
    clients = [Ask(home) for _ in range(50)]
    for number, client in enumerate(clients):
        client.sock.sendall(b"".join(users.encode(tag, b"R", b"x%d@localhost" % number) for tag in range(200)))
    for client in clients:
        assert sorted(users.decode(client.frame()).tag for _ in range(200)) == list(range(200))
        client.sock.close()
