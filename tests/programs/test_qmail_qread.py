"""qmail-qread and what it prints, byte for byte, while messages wait in a running server."""

import re

import pytest
from tests.programs.launch import launch
from tests.system.harness import Server

from quail.message.dates import rfc822


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "home", concurrencylocal="0").start()
    yield made
    made.close()


def qread(server):
    return launch("qmail-qread", env={"QMAILHOME": str(server.path)})


def test_an_empty_queue(server):
    done = qread(server)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_messages(server):
    server.queue(b"s@example.org", b"joe@localhost", b"far@example.net", text=b"Subject: one\n\n")
    server.queue(b"", b"joe", b"a b%\n@localhost", text=b"Subject: two\n\ntext\n")
    first, second = server.ask({"do": "list"})["messages"]
    done = qread(server)
    assert (done.returncode, done.stderr) == (0, b"")

    def head(message, sender):
        date = rfc822(message["time"]).removesuffix(b" -0000")
        assert re.fullmatch(rb"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d", date)
        return b"%b GMT  #%d  %d  <%b> \n" % (date, message["number"], message["bytes"], sender)

    assert done.stdout == (
        head(first, b"s@example.org")
        + b"\tlocal\tjoe@localhost\n\tremote\tfar@example.net\n"
        + head(second, b"")
        + b"\tlocal\tjoe@localhost\n\tlocal\ta_b_/@localhost\n"
    )


def test_done_and_bouncing(server):
    """One delivered, one failed, one that still waits."""
    number = server.queue(b"joe@localhost", b"joe@localhost", b"none@localhost", b"far@example.net")
    server.control("concurrencylocal", "10")
    server.hup()

    def two_are_done():
        recipients = server.ask({"do": "show", "number": number})["message"]["recipients"]
        return sum(recipient["done"] for recipient in recipients) == 2

    server.until(two_are_done, "two recipients")
    head, *recipients = qread(server).stdout.splitlines()
    assert head.endswith(b"  <joe@localhost>  bouncing")
    assert recipients == [
        b"  done\tlocal\tjoe@localhost",
        b"  done\tlocal\tnone@localhost",
        b"\tremote\tfar@example.net",
    ]


def test_nobody_to_ask(tmp_path):
    home = Server(tmp_path / "home")
    for name in ("qmail-qread", "qmail-qstat"):
        done = launch(name, env={"QMAILHOME": str(home.path)})
        assert done.returncode == 111
        assert done.stdout == b""
        assert done.stderr.startswith(b"%b: fatal: the queue service of " % name.encode())


def test_takes_no_arguments(server):
    done = launch("qmail-qread", "x", env={"QMAILHOME": str(server.path)})
    assert (done.returncode, done.stderr) == (100, b"qmail-qread: usage: qmail-qread\n")
