"""qmail-queue and a whole server: what it queues arrives, whether the queue runs, stands still or comes later."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest
from tests.system.harness import PATIENCE, Server

MESSAGE = b"Subject: hello\n\nhello\n"


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "home").start()
    yield made
    made.close()


def inject(server, *recipients, message=MESSAGE):
    """The program, still running."""
    read_message, zero = os.pipe()
    read_envelope, one = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "quail.programs.qmail.qmail_queue"],
        stdin=read_message, stdout=read_envelope, env={"QMAILHOME": str(server.path)},
    )  # fmt: skip
    os.close(read_message)
    os.close(read_envelope)
    with open(zero, "wb") as pipe:
        pipe.write(message)
    with open(one, "wb") as pipe:
        pipe.write(b"Fs@example.org\0" + b"".join(b"T%b\0" % r for r in recipients) + b"\0")
    return process


def test_it_arrives(server):
    assert inject(server, b"joe@localhost", b"postmaster").wait(PATIENCE) == 0
    server.line(r"^end msg", count=2)
    direct, by_alias = sorted(server.mail(), key=len)
    assert re.fullmatch(
        rb"Return-Path: <s@example\.org>\nDelivered-To: joe@localhost\n"
        rb"Received: \(qmail 1 invoked by uid %d\); .* -0000\nSubject: hello\n\nhello\n" % os.getuid(),
        direct,
    )
    assert b"Delivered-To: postmaster@localhost\n" in by_alias


def test_a_message_for_nobody(server):
    assert inject(server).wait(PATIENCE) == 0
    server.line(r"^end msg 1$")
    assert server.mail() == []


def test_it_waits_for_a_queue_that_starts_again(server):
    """The socket outlives the service: who connects meanwhile waits in its backlog."""
    victim = server.pid("queue")
    os.kill(victim, signal.SIGSTOP)
    processes = [inject(server, b"joe@localhost") for _ in range(5)]
    server.until(lambda: all(map(connects, processes)), "five connections")
    os.kill(victim, signal.SIGKILL)
    assert [process.wait(PATIENCE) for process in processes] == [0] * 5
    server.line(r"^end msg", count=5)
    assert len(server.mail()) == 5


def connects(process):
    """Whether it has a socket, and so nothing more to do but wait for the queue."""
    folder = f"/proc/{process.pid}/fd"
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"{folder}/{fd}").startswith("socket:"):
                return True
    return False


def test_dropped_and_taken_up_at_the_next_start(server):
    assert server.stop() == 0
    processes = [inject(server, b"joe@localhost", message=b"x" * size) for size in (10, 3_000_000)]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0]
    assert len(os.listdir(server.path / "queue/drop")) == 2
    server.start()
    server.line(r"^end msg", count=2)
    assert len(server.mail()) == 2
    server.until(lambda: not os.listdir(server.path / "queue/drop"), "the drop to be empty")


def test_address_too_long(server):
    assert inject(server, b"x" * 1000 + b"@localhost").wait(PATIENCE) == 11


def test_no_room(server):
    server.control("minfree", str(1 << 60))
    server.hup()
    server.line(r"^alert: \d+ bytes free")
    assert inject(server, b"joe@localhost").wait(PATIENCE) == 53
    assert os.listdir(server.path / "queue/drop") == []
