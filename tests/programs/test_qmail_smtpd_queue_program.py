"""qmail-smtpd whose mail goes to $QMAILQUEUE: what that gets, and what the client hears of its end."""

import os
import re

import pytest
from tests.dialogues.dialogue import SocketPeer, make_home
from tests.programs.queue_home import KEEP
from tests.programs.smtpd_process import SmtpdProcess

ENVELOPE = b"MAIL FROM:<s@a>\r\nRCPT TO:<alice@example.com>\r\nRCPT TO:<alice>\r\nDATA\r\n"
LINE = b"x" * 70 + b"\r\n"
MANY = 50_000  # lines; more than any pipe holds

# Exit codes, and what they come to at the end of a message.
ANSWERS = {
    11: "554 5.1.3 envelope address too long for qq",
    115: "554 5.1.3 envelope address too long for qq",
    12: "554 5.3.0 qq permanent problem",
    31: "554 5.3.0 mail server permanently rejected message",
    40: "554 5.3.0 qq permanent problem",
    51: "451 4.3.0 qq out of memory",
    52: "451 4.3.0 qq timeout",
    53: "451 4.3.0 qq write error or disk full",
    54: "451 4.3.0 qq read error",
    55: "451 4.3.0 qq unable to read configuration",
    56: "451 4.3.0 qq trouble making network connection",
    61: "451 4.3.0 qq trouble in home directory",
    62: "451 4.3.0 qq trouble creating files in queue",
    66: "451 4.3.0 qq trouble creating files in queue",
    71: "451 4.3.0 mail server temporarily rejected message",
    72: "451 4.4.1 connection to mail server timed out",
    73: "451 4.4.1 connection to mail server rejected",
    74: "451 4.4.2 communication with mail server failed",
    81: "451 4.3.0 qq internal bug",
    82: "451 4.3.0 qq temporary problem",
    91: "451 4.3.0 qq internal bug",
    120: "451 4.3.0 unable to exec qq",
    1: "451 4.3.0 qq temporary problem",
    111: "451 4.3.0 qq temporary problem",
    255: "451 4.3.0 qq temporary problem",
}


class Smtp:
    """A client of the program in a home of its own."""

    def __init__(self, path, command="bin/queue-program", **environment):
        self.path = path
        make_home(str(path))
        (path / "bin").mkdir(exist_ok=True)
        self.queue(KEEP)
        more = {name.encode(): value for name, value in environment.items()}
        self._process = SmtpdProcess(path, {b"QMAILQUEUE": command.encode(), **more})
        self._peer = SocketPeer(self._process.socket)
        assert self.hear() == b"220 mx.example.com ESMTP"

    def queue(self, body):
        path = self.path / "bin/queue-program"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def hear(self):
        return self._peer.line().removesuffix(b"\r\n")

    def begin(self):
        self._peer.send(ENVELOPE)
        assert [self.hear()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]

    def send(self, text=b"Subject: x\r\n\r\n..dot\r\n"):
        """The reply to one message."""
        self.begin()
        self._peer.send(text + b".\r\n")
        return self.hear()

    def write(self, data):
        self._peer.send(data)

    def quit(self):
        """Its exit code and what it said on stderr."""
        self._peer.send(b"QUIT\r\n")
        assert self.hear()[:3] == b"221"
        self._peer.close()
        return self._process.finish()

    def hang_up(self):
        self._peer.close()
        return self._process.finish()

    def read(self, name):
        return (self.path / name).read_bytes()


def test_a_message(tmp_path):
    smtp = Smtp(tmp_path, TCPREMOTEIP=b"1.2.3.4")
    reply = smtp.send()
    assert re.fullmatch(rb"250 2\.0\.0 ok \d{10} qp " + smtp.read("pid").strip(), reply)
    assert smtp.read("envelope") == b"Fs@a\0Talice@example.com\0Talice\0\0"
    received, _, rest = smtp.read("message").partition(b"\n  by ")
    assert received == b"Received: from unknown (1.2.3.4)"
    assert rest.endswith(b"-0000\nSubject: x\n\n.dot\n")
    assert smtp.quit() == (0, b"")
    assert not os.path.exists(tmp_path / "run/queue.sock")


def test_every_exit_code(tmp_path):
    """One session: each message has a process of its own."""
    smtp = Smtp(tmp_path)
    for code, reply in ANSWERS.items():
        smtp.queue(f"{KEEP}; exit {code}")
        assert smtp.send() == reply.encode()
    smtp.queue(f"{KEEP}; kill -9 $$")
    assert smtp.send() == b"451 4.3.0 qq crashed"
    smtp.queue(KEEP)
    assert smtp.send()[:3] == b"250"
    assert smtp.quit() == (0, b"")


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("Dvirus found (#5.7.1)", b"554 5.7.1 virus found"),
        ("Ztry at night (#4.7.1)", b"451 4.7.1 try at night"),
        ("Dno", b"554 5.3.0 no"),
        ("D\\033[2Jtwo\\r\\nlines", b"554 5.3.0 ?[2Jtwo??lines"),
    ],
)
def test_words_of_its_own(tmp_path, words, reply):
    """Nothing in them can be another reply."""
    smtp = Smtp(tmp_path)
    smtp.queue(f"{KEEP}; printf '{words}' >&6; exit 82")
    assert smtp.send() == reply
    assert smtp.quit() == (0, b"")


def test_a_program_that_is_not_there(tmp_path):
    smtp = Smtp(tmp_path, "bin/none")
    assert smtp.send() == b"451 4.3.0 unable to exec qq"
    assert smtp.quit() == (0, b"")


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ("exit 31", b"554 5.3.0 mail server permanently rejected message"),
        ("head -c 1000 > message; exit 71", b"451 4.3.0 mail server temporarily rejected message"),
        ("exec 0<&-; exit 0", b"451 4.3.0 qq read error"),
    ],
)
def test_a_program_that_does_not_read_a_large_message(tmp_path, body, reply):
    """The client is heard to the end of its message, and can go on."""
    smtp = Smtp(tmp_path)
    smtp.queue(body)
    assert smtp.send(b"\r\n" + LINE * MANY) == reply
    smtp.queue(KEEP)
    assert smtp.send(b"\r\n" + LINE * MANY)[:3] == b"250"
    assert smtp.read("message").endswith(b"\n\n" + b"x" * 70 + (b"\n" + b"x" * 70) * (MANY - 1) + b"\n")
    assert smtp.quit() == (0, b"")


def test_it_has_the_message_as_it_comes(tmp_path):
    """The first part of it, before the client has sent the last."""
    smtp = Smtp(tmp_path)
    os.mkfifo(tmp_path / "first")
    smtp.queue(f"head -c 20000 > first; {KEEP}")
    smtp.begin()
    smtp.write(b"\r\n" + LINE * 2000)
    with (tmp_path / "first").open("rb") as first:
        assert first.read().startswith(b"Received: ")
    smtp.write(b".\r\n")
    assert smtp.hear()[:3] == b"250"
    assert smtp.quit() == (0, b"")


@pytest.mark.parametrize(
    "refused",
    [b"Subject: x\r\n\r\nbare\nLF\r\n.\r\n", b"Received: x\r\n" * 101 + b"\r\n.\r\n"],
    ids=["bare LF", "loop"],
)
def test_a_message_that_is_refused_has_no_envelope(tmp_path, refused):
    smtp = Smtp(tmp_path)
    smtp.queue(f"{KEEP}; test -s envelope || exit 54")
    smtp.begin()
    smtp.write(refused)
    assert smtp.hear()[:4] == b"554 "
    assert smtp.read("envelope") == b""
    assert smtp.quit() == (0, b"")


def test_a_client_that_goes_in_the_middle(tmp_path):
    smtp = Smtp(tmp_path)
    smtp.begin()
    smtp.write(b"Subject: x\r\n\r\nhello\r\n")
    assert smtp.hang_up() == (1, b"")
    assert smtp.read("message").endswith(b"hello\n")
    assert smtp.read("envelope") == b""
