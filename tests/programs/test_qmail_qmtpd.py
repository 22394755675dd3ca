"""qmail-qmtpd and qmail-qmqpd as processes: what they hand to the queue, what they say, how they end."""

import re
import signal
import socket
import subprocess
import sys

import pytest
from tests.dialogues.dialogue import make_home
from tests.programs.launch import launch, module
from tests.programs.smtpd_process import NUMBER, FakeQueue
from tests.unit.qmtp.packages import package, request

from quail.qmtp.netstring import netstring

PEER = {"TCPREMOTEHOST": "Client.Example", "TCPREMOTEIP": "1.2.3.4", "TCPLOCALHOST": "here.example"}
TEXT = b"Subject: hi\n\nhello\n"
ONE = package(TEXT, b"s@x", b"alice@example.com")
REQUEST = request(TEXT, b"s@x", b"alice@example.com", b"a@anywhere")
OK = rb"\d\d:Kok \d{10} qp " + NUMBER + b","
DATE = rb"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000\n"
NO_QUEUE = netstring(b"Zthe queue is not available; try again later (#4.3.0)")


@pytest.fixture
def home(tmp_path):
    make_home(str(tmp_path))
    return tmp_path


@pytest.fixture
def queue(home):
    made = FakeQueue(home)
    yield made
    made.close()


def qmtpd(home, data, **environment):
    """(exit code, what it said to the client)."""
    done = launch("qmail-qmtpd", stdin=data, env={"QMAILHOME": str(home), **PEER, **environment})
    return done.returncode, done.stdout


def qmqpd(home, data, **environment):
    done = launch("qmail-qmqpd", stdin=data, env={"QMAILHOME": str(home), **PEER, **environment})
    return done.returncode, done.stdout


def received(protocol):
    return rb"Received: from Client\.Example \(1\.2\.3\.4\)\n  by here\.example with " + protocol + b"; " + DATE


def test_messages_reach_the_queue(home, queue):
    code, said = qmtpd(home, ONE + package(b"a\r\nb", b"", b"alice", b"a@elsewhere", b"who@example.com", end=b"\r"))
    assert code == 0
    assert re.fullmatch(OK + OK + rb"66:Dsorry.*?,45:Dsorry, no mailbox here by that name \(#5\.1\.1\),", said)
    (first, text), (second, other) = queue.messages
    assert (first.sender, first.recipients) == (b"s@x", [b"alice@example.com"])
    assert (second.sender, second.recipients) == (b"", [b"alice"])
    assert re.fullmatch(received(b"QMTP") + TEXT, text)
    assert re.fullmatch(received(b"QMTP") + b"a\nb", other)


def test_a_message_by_qmqp_reaches_the_queue(home, queue):
    code, said = qmqpd(home, REQUEST)
    assert code == 0
    assert re.fullmatch(OK, said)
    ((envelope, text),) = queue.messages
    assert (envelope.sender, envelope.recipients) == (b"s@x", [b"alice@example.com", b"a@anywhere"])
    assert re.fullmatch(received(b"QMQP") + TEXT, text)


def test_a_large_message_is_streamed(home, queue):
    text = b"x" * 3_000_000
    assert qmtpd(home, package(text, b"s@x", b"alice"))[0] == 0
    assert qmqpd(home, request(text, b"s@x", b"alice"))[0] == 0
    assert [len(text) > 3_000_000 for _, text in queue.messages] == [True, True]


def test_what_is_not_wanted_never_comes_to_the_queue(home, queue):
    large = b"x" * 200_000
    code, said = qmtpd(home, package(large, b"s@x", b"a@elsewhere") + ONE, DATABYTES="0")
    assert (code, said.count(b"66:Dsorry")) == (0, 1)
    assert qmtpd(home, package(large, b"s@x", b"alice"), DATABYTES="1000")[1] == netstring(
        b"Dsorry, that message size exceeds my databytes limit (#5.3.4)"
    )
    assert queue.broken == 1  # the other was known to be too big before any of it was sent
    assert len(queue.messages) == 1


def test_relayclient(home, queue):
    assert re.fullmatch(OK, qmtpd(home, package(TEXT, b"s@x", b"a@elsewhere"), RELAYCLIENT="@relay.example")[1])
    assert queue.messages[0][0].recipients == [b"a@elsewhere@relay.example"]


@pytest.mark.parametrize("cut", [0, 1, 5, 30, len(ONE) - 1])
def test_a_client_that_goes(home, queue, cut):
    assert qmtpd(home, ONE[:cut]) == (0, b"")
    assert qmqpd(home, REQUEST[:cut]) == (0, b"")
    assert queue.messages == []


@pytest.mark.parametrize(
    ("data", "code"), [(b"x", 100), (b"5:hello,", 100), (b"0:,", 100), (b"200000001:", 111)], ids=range(4)
)
def test_what_is_no_qmtp(home, data, code):
    assert qmtpd(home, data) == (code, b"")


@pytest.mark.parametrize(("data", "code"), [(b"x", 100), (b"3:5:h,", 100), (b"200000001:", 111)], ids=range(3))
def test_what_is_no_qmqp(home, data, code):
    assert qmqpd(home, data) == (code, b"")


def test_without_a_queue(home):
    assert qmtpd(home, ONE * 2) == (0, NO_QUEUE * 2)
    assert qmqpd(home, REQUEST) == (0, NO_QUEUE)
    assert qmtpd(home, package(b"x" * 1_000_000, b"s@x", b"alice")) == (0, NO_QUEUE)


def test_the_queue_goes_in_the_middle(home):
    queue = FakeQueue(home, None, None)
    try:
        assert qmtpd(home, package(b"x" * 1_000_000, b"s@x", b"alice")) == (0, NO_QUEUE)
        assert qmqpd(home, request(b"x" * 1_000_000, b"s@x", b"alice")) == (0, NO_QUEUE)
    finally:
        queue.close()


def test_trouble_with_controls(home):
    (home / "control/databytes").write_text("much\n")
    assert qmtpd(home, ONE) == (111, b"")
    assert qmtpd(home / "nowhere", ONE) == (111, b"")
    assert qmqpd(home / "nowhere", ONE) == (111, b"")


KEEP = "#!/bin/sh\ncat > message; cat <&1 > envelope\n"


def queue_program(home, text):
    path = home / "program"
    path.write_text(text)
    path.chmod(0o755)
    return {"QMAILQUEUE": "./program"}


@pytest.mark.parametrize("size", [10, 500_000])
def test_a_queue_program_gets_them(home, size):
    own = queue_program(home, KEEP)
    text = b"x" * size
    assert qmtpd(home, package(text, b"s@x", b"alice", b"a@elsewhere"), **own)[1].startswith(b"2")
    assert (home / "envelope").read_bytes() == b"Fs@x\0Talice\0\0"
    assert (home / "message").read_bytes().endswith(text)
    assert qmqpd(home, request(text, b"s@x", b"alice", b"a@elsewhere"), **own)[0] == 0
    assert (home / "envelope").read_bytes() == b"Fs@x\0Talice\0Ta@elsewhere\0\0"


@pytest.mark.parametrize(
    ("code", "said"),
    [(31, b"Dmail server permanently rejected message (#5.3.0)"), (53, b"Zqq write error or disk full (#4.3.0)")],
)
def test_a_queue_program_that_refuses(home, code, said):
    own = queue_program(home, f"#!/bin/sh\nexit {code}\n")
    assert qmtpd(home, ONE + package(b"x" * 500_000, b"s@x", b"alice"), **own) == (0, netstring(said) * 2)
    assert qmqpd(home, request(b"x" * 500_000, b"s@x", b"alice"), **own) == (0, netstring(said))


def test_a_queue_program_hears_of_what_is_not_wanted(home):
    own = queue_program(home, KEEP)
    assert qmtpd(home, package(b"x" * 500_000, b"s@x", b"a@elsewhere"), **own)[0] == 0
    assert (home / "envelope").read_bytes() == b""


class Process:
    """One of them with a socket of which the test has the other end."""

    def __init__(self, name, home):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module(name)],
            stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env={"QMAILHOME": str(home), **PEER},
        )  # fmt: skip
        theirs.close()


def test_replies_come_before_the_next_message(home, queue):
    served = Process("qmail-qmtpd", home)
    with served.socket:
        for _ in range(3):
            served.socket.sendall(ONE)
            assert re.fullmatch(OK, served.socket.recv(1000))
    assert served.process.wait(60) == 0


@pytest.mark.parametrize("name", ["qmail-qmtpd", "qmail-qmqpd"])
def test_the_alarm_ends_it(home, queue, name):
    served = Process(name, home)
    with served.socket:
        served.socket.sendall(ONE if name == "qmail-qmtpd" else REQUEST)
        assert served.socket.recv(1000)  # the alarm is set by now
        if name == "qmail-qmtpd":
            served.process.send_signal(signal.SIGALRM)
            assert served.process.wait(60) == 111
            assert served.socket.recv(1) == b""
    served.process.wait(60)


def test_a_client_that_takes_no_replies(home, queue):
    served = Process("qmail-qmtpd", home)
    served.socket.sendall(ONE)
    served.socket.shutdown(socket.SHUT_RD)
    served.socket.sendall(ONE)
    served.socket.close()
    assert served.process.wait(60) == 0


def ended(peer):
    """Whether it has ended without a word; what it had not read yet makes that a reset."""
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True


def test_killed_in_the_middle(home, queue):
    for name, data in (
        ("qmail-qmtpd", package(b"x" * 300_000, b"s@x", b"alice")),
        ("qmail-qmqpd", request(b"x" * 300_000, b"s")),
    ):
        served = Process(name, home)
        with served.socket:
            served.socket.sendall(data[:-10])
            served.process.kill()
            served.process.wait(60)
            assert ended(served.socket)
    assert queue.messages == []
