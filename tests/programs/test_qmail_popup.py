"""qmail-popup as a process: what it says, what its subprogram gets, and whole log-ins by way of a checkpassword."""

import hashlib
import os
import re

import pytest
from tests.programs.launch import launch
from tests.programs.pop3_process import CHAIN, POPUP, Pop3, make_joe, put

# Tells what it found on descriptor 3, and what comes behind on 0.
TELL = ["sh", "-c", 'tr "\\0" "|" <&3; cat']


@pytest.fixture
def home(tmp_path):
    return make_joe(tmp_path)


def greeting(client):
    found = re.fullmatch(rb"\+OK (<(\d+)\.\d{10}@mx\.example\.com>)\r\n", client.line())
    assert int(found[2]) == client.process.pid
    return found[1]


def test_what_the_subprogram_gets(home):
    client = Pop3([*POPUP, "mx.example.com", *TELL], home)
    stamp = greeting(client)
    client.send(b"NOOP\r\nUSER joe x\r\nPASS  two words \r\nSTAT\r\nLI")
    assert [client.line() for _ in range(2)] == [b"+OK \r\n"] * 2
    client.send(b"ST\r\n")
    expected = b"joe x|two words |%b|STAT\r\nLIST\r\n" % stamp
    assert client._lines.read(len(expected)) == expected
    client.socket.shutdown(1)
    assert client.rest() == b""
    assert client.end() == (1, b"")


def test_apop_goes_on_as_it_is(home):
    client = Pop3([*POPUP, "mx.example.com", *TELL], home)
    stamp = greeting(client)
    client.send(b"apop joe x y z\n")
    client.socket.shutdown(1)
    assert client.rest() == b"joe|x y z|%b|" % stamp
    assert client.end() == (1, b"")


@pytest.mark.parametrize(
    ("program", "reply"),
    [
        (["false"], b"-ERR authorization failed\r\n"),
        (["sh", "-c", "exit 111"], b"-ERR authorization failed\r\n"),
        (["sh", "-c", "kill -9 $$"], b"-ERR aack, child crashed\r\n"),
        (["/nonexistent/checkpassword"], b"-ERR authorization failed\r\n"),
        (["true"], b""),
    ],
    ids=["wrong", "trouble", "crash", "none", "right"],
)
def test_how_the_subprogram_ends(home, program, reply):
    client = Pop3([*POPUP, "mx.example.com", *program], home)
    greeting(client)
    client.send(b"USER a\r\nPASS b\r\nNOOP\r\n")
    assert client.line() == b"+OK \r\n"
    assert client.rest() == reply
    code, said = client.end()
    assert code == 1
    assert said == (
        b"qmail-popup: unable to run /nonexistent/checkpassword: No such file or directory\n"
        if "/none" in program[0]
        else b""
    )


def test_the_rest_of_the_dialogue(home):
    client = Pop3([*POPUP, "mx.example.com", "true"], home)
    greeting(client)
    client.send(b"STAT\r\nCAPA\r\nPASS x\r\nUSER\r\nAPOP a\r\nQUIT\r\nNOOP\r\n")
    first, syntax = b"-ERR authorization first\r\n", b"-ERR syntax error\r\n"
    assert client.rest() == first + first + b"-ERR USER first\r\n" + syntax + syntax + b"+OK \r\n"
    assert client.end() == (1, b"")


def test_called_wrongly_and_left_alone(home):
    done = launch("qmail-popup", "mx.example.com", stdin=b"")
    assert (done.returncode, done.stdout) == (1, b"-ERR usage: popup hostname subprogram\r\n")
    done = launch("qmail-popup", "mx.example.com", "true", stdin=b"USER a")
    assert done.returncode == 1
    assert done.stdout.startswith(b"+OK <")


def test_an_endless_line(home):
    client = Pop3([*POPUP, "mx.example.com", "true"], home)
    greeting(client)
    client.send(b"x" * 600)
    assert client.line() == b"-ERR command line too long\r\n"
    client.end()


class TestLogIns:
    """qmail-popup, a checkpassword, qmail-pop3d."""

    def test_pass(self, home):
        put(home, "new/1", b"Subject: x\n\nbody\n")
        client = Pop3(CHAIN, home)
        greeting(client)
        client.send(b"USER joe\r\nPASS se cret\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")  # all at once
        ok = b"+OK \r\n"
        message = b"Subject: x\r\n\r\nbody\r\n.\r\n"
        assert client.rest() == ok + ok + b"+OK 1 20\r\n" + ok + message + ok + ok
        assert client.end() == (1, b"")
        assert os.listdir(f"{home}/Maildir/new") == []

    def test_apop(self, home):
        client = Pop3(CHAIN, home)
        digest = hashlib.md5(greeting(client) + b"se cret").hexdigest().encode()
        assert client.ask(b"APOP joe " + digest) == b"+OK \r\n"
        assert client.ask(b"STAT") == b"+OK 0 0\r\n"
        assert client.ask(b"QUIT") == b"+OK \r\n"
        assert client.end() == (1, b"")

    @pytest.mark.parametrize("name", [b"joe", b"jim"])
    def test_refused(self, home, name):
        client = Pop3(CHAIN, home)
        greeting(client)
        client.send(b"USER %b\r\nPASS wrong\r\nUSER joe\r\n" % name)
        assert client.rest() == b"+OK \r\n-ERR authorization failed\r\n"
        assert client.end() == (1, b"")

    def test_crash(self, home):
        client = Pop3(CHAIN, home)
        greeting(client)
        client.send(b"USER crash\r\nPASS x\r\n")
        assert client.rest() == b"+OK \r\n-ERR aack, child crashed\r\n"
        client.end()

    def test_two_sessions_and_a_delivery(self, home):
        """Of each message exactly one copy is fetched or still there."""
        for number in range(4):
            put(home, f"new/{number}", b"message %d\n" % number)
        clients = [Pop3(CHAIN, home) for _ in range(2)]
        for client in clients:
            client.line()
            client.send(b"USER joe\r\nPASS se cret\r\n")
            assert [client.line(), client.line()] == [b"+OK \r\n"] * 2
        put(home, "new/4", b"message 4\n")
        one, other = clients
        assert one.ask(b"DELE 1") == one.ask(b"DELE 2") == b"+OK \r\n"
        assert other.ask(b"DELE 2") == other.ask(b"DELE 3") == b"+OK \r\n"
        assert one.ask(b"QUIT") == b"+OK \r\n"
        assert other.ask(b"RETR 1") == b"-ERR unable to open that message\r\n"
        assert other.ask(b"RETR 4") == b"+OK \r\n"  # it is in cur/ now
        assert other.text() == b"message 3\r\n"
        assert other.ask(b"QUIT") == b"+OK \r\n"
        for client in clients:
            assert client.end() == (1, b"")
        assert os.listdir(f"{home}/Maildir/new") == ["4"]
        assert os.listdir(f"{home}/Maildir/cur") == ["3:2,"]
