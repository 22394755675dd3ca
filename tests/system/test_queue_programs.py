"""QMAILQUEUE in an access rule: each service gives these clients' mail to the program, and to nobody else. As root it must
not: tests/system_root/test_root_queue_programs.py has the rest.
"""

import os

import pytest
from tests.system.harness import Smtp
from tests.system.test_qmtp import Netstrings
from tests.unit.qmtp.packages import package, request

PROTOCOLS = ("smtp", "lmtp", "qmtp", "qmqp")
LISTEN = "\n".join(f"{name} 127.0.0.1:0" for name in PROTOCOLS)
HELLO = {"smtp": "EHLO x", "lmtp": "LHLO x"}
SCAN = """#!/bin/sh
cd {folder} || exit 53
id -u >uid
echo "$TCPREMOTEIP $WHO" >who
cat >message
grep -q VIRUS message && {{ echo "Dvirus found (#5.7.1)" >&4; exit 82; }}
exec {home}/bin/qmail-queue <message
"""


def connect(protocol, make):
    """A client; make() connects one of the class that it is given."""
    return make(Smtp if protocol in HELLO else Netstrings)


def give(protocol, client, recipient, text):
    """What the service says of one message; text with lines that end with LF."""
    with client:
        if protocol in HELLO:
            client.ok(HELLO[protocol], "MAIL FROM:<s@example.org>", f"RCPT TO:<{recipient}>")
            return client.data(text.replace(b"\n", b"\r\n"))
        client.write((package if protocol == "qmtp" else request)(text, b"s@example.org", recipient.encode()))
        return b"".join(client.replies(1)[0])


def program(folder, home):
    """A scanner in this folder, of which `home` and the folder itself are told as it sees them."""
    folder.mkdir(exist_ok=True)
    (folder / "scan").write_text(SCAN.format(folder=folder, home=home))
    (folder / "scan").chmod(0o755)
    return folder / "scan"


@pytest.fixture
def server(make_server, tmp_path):
    server = make_server(listen=LISTEN)
    rules = f'127.0.0.1:allow,WHO="me",QMAILQUEUE="{program(tmp_path / "scan", server.path)}"\n:allow\n'.encode()
    for service in ("smtp", "qmqp"):
        server.rules(rules, service)
    return server.start()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_program_has_the_mail(server, tmp_path, protocol):
    """As root, in a single home, nobody has it: it is put off."""
    client = connect(protocol, lambda kind: kind(server.port_of(protocol)))
    reply = give(protocol, client, "joe@localhost", b"Subject: x\n\nhello\n")
    seen = tmp_path / "scan"
    if os.getuid() == 0:
        assert b"unable to run qmail-queue" in reply
        assert reply[:1] in b"4Z"
        server.line(rf"^\w+: warning: QMAILQUEUE={seen}/scan of an access rule is not run by a service that is root$")
        assert not (seen / "message").exists()
        return
    assert reply[:1] in b"2K"
    server.line(r"^\w+: 127\.0\.0\.1 message from <s@example\.org> to 1 recipient: taken by \S+/scan, process \d+$")
    server.line(r"^end msg ")
    assert server.mail()[0].endswith(b"Subject: x\n\nhello\n")
    assert (seen / "who").read_text() == "127.0.0.1 me\n"
    client = connect(protocol, lambda kind: kind(server.port_of(protocol)))
    assert b"virus found" in give(protocol, client, "joe@localhost", b"Subject: x\n\nVIRUS\n")


def test_who_has_no_such_rule_is_served_as_ever(server, tmp_path):
    with server.smtp(source=("127.0.0.2", 0)) as client:
        number = client.send("s@example.org", ["joe@localhost"], b"Subject: x\r\n\r\nVIRUS\r\n")
    server.end(number)
    assert not (tmp_path / "scan/message").exists()
