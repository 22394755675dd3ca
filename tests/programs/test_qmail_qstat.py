"""qmail-qstat, whose two lines scripts have read for decades."""

import pytest
from tests.programs.launch import launch
from tests.system.harness import Server


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "home", concurrencylocal="0").start()
    yield made
    made.close()


def qstat(server):
    done = launch("qmail-qstat", env={"QMAILHOME": str(server.path)})
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_counts(server):
    assert qstat(server) == b"messages in queue: 0\nmessages in queue but not yet preprocessed: 0\n"
    for _ in range(3):
        last = server.queue(b"", b"joe@localhost", b"joe@localhost")
    assert qstat(server) == b"messages in queue: 3\nmessages in queue but not yet preprocessed: 0\n"
    assert server.quail("queue", "remove", str(last)).returncode == 0
    server.end(last)
    assert qstat(server) == b"messages in queue: 2\nmessages in queue but not yet preprocessed: 0\n"


def test_takes_no_arguments(server):
    done = launch("qmail-qstat", "x", env={"QMAILHOME": str(server.path)})
    assert (done.returncode, done.stderr) == (100, b"qmail-qstat: usage: qmail-qstat\n")
