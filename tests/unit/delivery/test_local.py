"""What the table of tests/system/dotqmail_cases.py can't bring about: bugs, and a machine without processes."""

import os
import socket
import subprocess

import pytest

from quail.delivery import children as children_module
from quail.delivery import local, program
from quail.delivery.batch import Delivery
from quail.delivery.children import Children
from quail.delivery.dotqmail import Plans
from quail.delivery.message import Message
from quail.delivery.order import Order
from quail.delivery.program import OrphanedError, Runner
from quail.queue.handover import Reply

BODY = b"Subject: hello\n\nbody\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the delivery leaves us is undone
    tmp_path.chmod(0o700)
    return tmp_path


class Runs:
    """Programs that need no process."""

    def __init__(self, outcome=True):
        self.outcome = outcome

    def run(self, command, message, environment, where):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def order(home, message=None):
    return Order(b"u", str(home), b"u", b"", b"", b"ex.org", b"s@x.y", message or Message(BODY))


def report(home, default, *, runner=None, forward=None, message=None):
    log = []
    surroundings = local.Surroundings(
        runner=runner or Runner(),
        environment={},
        forward=forward or (lambda *_: Reply(b"K", b"17")),
        log=log.append,
    )
    return local.report(order(home, message), Plans(default), surroundings), log


def test_success(home):
    assert report(home, b"|x\n&a@b\n", runner=Runs()) == ((0, b"did 0+1+1\nqp 17\n"), [])


def test_a_bug_puts_the_message_off(home):
    found, log = report(home, b"|x\n", runner=Runs(ZeroDivisionError("planted")))
    assert found == (111, local.INTERNAL)
    assert "planted" in log[0]


def test_a_bug_on_the_way_to_the_queue(home):
    def forward(*_):
        raise ZeroDivisionError("planted")

    assert report(home, b"&a@b\n", forward=forward)[0] == (111, local.INTERNAL)


def test_without_anybody_to_report_to(home):
    assert report(home, b"|x\n", runner=Runs(OrphanedError())) == ((111, b""), [])


@pytest.mark.parametrize("line", [b"./box", b"./M/", b"&a@b", b"|true"])
def test_a_message_that_cannot_be_read(home, line):
    """The others do not notice; whatever was written of it is taken back."""
    (home / "M").mkdir()
    for folder in ("tmp", "new", "cur"):
        (home / "M" / folder).mkdir()
    fd = os.memfd_create("message")
    os.write(fd, b"0123456789")
    message = Message(b"A: b\n\n", fd)
    os.ftruncate(fd, 4)
    forward = lambda sender, to, chunks: Reply(b"K", b"%d" % len(b"".join(chunks)))  # noqa: E731
    found, log = report(home, line + b"\n", forward=forward, message=message)
    assert found == (111, local.UNREADABLE)
    assert "ends at 4 of 10" in log[0]
    assert not (home / "box").exists() or (home / "box").read_bytes() == b""
    assert list((home / "M/new").iterdir()) == list((home / "M/tmp").iterdir()) == []
    os.close(fd)


def test_a_command_that_is_too_long(home):
    text = b"Unable to run /bin/sh: argument list too long. (#4.3.0)\n"
    assert report(home, b"|: " + b"x" * 200_000)[0] == (111, text)


def test_no_shell(home, monkeypatch):
    monkeypatch.setattr(program, "_SHELL", str(home / "none"))
    text = b"Unable to run /bin/sh: file does not exist. (#4.3.0)\n"
    assert report(home, b"|true\n")[0] == (111, text)


@pytest.mark.parametrize("failing", ["fork", "pidfd_open", "pipe"])
def test_no_process_for_a_child(home, monkeypatch, failing):
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair()
    children = Children(ours, lambda *_: os._exit(0))
    delivery = Delivery(1, order(home))
    children.give([delivery])

    def refuse(*_):
        raise OSError(11, "Resource temporarily unavailable")

    born = subprocess.Popen(["sleep", "1000"])
    monkeypatch.setattr(os, "fork", lambda: born.pid)
    monkeypatch.setattr(os, failing, refuse)
    assert children.wait() == ([delivery], [])
    assert (delivery.letter, delivery.text) == (b"Z", children_module.CANNOT_FORK)
    assert not children.busy
    if failing == "pidfd_open":  # who can't be watched has been killed, and is no zombie
        with pytest.raises(ProcessLookupError):
            os.kill(born.pid, 0)
    born.kill()
    born.wait()
    for end in (ours, theirs):
        end.close()
    for fd in children._log or ():
        os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before
