"""qmail-lmtp as a process, with LMTP hosts of the test's own: what they get, what is said, the exit codes."""

import os
import socket
import subprocess
import sys

import pytest
from tests.programs.launch import launch, module
from tests.remote.hostactions import CLOSE, HANG, RESET, and_close, raw, slowly
from tests.remote.lmtphost import LmtpHost
from tests.remote.smtphost import Hosts, bind, full

RPLINE, DTLINE = "Return-Path: <s@x.org>\n", "Delivered-To: joe@here.org\n"
LINES = {"RPLINE": RPLINE, "DTLINE": DTLINE, "SENDER": "s@x.org", "RECIPIENT": "joe@here.org"}
MESSAGE = b"Subject: x\n\nhello\n.\n"
USAGE = b"qmail-lmtp: usage: qmail-lmtp [ -drDR ] server [ recipient ... ]\n"
ERRORS = {"bad": "550 5.1.1 who?", "later": "450 4.2.0 busy", "full": "552 5.2.2 mailbox full"}


@pytest.fixture(scope="module")
def hosts():
    with Hosts() as hosts:
        yield hosts


class Home:
    def __init__(self, path, hosts):
        self.path, self.hosts = path, hosts
        (path / "control").mkdir()
        self.control("me", "mx.example.com")
        self.folder = os.open(path, os.O_PATH)
        self.server = f"/proc/{os.getpid()}/fd/{self.folder}/lmtp"  # a path that is short enough for a socket

    def control(self, name, text):
        (self.path / "control" / name).write_text(f"{text}\n")

    def serve(self, **script):
        return self.hosts.open_path(LmtpHost(**script), self.server)

    def run(self, *args, stdin=MESSAGE, **env):
        given = {"QMAILHOME": str(self.path), **LINES, **env}
        given = {name: text for name, text in given.items() if text is not None}
        done = launch("qmail-lmtp", *args, stdin=stdin, env=given)
        assert done.stdout == b""
        return done.returncode, done.stderr

    def send(self, *names, **more):
        return self.run(self.server, *(f"{name}@here.org" for name in names), **more)


@pytest.fixture
def home(tmp_path, hosts):
    home = Home(tmp_path, hosts)
    yield home
    os.close(home.folder)


def test_the_recipient_of_the_delivery_gets_it_with_its_lines(home):
    host = home.serve(finals="250 2.0.0 saved")
    assert home.send() == (0, b"qmail-lmtp: joe@here.org: 250 2.0.0 saved\n")
    (message,) = host.messages
    assert message.text == (RPLINE + DTLINE).encode() + MESSAGE
    assert message.body.endswith(b"hello\r\n..\r\n")
    assert (message.sender, message.accepted) == (b"s@x.org", [b"joe@here.org"])
    (connection,) = host.connections
    assert connection.all_verbs() == "LHLO MAIL RCPT DATA . QUIT"
    assert connection.commands[0] == b"LHLO mx.example.com"
    assert not host.faults


@pytest.mark.parametrize(
    ("options", "lines"),
    [(["-r"], DTLINE), (["-d"], RPLINE), (["-dr"], ""), (["-rR", "-d", "-D"], RPLINE + DTLINE), (["-r", "--"], DTLINE)],
    ids=" ".join,
)
def test_lines_that_are_left_out(home, options, lines):
    host = home.serve()
    assert home.run(*options, home.server)[0] == 0
    assert host.messages[0].text == lines.encode() + MESSAGE


def test_a_declared_size_is_right(home):
    host = home.serve()
    home.send()
    (message,) = host.messages
    size = len((RPLINE + DTLINE).encode() + MESSAGE)
    assert message.mail == b"MAIL FROM:<s@x.org> SIZE=%d" % (size + 6)


@pytest.mark.parametrize("sender", ["", "#@[]"], ids=["bounce", "double bounce"])
def test_bounces_come_from_nobody(home, sender):
    host = home.serve()
    assert home.send(SENDER=sender)[0] == 0
    assert host.messages[0].sender == b""


CODES = {
    ("a", "b"): 0,
    ("bad",): 100,
    ("later",): 111,
    ("a", "bad"): 100,
    ("a", "later"): 111,
    ("bad", "later"): 111,
    ("full", "a"): 100,
}


@pytest.mark.parametrize("where", ["rcpt", "finals"])
@pytest.mark.parametrize("names", CODES, ids=" ".join)
def test_several_recipients(home, names, where):
    host = home.serve(**{where: ERRORS})
    said = "".join(f"qmail-lmtp: {name}@here.org: {ERRORS.get(name, '250 ok')}\n" for name in names)
    assert home.send(*names) == (CODES[names], said.encode())
    assert not host.faults


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ({"greeting": "421 busy"}, 111, "fatal: the LMTP server says: 421 busy"),
        ({"greeting": "554 go away"}, 111, "fatal: the LMTP server says: 554 go away"),
        ({"ehlo": "502-what\n502 ever"}, 111, "fatal: the LMTP server says: 502-what / 502 ever"),
        ({"mail": "550 no"}, 100, "joe@here.org: 550 no"),
        ({"mail": "451 no"}, 111, "joe@here.org: 451 no"),
        ({"data": "554 no"}, 100, "joe@here.org: 554 no"),
        ({"data": "452 no"}, 111, "joe@here.org: 452 no"),
        ({"greeting": CLOSE}, 111, "fatal: the LMTP server is gone: connection closed"),
        ({"mail": CLOSE}, 111, "fatal: the LMTP server is gone: connection closed"),
        ({"mail": raw(b"what\r\n")}, 111, "fatal: the LMTP server is gone: not a reply: 'what'"),
        (
            {"finals": CLOSE},
            111,
            "fatal: the LMTP server is gone after it had got the message, and may have delivered it: connection closed",
        ),
        ({"finals": and_close("421 bye")}, 111, "joe@here.org: 421 bye"),
        ({"body": (1, and_close("421 bye"))}, 111, "joe@here.org: 421 bye"),
        ({"keywords": ("SIZE 10",)}, 100, "fatal: the LMTP server takes 10 bytes at most; these are 76"),
        ({"finals": slowly("250 at last")}, 0, "joe@here.org: 250 at last"),
        ({"keywords": ()}, 0, "joe@here.org: 250 ok"),
    ],
    ids=lambda value: None,
)
def test_what_a_server_can_do(home, script, code, said):
    home.serve(**script)
    assert home.send() == (code, f"qmail-lmtp: {said}\n".encode())


@pytest.mark.parametrize("stage", ["greeting", "mail", "data", "finals"])
def test_a_silent_server(home, stage):
    home.control("timeoutremote", "1")
    home.serve(**{stage: HANG})
    code, said = home.send()
    assert code == 111
    assert said.startswith(b"qmail-lmtp: fatal: the LMTP server is gone")
    assert said.endswith(b": it says nothing\n")


def test_a_connection_that_is_lost_between_the_answers(home):
    home.serve(finals={"b": CLOSE})
    assert home.send("a", "b", "c") == (
        111,
        (
            b"qmail-lmtp: a@here.org: 250 ok\n"
            b"qmail-lmtp: b@here.org: no answer; the connection is lost\n"
            b"qmail-lmtp: c@here.org: no answer; the connection is lost\n"
        ),
    )


@pytest.mark.parametrize("act", [CLOSE, RESET, and_close("452 4.3.1 disk full")], ids=["closes", "resets", "says why"])
def test_a_large_message_that_is_broken_off(home, act):
    home.serve(body=(100_000, act))
    code, said = home.send(stdin=b"x\n\n" + b"0123456789abcde\n" * 300_000)
    assert code == 111
    assert b"Traceback" not in said


def test_a_large_message_from_a_pipe(home):
    host = home.serve()
    text = b"x\n\n" + b"0123456789abcde\n" * 300_000
    assert home.send(stdin=text)[0] == 0
    assert host.messages[0].text.endswith(text)


def test_the_rest_of_a_file(home, tmp_path):
    """What another program has read of the message is not sent."""
    host = home.serve()
    with open(tmp_path / "message", "w+b", buffering=0) as file:
        file.write(b"read already\n" + MESSAGE)
        file.seek(len(b"read already\n"))
        words = [sys.executable, "-m", module("qmail-lmtp"), "-dr", home.server]
        env = {"QMAILHOME": str(home.path), **LINES}
        subprocess.run(words, stdin=file, env=env, check=True, stderr=subprocess.DEVNULL)
    assert host.messages[0].text == MESSAGE


def test_over_tcp(home):
    host = LmtpHost()
    port = home.hosts.open(host)
    assert home.run(f"127.0.0.1:{port}")[0] == 0
    assert len(host.messages) == 1
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    assert home.run(f"127.0.0.1:{port}") == (
        111,
        f"qmail-lmtp: unable to connect to 127.0.0.1 port {port}: connection refused\n"
        "qmail-lmtp: fatal: no LMTP server takes the connection\n".encode(),
    )


def left_over(path):
    """The file of a socket that nobody has any more."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "file does not exist"),
        (lambda path: open(path, "w").close(), "connection refused"),
        (left_over, "connection refused"),
    ],
    ids=["nothing", "a file", "left over"],
)
def test_nobody_there(home, make, why):
    make(home.server)
    said = f"qmail-lmtp: fatal: unable to connect to the LMTP server at {home.server}: {why}\n"
    assert home.send() == (111, said.encode())


def test_a_server_that_takes_no_more(home):
    """Its queue of connections stays full."""
    home.control("timeoutconnect", "1")
    with full(home.server):
        said = f"qmail-lmtp: fatal: unable to connect to the LMTP server at {home.server}: temporary failure\n"
        assert home.send() == (111, said.encode())


@pytest.mark.parametrize("args", [[], ["-d"], ["-x", "/s"], ["--"]], ids=" ".join)
def test_called_wrongly(home, args):
    assert home.run(*args) == (100, USAGE)


@pytest.mark.parametrize("server", ["", "24", "relative/path", "/", "a b", "host:port", "2001:db8::1", "/" + "x" * 107])
def test_no_server(home, server):
    code, said = home.run(server)
    assert code == 100
    assert said.startswith(b"qmail-lmtp: fatal: ") or said == USAGE


@pytest.mark.parametrize("missing", ["RPLINE", "DTLINE", "SENDER", "RECIPIENT"])
def test_outside_of_a_delivery(home, missing):
    assert home.run(home.server, **{missing: None}) == (100, f"qmail-lmtp: fatal: {missing} not set\n".encode())


@pytest.mark.parametrize("bad", ["a b@x y", "a@b>c"], ids=["blank", "bracket"])
def test_addresses_that_can_t_be_sent(home, bad):
    home.serve()
    assert home.run(home.server, bad)[0] == 100


def test_an_address_that_is_not_ascii(home):
    host = home.serve()
    assert home.run(home.server, "jos\u00e9@here.org")[0] == 0
    assert host.messages[0].mail.endswith(b" SMTPUTF8")
    assert not host.faults


def test_a_server_that_can_t_take_it(home):
    home.serve(keywords=("8BITMIME",))
    code, said = home.run(home.server, "jos\u00e9@here.org")
    assert code == 100
    assert b"SMTPUTF8" in said


def test_a_home_that_can_t_be_read(home):
    home.serve()
    (home.path / "control/me").unlink()
    assert home.send()[0] == 111
