"""sendmail and its like in a whole home, as people call them: by the launchers in bin/; the queue is up, down, or filtered."""

import os
import re
import subprocess

import pytest
from tests.system.harness import PATIENCE, Server

MESSAGE = b"From: me@x.y\nTo: joe@localhost\nSubject: hello\n\nhello\n"


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "home")
    yield made
    made.close()


def call(server, name, *args, stdin=MESSAGE, **environment):
    """(exit code, stdout, stderr) of bin/NAME."""
    done = subprocess.run(
        [server.path / "bin" / name, *args],
        input=stdin, capture_output=True, env={"PATH": "/usr/bin:/bin", "USER": "joe", **environment},
        cwd="/", timeout=PATIENCE, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sendmail", ["-oi", "-t"]),
        ("sendmail", ["-i", "-fa@b.c", "joe@localhost"]),
        ("datemail", ["-t"]),
        ("mailsubj", ["hello", "joe@localhost"]),
    ],
)
def test_it_arrives(server, name, args):
    server.start()
    assert call(server, name, *args) == (0, b"", b"")
    server.line(r"^end msg 1$")
    (mail,) = server.mail()
    assert b"\nSubject: hello\n" in mail
    assert mail.startswith(b"Return-Path: <a@b.c>\n" if "-fa@b.c" in args else b"Return-Path: <joe@")


def test_forward_says_the_queues_number(server):
    server.start()
    code, out, said = call(server, "forward", "joe@localhost", DTLINE="Delivered-To: x@y\n", NEWSENDER="n@x")
    number = re.fullmatch(rb"forward: qp (\d+)\n", said)[1]
    assert (code, out) == (0, b"")
    server.end(int(number))
    assert b"\nDelivered-To: x@y\nFrom: me@x.y\n" in server.mail()[0]


def test_mailq(server):
    """By its own option, and by a link."""
    server.start()
    link = server.path / "mailq"
    link.symlink_to("bin/sendmail")
    with server.closed_mailbox():
        number = server.queue(b"s@x", b"joe@localhost")
        server.line(rf"^info msg {number}:")
        done = subprocess.run(
            [link], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False, env={}
        )
        assert call(server, "sendmail", "-bp") == (0, done.stdout, b"")
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"  #{number}  ".encode() in done.stdout
    assert b"\tlocal\tjoe@localhost\n" in done.stdout


def test_bs(server):
    server.start()
    session = b"MAIL FROM:<a@b>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n"
    code, out, said = call(server, "sendmail", "-bs", stdin=session)
    assert (code, said) == (0, b"")
    number = re.search(rb"^250 2\.0\.0 ok \d+ qp (\d+)\r$", out, flags=re.MULTILINE)[1]
    server.end(int(number))
    assert len(server.mail()) == 1


def test_what_is_sent_while_the_queue_is_down_arrives_later(server):
    sizes = (10, 3_000_000)
    for size in sizes:
        assert call(server, "sendmail", "-t", stdin=MESSAGE + b"x" * size + b"\n") == (0, b"", b"")
    assert len(os.listdir(server.path / "queue/drop")) == len(sizes)
    server.start()
    server.line(r"^end msg", count=len(sizes))
    assert len(server.mail()) == len(sizes)


def test_a_queue_program_that_filters(server):
    """It changes the message on its way to qmail-queue, which it runs by its name in the home."""
    server.start()
    path = server.path / "bin/filter"
    path.write_text("#!/bin/sh\nsed s/hello/goodbye/ | bin/qmail-queue\n")
    path.chmod(0o755)
    assert call(server, "sendmail", "-t", QMAILQUEUE="bin/filter") == (0, b"", b"")
    server.line(r"^end msg 1$")
    assert b"\nSubject: goodbye\n\ngoodbye\n" in server.mail()[0]


def test_qmail_queue_as_the_queue_program(server):
    """The classic way: its exit codes say what the service has said."""
    server.start()
    assert call(server, "sendmail", "-t", QMAILQUEUE="bin/qmail-queue") == (0, b"", b"")
    server.line(r"^end msg 1$")
    long = "x" * 1000 + "@localhost"
    assert call(server, "sendmail", long, QMAILQUEUE="bin/qmail-queue") == (
        100, b"", b"qmail-inject: fatal: envelope address too long for qq (#5.1.3)\n",
    )  # fmt: skip
    server.control("minfree", str(1 << 60))
    server.hup()
    server.line(r"^alert: \d+ bytes free")
    for queue, words in (
        ({}, b"queue disk is nearly full, try again later (#4.3.1)"),
        ({"QMAILQUEUE": "bin/qmail-queue"}, b"qq write error or disk full (#4.3.0)"),
    ):
        assert call(server, "sendmail", "-t", **queue) == (111, b"", b"qmail-inject: fatal: %b\n" % words)
