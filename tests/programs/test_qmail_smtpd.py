"""qmail-smtpd as a process: what it hands to the queue, what it says, how it ends."""

import os
import pwd
import re
import socket
import subprocess
import sys

import pytest
from tests.dialogues.dialogue import SocketPeer, make_home
from tests.lacking import without
from tests.programs.smtpd_process import NUMBER, FakeQueue, SmtpdProcess

from quail.users.assign import compile_cdb, parse

PEER = {b"TCPREMOTEHOST": b"Client.Example", b"TCPREMOTEIP": b"1.2.3.4", b"TCPLOCALHOST": b"here.example"}
ENVELOPE = b"MAIL FROM:<s@a>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n"
DATE = rb"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000\n"


@pytest.fixture
def home(tmp_path):
    make_home(str(tmp_path))
    return tmp_path


class Talk:
    """A session in which each step sends and reads so many lines."""

    def __init__(self, home, environment=PEER):
        self.process = SmtpdProcess(home, environment)
        self._peer = SocketPeer(self.process.socket)

    def say(self, data, lines):
        self._peer.send(data)
        return self.hear(lines)

    def hear(self, lines):
        return [self._peer.line().removesuffix(b"\r\n") for _ in range(lines)]

    def end(self):
        """(exit code, stderr) after the client has gone."""
        self._peer.close()
        return self.process.finish()


@pytest.fixture
def queue(home):
    made = FakeQueue(home)
    yield made
    made.close()


def test_a_message_reaches_the_queue(home, queue):
    talk = Talk(home)
    assert talk.hear(1) == [b"220 mx.example.com ESMTP"]
    talk.say(b"EHLO Foo[1]_x\r\n", 6)
    replies = talk.say(
        b"MAIL FROM:<s@a> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<alice@example.com>\r\nRCPT TO:<alice>\r\nDATA\r\n", 4
    )
    assert [reply[:3] for reply in replies] == [b"250", b"250", b"250", b"354"]
    (reply,) = talk.say(b"Subject: x\r\n\r\n..dot\r\n.\r\n", 1)
    assert re.fullmatch(rb"250 2\.0\.0 ok \d{10} qp " + NUMBER, reply)
    assert talk.say(b"QUIT\r\n", 2) == [b"221 2.0.0 mx.example.com", b""]
    assert talk.end() == (0, b"")
    ((envelope, text),) = queue.messages
    assert (envelope.sender, envelope.recipients) == (b"s@a", [b"alice@example.com", b"alice"])
    assert envelope.attributes == ((b"body", b"8bitmime"), (b"smtputf8", b""))
    received, _, rest = text.partition(b"; ")
    assert received == b"Received: from Client.Example (HELO Foo[1]?x) (1.2.3.4)\n  by here.example with SMTP"
    assert re.match(DATE, rest)
    assert rest.endswith(b"-0000\nSubject: x\n\n.dot\n")


def test_received_without_helo_and_with_ident(home, queue):
    talk = Talk(home, PEER | {b"TCPREMOTEINFO": b"us er"})
    talk.hear(1)
    talk.say(ENVELOPE, 3)
    talk.say(b".\r\n", 1)
    assert talk.end() == (1, b"")
    assert queue.messages[0][1].startswith(
        b"Received: from Client.Example (us?er@1.2.3.4)\n  by here.example with SMTP; "
    )


def test_relayclient_is_appended(home, queue):
    talk = Talk(home, {b"RELAYCLIENT": b"@fix"})
    talk.hear(1)
    talk.say(b"MAIL FROM:<s@a>\r\nRCPT TO:<a@other.com>\r\nDATA\r\n", 3)
    talk.say(b".\r\n", 1)
    talk.end()
    assert queue.messages[0][0].recipients == [b"a@other.com@fix"]


def test_a_queue_that_is_down_is_told_in_words(home):
    talk = Talk(home)
    talk.hear(1)
    talk.say(ENVELOPE, 3)
    assert talk.say(b"some line\r\n.\r\n", 1) == [b"451 4.3.0 the queue is not available; try again later"]
    talk.say(b"QUIT\r\n", 1)
    assert talk.end() == (
        0,
        b"qmail-smtpd: unable to hand the message to the queue: file does not exist (does quail serve run?)\n",
    )


def test_a_large_message_streams_through(home, queue):
    talk = Talk(home)
    talk.hear(1)
    talk.say(ENVELOPE, 3)
    line = b"x" * 998
    (reply,) = talk.say((line + b"\r\n") * 3000 + b".\r\n", 1)
    assert reply.startswith(b"250 ")
    talk.end()
    assert queue.messages[0][1].endswith((line + b"\n") * 3000)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b"Zqq write error or disk full (#4.3.0)", b"451 4.3.0 qq write error or disk full"),
        (b"Dmail server permanently rejected message (#5.3.0)", b"554 5.3.0 mail server permanently rejected message"),
        (None, b"451 4.3.0 the queue is not available; try again later"),
    ],
)
@pytest.mark.parametrize("size", [1, 20_000])
def test_the_queue_does_not_take_a_message(home, answer, reply, size):
    queue = FakeQueue(home, answer)
    talk = Talk(home)
    talk.hear(1)
    talk.say(ENVELOPE, 3)
    assert talk.say(b"some line\r\n" * size + b".\r\n", 1) == [reply]
    talk.say(ENVELOPE, 3)
    assert talk.say(b"again\r\n.\r\n", 1)[0].startswith(b"250 ")
    talk.say(b"QUIT\r\n", 2)
    code, said = talk.end()
    queue.close()
    assert code == 0
    assert said.startswith(b"qmail-smtpd: unable to hand the message to the queue: ") == (answer is None)
    assert queue.messages[-1][1].endswith(b"again\n")


def test_no_queue_at_all(home):
    talk = Talk(home)
    talk.hear(1)
    talk.say(ENVELOPE, 3)
    assert talk.say(b"some line\r\n" * 20_000 + b".\r\n", 1) == [
        b"451 4.3.0 the queue is not available; try again later"
    ]
    assert talk.say(b"NOOP\r\n", 1) == [b"250 2.0.0 ok"]
    assert talk.end()[0] == 1


@pytest.mark.parametrize("text", [b"a\nb\r\n.\r\n", b"hello\r\n"])
def test_a_message_that_must_not_be_queued(home, queue, text):
    talk = Talk(home)
    talk.hear(1)
    talk.say(ENVELOPE, 3)
    if text.endswith(b".\r\n"):
        assert talk.say(text, 1)[0].startswith(b"554 5.6.0 bare LF ")
        talk.say(ENVELOPE, 3)
        talk.say(b"good\r\n.\r\n", 1)
    else:
        talk.process.socket.sendall(text)
    assert talk.end() == (1, b"")
    assert [text.rpartition(b"-0000\n")[2] for _, text in queue.messages] == [b"good\n"] * text.endswith(b".\r\n")


def test_silence(home):
    (home / "control/timeoutsmtpd").write_text("1\n")
    talk = Talk(home)
    assert talk.hear(3) == [b"220 mx.example.com ESMTP", b"451 4.4.2 timeout", b""]
    assert talk.end() == (1, b"")


def test_silence_within_a_message(home, queue):
    (home / "control/timeoutsmtpd").write_text("1\n")
    talk = Talk(home)
    talk.hear(1)
    talk.say(ENVELOPE + b"abc\r\n", 3)
    assert talk.hear(2) == [b"451 4.4.2 timeout", b""]
    assert talk.end() == (1, b"")
    assert queue.messages == []


@pytest.mark.parametrize(
    ("name", "content"), [("rcpthosts", b"example.com\r\n"), ("databytes", b"many\n"), ("locals", b"a\0b\n")]
)
def test_malformed_control_files(home, name, content):
    (home / "control" / name).write_bytes(content)
    talk = Talk(home)
    assert talk.hear(2) == [b"421 4.3.0 unable to read controls", b""]
    code, said = talk.end()
    assert code == 1
    assert said.startswith(f"qmail-smtpd: fatal: control/{name} line 1: ".encode())


def test_a_home_that_is_missing(home):
    talk = Talk(home / "none")
    assert talk.hear(2) == [b"421 4.3.0 unable to read controls", b""]
    assert talk.end()[0] == 1


def test_users_that_cannot_be_looked_up_are_deferred(home):
    (home / "users/cdb").write_bytes(b"damaged")
    talk = Talk(home)
    talk.hear(1)
    assert talk.say(b"MAIL FROM:<s@a>\r\nRCPT TO:<alice@example.com>\r\n", 2)[1].startswith(b"451 4.3.0 ")
    code, said = talk.end()
    assert code == 1
    assert said.startswith(b"qmail-smtpd: can't tell about b'alice@example.com': ")


def test_rcptcheck_0_accepts_unknown_users(home):
    (home / "control/rcptcheck").write_text("0\n")
    talk = Talk(home)
    talk.hear(1)
    assert talk.say(b"MAIL FROM:<s@a>\r\nRCPT TO:<ghost@example.com>\r\n", 2)[1] == b"250 2.1.5 ok"
    talk.end()


def test_more_domains_in_the_database(home):
    from quail.cdb.maker import Maker

    maker = Maker()
    for host in (b"more.example", b".below.example"):
        maker.add(host, b"")
    (home / "control/morercpthosts.cdb").write_bytes(maker.to_bytes())
    talk = Talk(home)
    talk.hear(1)
    hosts = (b"More.Example", b"a.below.example", b"below.example", b"a.more.example")
    replies = talk.say(b"MAIL FROM:<s@a>\r\n" + b"".join(b"RCPT TO:<x@%b>\r\n" % host for host in hosts), 5)
    assert [reply[:3] for reply in replies[1:]] == [b"250", b"250", b"553", b"553"]
    talk.end()


def test_a_client_that_has_gone_before_the_greeting(home):
    process = SmtpdProcess(home)
    process.socket.shutdown(socket.SHUT_RDWR)
    process.socket.close()
    assert process.finish() == (1, b"")


def test_pipes_instead_of_a_socket(home):
    from tests.programs.launch import launch

    done = launch("qmail-smtpd", stdin=b"NOOP\r\nQUIT\r\n", env={"QMAILHOME": os.fspath(home)})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"220 mx.example.com ESMTP\r\n250 2.0.0 ok\r\n221 2.0.0 mx.example.com\r\n"


def test_arguments_are_refused(home):
    from tests.programs.launch import launch

    done = launch("qmail-smtpd", "x", env={"QMAILHOME": os.fspath(home)})
    assert (done.returncode, done.stderr) == (100, b"qmail-smtpd: usage: qmail-smtpd\n")


def test_starts_lean():
    """It runs once for each connection. The socket module, and what that brings along, is the queue's client's."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/src"
    code = f"import sys; sys.path.insert(0, {source!r}); import quail.programs.qmail.qmail_smtpd; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "asyncio",
        "ssl",
        "argparse",
        "logging",
        "dataclasses",
        "typing",
        "pathlib",
        "tempfile",
        "subprocess",
        "re",
    }
    assert not heavy & set(done.stdout.split())


def test_in_a_system_home_the_accounts_decide_and_without_alias_nobody_is_refused(home):
    if "alias" in {entry.pw_name for entry in pwd.getpwall()}:
        without("a machine that has no account alias")
    (home / "control/mode").unlink()
    line = f"=alice:alice:4321:4321:{home}/mail/alice:::\n.\n".encode()
    (home / "users/cdb").write_bytes(compile_cdb(parse(line, "users/assign")))
    talk = Talk(home)
    talk.hear(1)
    assert talk.say(b"MAIL FROM:<s@a>\r\nRCPT TO:<alice@example.com>\r\n", 2)[1].startswith(b"250 ")
    assert talk.say(b"RCPT TO:<nobody-7f3a@example.com>\r\n", 1)[0].startswith(b"451 4.3.0 ")
    code, said = talk.end()
    assert (code, said.strip()) == (
        1,
        b"qmail-smtpd: can't tell about b'nobody-7f3a@example.com': unable to find alias user",
    )
