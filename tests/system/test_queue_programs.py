"""qmail-queue, qmail-qread and qmail-qstat against a queue that runs, and one that does not."""

import os
import re
import subprocess
import sys

import pytest

PATIENCE = 60


def run(server, name, *args, **descriptors):
    """One of the programs, in the home of the server."""
    command = {
        "qmail-queue": [sys.executable, "-m", "quail.programs.qmail_queue"],
        "qmail-qread": [sys.executable, "-m", "quail.programs.qmail_qread"],
        "qmail-qstat": [sys.executable, "-m", "quail.programs.qmail_qstat"],
    }[name]
    env = {"PATH": "/usr/bin:/bin", "QMAILHOME": str(server.path)}
    descriptors = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **descriptors}
    return subprocess.run(
        [*command, *args], env=env, stderr=subprocess.PIPE, timeout=PATIENCE, check=False, **descriptors
    )


def queue_with_program(server, envelope, message):
    (server.path / "envelope").write_bytes(envelope)
    (server.path / "message").write_bytes(message)
    with open(server.path / "envelope", "rb") as one, open(server.path / "message", "rb") as zero:
        done = run(server, "qmail-queue", stdin=zero, stdout=one)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_message_from_qmail_queue_is_delivered(server):
    queue_with_program(server, b"Fs@example.org\0Tjoe@localhost\0\0", b"Subject: one\n\n.\n\xff\n")
    server.end(1)
    (mail,) = server.mail()
    assert mail.endswith(b"Subject: one\n\n.\n\xff\n")
    assert b"\nReceived: (qmail 1 invoked by uid %d); " % os.getuid() in mail


def test_what_was_left_in_the_drop_is_taken_up(make_server):
    server = make_server()
    queue_with_program(server, b"Fs@example.org\0Tjoe@localhost\0\0", b"Subject: two\n\n")
    assert len(os.listdir(server.path / "queue/drop")) == 1
    server.start()
    server.end(1)
    (mail,) = server.mail()
    assert mail.endswith(b"Subject: two\n\n")
    server.until(lambda: not os.listdir(server.path / "queue/drop"), "an empty drop")


def test_an_empty_queue(server):
    done = run(server, "qmail-qread")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = run(server, "qmail-qstat")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"messages in queue: 0\nmessages in queue but not yet preprocessed: 0\n"


def test_messages_in_the_queue(server):
    assert server.quail("user", "add", "jane").returncode == 0
    with server.closed_mailbox():
        number = server.queue(b"s p@example.org", b"jane@localhost", b"joe@localhost", b"other@example.org")
        server.line(r"delivery \d+: deferral: ")
        server.line(r"delivery \d+: success: ")
        server.until(lambda: b"\n  done\t" in run(server, "qmail-qread").stdout, "jane's recipient done")
        done = run(server, "qmail-qread")
        assert done.returncode == 0
        head, *recipients = done.stdout.decode().splitlines()
        assert re.fullmatch(
            rf"\d{{1,2}} [A-Z][a-z]{{2}} \d{{4}} \d\d:\d\d:\d\d GMT  #{number}  \d+  <s_p@example.org> ", head
        )
        assert recipients == ["  done\tlocal\tjane@localhost", "\tlocal\tjoe@localhost", "\tremote\tother@example.org"]
        assert run(server, "qmail-qstat").stdout.startswith(b"messages in queue: 1\n")


@pytest.mark.parametrize("name", ["qmail-qread", "qmail-qstat"])
def test_no_queue_service(make_server, name):
    done = run(make_server(), name)
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr.startswith(f"{name}: fatal: the queue service of ".encode())


@pytest.mark.parametrize("name", ["qmail-qread", "qmail-qstat"])
def test_called_with_an_argument(make_server, name):
    done = run(make_server(), name, "x")
    assert (done.returncode, done.stdout) == (100, b"")
    assert done.stderr == f"{name}: usage: {name}\n".encode()
