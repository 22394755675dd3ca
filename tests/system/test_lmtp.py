"""LMTP in a served single home: by TCP and by a Unix socket."""

import json
import os
import re
import socket
import threading

import pytest
from tests.system.harness import PATIENCE, Ends, short_path

LISTEN = "smtp 127.0.0.1:0\nlmtp 127.0.0.1:0\nlmtp run/lmtp"
MIB = 1 << 20
OK = rb"250 2\.0\.0 ok \d+ qp (\d+)"


class Lmtp:
    def __init__(self, server, *, greeting=b"220 localhost LMTP"):
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(PATIENCE)
        with short_path(server.path / "run") as run:
            self._sock.connect(f"{run}/lmtp")
        self._file = self._sock.makefile("rb")
        if greeting:
            assert self.reply() == greeting
            self.say("LHLO client", 6)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._sock.close()

    def write(self, data):
        self._sock.sendall(data)

    def reply(self):
        return self._file.readline().removesuffix(b"\r\n")

    def say(self, line, replies=1):
        self.write(line.encode() + b"\r\n")
        return [self.reply() for _ in range(replies)][-1]

    def envelope(self, *recipients):
        for line in ("MAIL FROM:<s@example.org>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)):
            assert self.say(line).startswith(b"250 "), line
        assert self.say("DATA").startswith(b"354 ")
        return self

    def send(self, *recipients, text=b"Subject: hello\r\n\r\nhello\r\n"):
        """The message's number, which each recipient was told."""
        self.envelope(*recipients).write(text + b".\r\n")
        replies = {self.reply() for _ in recipients}
        (reply,) = replies
        return int(re.fullmatch(OK, reply)[1])


@pytest.fixture
def server(make_server):
    server = make_server(listen=LISTEN)
    assert server.quail("user", "add", "bob").returncode == 0
    return server.start()


def mailbox(server, name):
    new = server.path / "mail" / name / "Maildir/new"
    return [path.read_bytes() for path in new.iterdir()] if new.is_dir() else []


def test_it_is_queued_once_and_delivered_to_each(server):
    with Lmtp(server) as client:
        assert client.say("MAIL FROM:<x@y>").startswith(b"250 ")
        assert client.say("RCPT TO:<ghost@localhost>") == b"550 5.1.1 sorry, no mailbox here by that name"
        assert client.say("RCPT TO:<x@elsewhere.example>").startswith(b"553 5.7.1 ")
        assert client.say("DATA") == b"503 5.5.1 RCPT first"
        number = client.send("joe@localhost", "bob@localhost")
    server.end(number)
    (joe,), (bob,) = mailbox(server, "joe"), mailbox(server, "bob")
    uid = os.getuid()
    received = rb"Received: from unknown \(HELO client\) \(%d@local\)\n  by localhost with LMTP; " % uid
    assert re.search(received, joe)
    assert re.search(received, bob)
    server.line(rf"^smtpd: {uid}@local recipient <ghost@localhost> refused: ")
    server.line(rf"^smtpd: {uid}@local message from <s@example\.org> to 2 recipients: msg {number}$")


def test_places_are_told(server):
    ports = json.loads((server.path / "run/ports.json").read_text())
    tcp, path = ports["lmtp"].split()
    assert path == "run/lmtp"
    assert tcp == "{}:{}".format(*server.lmtp)
    assert server.lmtp[1] > 0
    assert (server.path / "run/lmtp").stat().st_mode & 0o777 == 0o666
    with socket.create_connection(server.lmtp, PATIENCE) as sock:
        assert sock.recv(100) == b"220 localhost LMTP\r\n"


@pytest.mark.parametrize(
    "rules", [b"local:deny\n:allow\n", b"%d@local:deny\n:allow\n", b":deny\n"], ids=["local", "uid", "all"]
)
def test_rules(make_server, rules):
    server = make_server(listen=LISTEN)
    server.rules(rules.replace(b"%d", b"%d" % os.getuid()))
    server.start()
    with Lmtp(server, greeting=None) as client:
        assert client.reply() == b""
    server.line(rf"^smtpd: {os.getuid()}@local denied by rule ")


def test_rules_that_let_a_user_in(make_server):
    server = make_server(listen=LISTEN)
    server.rules(b'%d@local:allow,DATABYTES="10",RELAYCLIENT=""\nlocal:deny\n' % os.getuid())
    server.start()
    with Lmtp(server) as client:
        client.envelope("joe@localhost").write(b"0123456789\r\n.\r\n")
        assert client.reply().startswith(b"552 ")
        assert client.say("MAIL FROM:<s@x>").startswith(b"250 ")
        assert client.say("RCPT TO:<x@elsewhere.example>").startswith(b"553 ")


def test_a_limit_of_connections(make_server):
    server = make_server(listen=LISTEN, maxconnectionsperip="1").start()
    with Lmtp(server) as client:
        with Lmtp(server, greeting=None) as other:
            assert other.reply() == b"421 4.7.0 too many connections; try again later"
        assert client.say("NOOP") == b"250 2.0.0 ok"


def test_what_a_crash_left_is_replaced(server):
    server.kill()
    assert (server.path / "run/lmtp").exists()
    server.start()
    with Lmtp(server) as client:
        server.end(client.send("joe@localhost"))


def test_the_socket_of_another_is_left_alone(make_server):
    server = make_server(listen=LISTEN)
    (server.path / "run").mkdir(mode=0o700, exist_ok=True)
    with short_path(server.path / "run") as run, socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{run}/lmtp")
        other.listen()
        server.start(wait=False)
        server.line(r"run/lmtp, wanted for lmtp, is in use by another program")
        assert server.ended() == 111


def test_the_services_own_sockets_are_refused(make_server):
    server = make_server(listen="smtp 127.0.0.1:0\nlmtp run/queue.sock")
    server.start(wait=False)
    server.line(r"run/queue.sock, wanted for lmtp, is a socket of the services")
    assert server.ended() == 111


def test_a_folder_that_is_not_there(make_server):
    server = make_server(listen="smtp 127.0.0.1:0\nlmtp nowhere/lmtp")
    server.start(wait=False)
    server.line(r"control/listen: error: nowhere/lmtp, wanted for lmtp, is in a folder that is not there; make ")
    assert server.ended() == 100


def test_lmtp_alone(make_server):
    server = make_server(listen="lmtp run/lmtp")
    server.start(wait=False)
    server.line(r"serving .*: lmtp on run/lmtp$")
    with Lmtp(server) as client:
        server.end(client.send("joe@localhost"))
    assert server.stop() == 0


@pytest.mark.parametrize("service", ["smtpd", "queue"])
def test_killed_in_the_middle_of_a_message(server, service):
    """It is queued once if all were told so, and else not at all."""
    with Lmtp(server) as client:
        client.envelope("joe@localhost", "bob@localhost").write(b"x\r\n" * 50_000)
        pids = [pid for pid in server.pids[service] if pid]
        ends = Ends(pids)
        for pid in pids:
            os.kill(pid, 9)
        ends.wait()
        replies = []
        try:
            client.write(b"x\r\n.\r\n")
            replies = [client.reply(), client.reply()]
        except OSError:
            pass
        taken = [match[1] for reply in replies if (match := re.fullmatch(OK, reply))]
        assert taken in ([], taken[:1] * 2)  # the queue may have been back before it got anything of this
        assert taken or all(reply == b"" or reply.startswith(b"451 ") for reply in replies)
    server.until(lambda: all(server.pids[service]) and not set(pids) & set(server.pids[service]), "a new life")
    server.until(lambda: answers(server), "answers")
    with Lmtp(server) as client:
        number = client.send("joe@localhost", "bob@localhost", text=b"second\r\n")
    server.end(number)
    for name in taken[:1]:
        server.end(int(name))
    assert [len(mailbox(server, name)) for name in ("joe", "bob")] == [1 + len(taken[:1])] * 2
    assert sum(b"second" in text for text in mailbox(server, "bob")) == 1


def answers(server):
    try:
        with Lmtp(server) as client:
            client.envelope("joe@localhost").write(b"bad\nline\r\n.\r\n")
            return client.reply().startswith(b"554 ") and server.ask({"do": "status"})
    except (OSError, AssertionError):
        return False


def test_a_large_message_takes_no_memory(server):
    """50 MB, by two clients at once; the peak of a worker grows by little."""
    with Lmtp(server) as client:
        server.end(client.send("joe@localhost"))
    before = peaks(server)
    text = b"x" * 1022 + b"\r\n"

    def run():
        with Lmtp(server) as client:
            client.envelope("joe@localhost", "bob@localhost")
            for _ in range(50):
                client.write(text * 1024)
            client.write(b".\r\n")
            numbers.append({re.fullmatch(OK, client.reply())[1] for _ in range(2)})

    numbers = []
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(found) for found in numbers] == [1, 1]
    for found in numbers:
        server.end(int(found.pop()))
    assert max(map(len, mailbox(server, "bob"))) > 50 * MIB * 1023 // 1024
    assert all(after - was < 16 * MIB for was, after in zip(before, peaks(server), strict=True))


def peaks(server):
    """Peak resident sizes of smtpd's workers and the queue, in bytes."""
    found = []
    for pid in (*server.pids["smtpd"], server.pid("queue")):
        with open(f"/proc/{pid}/status") as file:
            found += [int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:")]
    return found
