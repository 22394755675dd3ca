"""qmail-qmqpc against servers that do as they are told: each exit code, what goes over the wire, and null clients."""

import contextlib
import os
import socket
import subprocess
import sys
import threading

import pytest
from tests.lacking import without
from tests.programs.launch import launch
from tests.unit.qmtp.packages import qmqp

from quail.cli.init_single import init_single
from quail.qmtp.netstring import netstring

MESSAGE = b"Subject: hi\n\nhello\n"
ENVELOPE = b"Fs@x\0Ta@b\0Tc@d\0\0"
OK = netstring(b"Kok 1700000000 qp 12")


class Server:
    """A QMQP server that takes one connection, reads `read` bytes (None: a whole request), says `answer`, and hangs up."""

    def __init__(self, answer=OK, *, read=None, family=socket.AF_INET, silent=None):
        self.listener = socket.socket(family)
        self.listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.listener.listen()
        self.listener.settimeout(60)
        self.port = self.listener.getsockname()[1]
        self.answer, self.read, self.silent = answer, read, silent
        self.talk = qmqp()
        self.connections = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            connection.settimeout(60)
            self.connections += 1
            with connection:
                left = self.read if self.read is not None else 1 << 40
                while left and not self.talk.output:
                    data = connection.recv(min(left, 1 << 16))
                    if not data:
                        break
                    left -= len(data)
                    self.talk.send(data)
                if self.silent:
                    self.silent.wait(60)
                connection.sendall(self.answer)

    @property
    def line(self):
        return f"127.0.0.1:{self.port}"

    def done(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # so that it waits for nobody any more
        self.thread.join(60)
        self.listener.close()
        return self.talk.messages


@pytest.fixture
def home(tmp_path):
    (tmp_path / "control").mkdir()
    return tmp_path


def servers(home, *lines):
    (home / "control/qmqpservers").write_text("".join(f"{line}\n" for line in lines))


def qmqpc(home, message=MESSAGE, envelope=ENVELOPE, **environment):
    """Its exit code."""
    read, write = os.pipe()
    with open(write, "wb") as file:
        file.write(envelope)
    with open(read, "rb") as descriptor:
        done = subprocess.run(
            [sys.executable, "-m", "quail.programs.qmail.qmail_qmqpc"],
            input=message, stdout=descriptor, stderr=subprocess.PIPE, env={"QMAILHOME": str(home), **environment},
            timeout=60, check=False,
        )  # fmt: skip
    assert done.stderr == b""
    return done.returncode


@pytest.mark.parametrize("message", [MESSAGE, b"", b"x" * 3_000_000], ids=["small", "empty", "large"])
def test_a_message(home, message):
    server = Server()
    servers(home, "# comments are left out", server.line)
    assert qmqpc(home, message) == 0
    assert server.done() == [(b"s@x", [b"a@b", b"c@d"], message)]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (netstring(b"Kok"), 0),
        (netstring(b"Zlater"), 71),
        (netstring(b"Dno"), 31),
        (b"20:K", 0),
        (b"", 74),
        (b"20:", 74),
        (b"220 Kiel ESMTP\r\n", 74),
        (netstring(b"ok"), 74),
    ],
    ids=["K", "Z", "D", "first letter", "nothing", "half", "SMTP", "no letter"],
)
def test_replies(home, answer, code):
    server = Server(answer)
    servers(home, server.line)
    assert qmqpc(home) == code
    server.done()


def test_a_server_that_hangs_up_in_the_middle(home):
    server = Server(b"", read=1000)
    servers(home, server.line)
    assert qmqpc(home, b"x" * 30_000_000) == 74
    server.done()


def refusing():
    """A port where nobody is."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_nobody_there(home):
    servers(home, f"127.0.0.1:{refusing()}")
    assert qmqpc(home) == 73


def test_the_next_server_if_there_is_no_connection(home):
    server = Server()
    servers(home, f"127.0.0.1:{refusing()}", server.line)
    assert qmqpc(home) == 0
    assert len(server.done()) == 1


def test_no_other_server_once_there_is_a_connection(home):
    first, second = Server(netstring(b"Zlater")), Server()
    servers(home, first.line, second.line)
    assert qmqpc(home) == 71
    first.done()
    second.done()
    assert second.connections == 0


def test_lines_that_are_no_servers_are_left_out(home):
    server = Server()
    servers(home, "relay.example.com", "1.2.3.4.5", "127.0.0.1:0", " ", server.line)
    assert qmqpc(home) == 0
    assert len(server.done()) == 1


def test_ipv6(home):
    try:
        server = Server(family=socket.AF_INET6)
    except OSError:
        without("IPv6")
    servers(home, f"[::1]:{server.port}")
    assert qmqpc(home) == 0
    assert len(server.done()) == 1


@pytest.mark.parametrize(
    "text", [None, "", "# none\n", "relay.example.com\n"], ids=["missing", "empty", "comment", "name"]
)
def test_no_server_known(home, text):
    if text is not None:
        (home / "control/qmqpservers").write_text(text)
    assert qmqpc(home) == 55


def test_a_list_that_can_not_be_read(home):
    (home / "control/qmqpservers").mkdir()
    assert qmqpc(home) == 55


def test_no_home(home):
    assert qmqpc(home / "nowhere") == 61


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"", 54),
        (b"Fs@x\0Ta@b\0", 54),
        (b"xs@x\0\0", 91),
        (b"Fs@x\0xa@b\0\0", 91),
        (b"Fs@x\0T" + b"a" * 1003 + b"\0\0", 11),
    ],
    ids=range(5),
)
def test_envelopes_that_are_none(home, envelope, code):
    server = Server()
    servers(home, server.line)
    assert qmqpc(home, envelope=envelope) == code
    server.done()
    assert server.connections == 0


def test_no_place_for_a_large_message(home):
    servers(home, "127.0.0.1:1")
    assert qmqpc(home, b"x" * 2_000_000, TMPDIR=str(home / "nowhere")) == 53


PATIENT = """
import sys
from quail.queue import qmqp
qmqp.CONNECT_PATIENCE, qmqp.PATIENCE = 0.2, 0.2
print(qmqp.send([(sys.argv[1], int(sys.argv[2]))], b"s", [b"r"], 1, [b"x"]))
"""


def impatient(*server):
    done = subprocess.run(
        [sys.executable, "-c", PATIENT, *server], capture_output=True, text=True, timeout=60, check=True
    )
    return int(done.stdout)


def test_a_server_that_says_nothing():
    told = threading.Event()
    server = Server(silent=told)
    assert impatient("127.0.0.1", str(server.port)) == 74
    told.set()
    server.done()


def test_a_server_that_does_not_take_the_connection():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        try:
            for _ in range(3):  # the backlog is full then
                sock = socket.socket()
                sock.setblocking(False)
                waiting.append(sock)
                sock.connect_ex(("127.0.0.1", port))
            assert impatient("127.0.0.1", str(port)) == 72
        finally:
            for sock in waiting:
                sock.close()


def test_no_such_network():
    assert impatient("fe80::1%nowhere0", "628") == 73


def test_more_than_any_server_takes():
    from quail.queue import qmqp

    assert qmqp.send([("127.0.0.1", 1)], b"", [], 200_000_001, []) == 31


@pytest.fixture
def client(tmp_path):
    """A whole home, which is a null client."""
    path = tmp_path / "home"
    init_single(str(path), name="joe")
    return path


def sendmail(home, **environment):
    done = launch(
        "sendmail", "-fs@x", "a@b", stdin=b"Subject: hi\n\nhello\n", env={"QMAILHOME": str(home), **environment}
    )
    return done.returncode, done.stderr


def test_a_null_client_by_qmailqueue(client):
    server = Server()
    servers(client, server.line)
    assert sendmail(client, QMAILQUEUE="bin/qmail-qmqpc") == (0, b"")
    ((sender, recipients, text),) = server.done()
    assert (sender, recipients) == (b"s@x", [b"a@b"])
    assert text.endswith(b"Subject: hi\n\nhello\n")


def test_a_null_client_by_a_link(client):
    server = Server(netstring(b"Dno"))
    servers(client, server.line)
    (client / "bin/qmail-queue").unlink()
    (client / "bin/qmail-queue").symlink_to("qmail-qmqpc")
    code, said = sendmail(client)
    assert code == 100
    assert b"mail server permanently rejected message (#5.3.0)" in said
    assert len(server.done()) == 1
    assert os.listdir(client / "queue/drop") == []


def test_a_null_client_takes_mail_by_smtp(client):
    server = Server()
    servers(client, server.line)
    (client / "bin/qmail-queue").unlink()
    (client / "bin/qmail-queue").symlink_to(client / "bin/qmail-qmqpc")
    said = b"HELO x\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@b>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n"
    done = launch("qmail-smtpd", stdin=said, env={"QMAILHOME": str(client), "RELAYCLIENT": ""})
    assert done.returncode == 0, done.stderr
    assert len(server.done()) == 1


def test_the_link_stays_when_programs_are_made_again(client):
    from quail.cli import launchers

    (client / "bin/qmail-queue").unlink()
    (client / "bin/qmail-queue").symlink_to("qmail-qmqpc")
    (client / "bin/sendmail").unlink()
    assert launchers.write(str(client)) == ["sendmail"]
    assert (client / "bin/qmail-queue").is_symlink()
