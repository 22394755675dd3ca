"""qmail-lmtpd as a process: what it hands to the queue, what it says, how it ends. Most of it is qmail-smtpd's."""

import os
import re

import pytest
from tests.dialogues.dialogue import SocketPeer, make_home
from tests.programs.launch import launch
from tests.programs.smtpd_process import NUMBER, FakeQueue, SmtpdProcess

ENVELOPE = b"LHLO c\r\nMAIL FROM:<s@a>\r\nRCPT TO:<alice@example.com>\r\nRCPT TO:<alice>\r\nDATA\r\n"
PEER = {b"TCPREMOTEIP": b"1.2.3.4", b"TCPLOCALHOST": b"here.example"}


@pytest.fixture
def home(tmp_path):
    make_home(str(tmp_path))
    return tmp_path


class Talk:
    def __init__(self, home, environment):
        self.process = SmtpdProcess(home, environment, program="qmail_lmtpd")
        self.peer = SocketPeer(self.process.socket)
        self.hear(1)

    def say(self, data, lines):
        self.peer.send(data)
        return self.hear(lines)

    def hear(self, lines):
        return [self.peer.line().removesuffix(b"\r\n") for _ in range(lines)]

    def end(self):
        self.peer.close()
        return self.process.finish()


@pytest.mark.parametrize(
    ("environment", "peer", "by"),
    [(PEER, b"1.2.3.4", b"here.example"), ({}, b"unknown", b"unknown")],
    ids=["tcpserver", "nothing"],
)
def test_one_message_for_all_and_a_reply_for_each(home, environment, peer, by):
    queue = FakeQueue(home)
    talk = Talk(home, environment)
    assert talk.say(ENVELOPE, 10)[-1] == b"354 go ahead"
    replies = talk.say(b"Subject: x\r\n\r\nhello\r\n.\r\n", 2)
    assert all(re.fullmatch(rb"250 2\.0\.0 ok \d{10} qp " + NUMBER, reply) for reply in replies)
    assert talk.say(b"QUIT\r\n", 2) == [b"221 2.0.0 mx.example.com", b""]
    assert talk.end() == (0, b"")
    queue.close()
    ((envelope, text),) = queue.messages
    assert (envelope.sender, envelope.recipients) == (b"s@a", [b"alice@example.com", b"alice"])
    assert text.startswith(b"Received: from unknown (HELO c) (%b)\n  by %b with LMTP; " % (peer, by))


@pytest.mark.parametrize("answer", [b"Zqq write error or disk full (#4.3.0)", None], ids=["refused", "gone"])
def test_the_queue_does_not_take_it(home, answer):
    queue = FakeQueue(home, answer)
    talk = Talk(home, PEER)
    talk.say(ENVELOPE, 10)
    first, second = talk.say(b"hello\r\n.\r\n", 2)
    assert first == second
    assert first.startswith(b"451 4.3.0 ")
    talk.end()
    queue.close()


def test_no_queue_at_all(home):
    talk = Talk(home, PEER)
    talk.say(ENVELOPE, 10)
    assert talk.say(b"hello\r\n.\r\n", 2) == [b"451 4.3.0 the queue is not available; try again later"] * 2
    said = b"qmail-lmtpd: unable to hand the message to the queue: file does not exist (does quail serve run?)\n"
    assert talk.end() == (1, said)


def test_a_pipe(home):
    done = launch("qmail-lmtpd", stdin=b"NOOP\r\nQUIT\r\n", env={"QMAILHOME": os.fspath(home)})
    assert done.stdout == b"220 mx.example.com LMTP\r\n250 2.0.0 ok\r\n221 2.0.0 mx.example.com\r\n"
    assert (done.returncode, done.stderr) == (0, b"")


def test_usage(home):
    done = launch("qmail-lmtpd", "x", env={"QMAILHOME": os.fspath(home)})
    assert (done.returncode, done.stderr) == (100, b"qmail-lmtpd: usage: qmail-lmtpd\n")


def test_unreadable_controls(home):
    (home / "control/me").unlink()
    done = launch("qmail-lmtpd", stdin=b"QUIT\r\n", env={"QMAILHOME": os.fspath(home)})
    assert (done.returncode, done.stdout) == (1, b"421 4.3.0 unable to read controls\r\n")
    assert done.stderr.startswith(b"qmail-lmtpd: fatal: control/")
