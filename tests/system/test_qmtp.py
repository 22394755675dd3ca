"""QMTP and QMQP under quail serve: mail from home to home, rules, large messages, and processes that die in the middle."""

import os
import signal
import socket

import pytest
from tests.programs.launch import launch
from tests.system.harness import PATIENCE, Server
from tests.unit.qmtp.packages import package, request

from quail.qmqp.client import Reply as QmqpReply
from quail.qmtp.client import Replies

MB = 1 << 20
TEXT = b"Subject: hi\n\nhello\n"


class Netstrings:
    """A client of either protocol."""

    def __init__(self, port, source=("127.0.0.1", 0)):
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=source)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def write(self, data):
        self.sock.sendall(data)

    def replies(self, count):
        """(letter, text) of each recipient, or fewer when the server hangs up."""
        replies, found = Replies(count), []
        while len(found) < count:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                break
            if not data:
                break
            found += replies.feed(data)
        return found

    def is_over(self):
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "home")
    yield made
    made.close()


def qmtp(server, **options):
    return Netstrings(server.port_of("qmtp"), **options)


def qmqp(server, **options):
    return Netstrings(server.port_of("qmqp"), **options)


def test_a_message_by_qmtp(server):
    server.start()
    with qmtp(server) as client:
        client.write(
            package(TEXT, b"s@x", b"joe@localhost", b"nobody@localhost", b"a@elsewhere") + package(TEXT, b"", b"joe")
        )
        first, second, third, fourth = client.replies(4)
    assert second == (b"D", b"sorry, no mailbox here by that name (#5.1.1)")
    assert third == (b"D", b"sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)")
    for letter, text in (first, fourth):
        assert letter == b"K"
        server.end(int(text.rpartition(b" ")[2]))
    mail = server.mail()
    assert len(mail) == 2
    assert all(b" with QMTP; " in text and text.endswith(TEXT) for text in mail)


def test_rules_of_smtp_count_for_qmtp(server):
    server.rules(b'127.0.0.2:allow,RELAYCLIENT="",DATABYTES="10"\n127.0.0.3:deny\n:allow\n')
    server.start()
    with qmtp(server, source=("127.0.0.2", 0)) as client:
        client.write(package(b"x\n", b"s@x", b"a@elsewhere") + package(b"x" * 11, b"s@x", b"a@elsewhere"))
        assert [letter for letter, _ in client.replies(2)] == [b"K", b"D"]
    with qmtp(server, source=("127.0.0.3", 0)) as client:
        assert client.is_over()
    server.line(r"qmtpd: 127\.0\.0\.3 denied by rule 127\.0\.0\.3:$")


def test_qmqp_is_closed_to_everybody_who_is_not_named(server):
    server.start()
    with qmqp(server) as client:
        assert client.is_over()
    server.line(r"qmqpd: 127\.0\.0\.1 denied: no rule allows it$")
    (server.path / "etc/tcprules.d/qmail-qmqp.cdb").unlink()
    with qmqp(server) as client:
        assert client.is_over()
    server.rules(b"127.0.0.2:allow\n", "qmqp")
    with qmqp(server) as client:
        assert client.is_over()
    with qmqp(server, source=("127.0.0.2", 0)) as client:
        client.write(request(TEXT, b"s@x", b"joe@localhost", b"a@elsewhere"))
        ((letter, text),) = client.replies(1)
        assert letter == b"K"
        assert client.is_over()
    server.until(server.mail, "the message")
    assert b" with QMQP; " in server.mail()[0]
    assert text.startswith(b"ok ")


def test_a_null_client_and_its_server(server, tmp_path):
    server.rules(b"127.:allow\n", "qmqp")
    server.start()
    client = Server(tmp_path / "client")
    client.control("qmqpservers", f"127.0.0.1:{server.port_of('qmqp')}")
    (client.path / "bin/qmail-queue").unlink()
    (client.path / "bin/qmail-queue").symlink_to("qmail-qmqpc")
    done = launch("sendmail", "joe@localhost", stdin=TEXT, env={"QMAILHOME": str(client.path)})
    assert (done.returncode, done.stderr) == (0, b"")
    server.until(server.mail, "the message")
    assert server.mail()[0].endswith(TEXT)


def test_from_home_to_home_by_qmtp(server, tmp_path):
    """rspawn gives mail to a relay that is another home, which delivers some of it and refuses the rest."""
    server.control("rcpthosts", "localhost\nthere.example")
    server.control("locals", "localhost\nthere.example")
    server.start()
    sender = Server(tmp_path / "sender")
    sender.control("concurrencyremote", "10")
    sender.control("smtproutes", f":qmtp:127.0.0.1:{server.port_of('qmtp')}")
    sender.start()
    try:
        number = sender.queue(b"jane@localhost", b"joe@there.example", b"who@there.example", b"a@elsewhere", text=TEXT)
        sender.line(rf"^end msg {number}$")
        server.until(server.mail, "the message")
        (text,) = server.mail()
        assert b" with QMTP; " in text
        assert text.endswith(TEXT)
        assert sender.line(r"^delivery \d+: failure: .*no_mailbox_here_by_that_name")
        assert sender.line(r"^delivery \d+: failure: .*allowed_rcpthosts")
        large = sender.queue(b"jane@localhost", b"joe@there.example", text=b"y" * 79 + b"\n" + b"x" * (3 * MB) + b"\n")
        sender.line(rf"^end msg {large}$")
        server.until(lambda: len(server.mail()) == 2, "the large message")
        assert max(map(len, server.mail())) > 3 * MB
    finally:
        sender.close()


def memory(pid):
    """Bytes that are the process's own."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Private_", "Swap:")))


@pytest.mark.parametrize("protocol", ["qmtp", "qmqp"])
def test_large_messages_are_in_no_process(server, protocol):
    """Messages of 50 MB, two at once, beside clients that stop in the middle."""
    server.rules(b"127.:allow\n", "qmqp")
    server.start()
    make = {"qmtp": package, "qmqp": request}[protocol]
    connect = {"qmtp": qmtp, "qmqp": qmqp}[protocol]
    pid = server.pid(f"{protocol}d")
    with connect(server) as warm:
        warm.write(make(b"x" * 100_000, b"s@x", b"joe@localhost"))
        assert warm.replies(1)[0][0] == b"K"
    before = memory(pid), memory(server.pid("queue"))
    data = make(b"x" * 79 + b"\n" + b"y" * (50 * MB), b"s@x", b"joe@localhost")
    stopped = [connect(server) for _ in range(20)]
    clients = [connect(server) for _ in range(2)]
    try:
        most = [0, 0]
        for client in stopped:
            client.write(data[: 2 * MB])
        for at in range(0, len(data), MB):
            for client in clients:
                client.write(data[at : at + MB])
            if at % (5 * MB) == 0:
                most = [max(most[0], memory(pid)), max(most[1], memory(server.pid("queue")))]
        for client in clients:
            assert client.replies(1)[0][0] == b"K"
    finally:
        for client in (*stopped, *clients):
            client.sock.close()
    print(protocol, *(f"{each / MB:.1f} MB" for each in (*before, *most)))
    assert most[0] - before[0] < 40 * MB  # of 140 MB that come in: what 22 connections have on their way
    assert most[1] - before[1] < 30 * MB
    server.until(lambda: len(server.mail()) == 3, "the messages")
    server.until(lambda: not any((server.path / "queue/mess").iterdir()), "an empty queue/mess")


def is_accepted(sock):
    """Whether a process has the other end; before that the kernel knows it by no number."""
    ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    with open("/proc/net/tcp") as lines:
        for fields in map(str.split, lines):
            if fields[1].endswith(f":{theirs:04X}") and fields[2].endswith(f":{ours:04X}"):
                return fields[9] != "0"
    return False


@pytest.mark.parametrize("protocol", ["qmtp", "qmqp"])
@pytest.mark.parametrize("victim", ["server", "queue"])
@pytest.mark.parametrize("size", [500, 300_000])
def test_killed_in_the_middle(server, protocol, victim, size):
    """Nothing is queued of a message that did not come whole, and its client hears no K."""
    server.rules(b"127.:allow\n", "qmqp")
    server.start()
    make = {"qmtp": package, "qmqp": request}[protocol]
    data = make(b"Subject: half\n\n" + b"x" * size, b"s@x", b"joe@localhost")
    name = f"{protocol}d" if victim == "server" else "queue"
    pid = server.pid(name)
    with {"qmtp": qmtp, "qmqp": qmqp}[protocol](server) as client:
        client.write(data[:-20])
        # Else it would still be there for the next process to accept.
        server.until(lambda: is_accepted(client.sock), "the connection")
        if size > 100_000:
            server.until(lambda: any((server.path / "queue/mess").iterdir()), "the beginning")
        os.kill(pid, signal.SIGKILL)
        if victim == "server":
            assert client.is_over()
        else:
            server.until(lambda: server.pid(name) not in (0, pid), "another queue")
            client.write(data[-20:])
            ((letter, _),) = client.replies(1)
            assert letter == (b"Z" if size > 100_000 else b"K")  # a small one was not the queue's yet
    server.until(lambda: server.pid(name) not in (0, pid), "another process")
    with {"qmtp": qmtp, "qmqp": qmqp}[protocol](server) as client:
        client.write(make(TEXT, b"s@x", b"joe@localhost"))
        ((letter, text),) = client.replies(1)
        assert letter == b"K"
    server.end(int(text.rpartition(b" ")[2]))
    half = [text for text in server.mail() if b"Subject: half" in text]
    assert len(half) == (victim == "queue" and size < 100_000)


def test_terminated_in_the_middle(server):
    """What is at hand is taken."""
    server.start()
    data = package(TEXT, b"s@x", b"joe@localhost")
    with qmtp(server) as busy, qmtp(server) as idle:
        busy.write(data[:20])
        idle.write(data)
        assert idle.replies(1)[0][0] == b"K"
        server.process.terminate()
        assert idle.is_over()
        busy.write(data[20:])
        assert busy.replies(1)[0][0] == b"K"
        assert busy.is_over()
    assert server.ended() == 0


def test_a_service_without_a_line_is_not_there(tmp_path):
    server = Server(tmp_path / "home", listen="smtp 127.0.0.1:0")
    try:
        server.start()
        assert not {"qmtpd", "qmqpd"} & set(server.pids)
    finally:
        server.close()


def test_a_reply_that_our_client_understands(server):
    server.rules(b"127.:allow\n", "qmqp")
    server.start()
    with qmqp(server) as client:
        client.write(request(TEXT, b"s@x", b"joe@localhost"))
        assert QmqpReply().feed(client.sock.recv(100)) == b"K"
