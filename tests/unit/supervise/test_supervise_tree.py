"""serve's core with trivial services: restarts, stages, signals, and no survivor when serve is killed.

Not tested here: how long the waits are in seconds (only that they grow), and a machine that has no memory left.
"""

import json
import os
import signal
import subprocess
import sys

import pytest

from quail.supervise import tree as module
from quail.supervise.log import LineLog
from quail.supervise.tree import AGAIN_AFTER, Member, Tree

LAUNCHER = os.path.join(os.path.dirname(__file__), "tree_launcher.py")
pytestmark = pytest.mark.timeout(120)


class Launched:
    def __init__(self, folder, *members, pass_fds=()):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, LAUNCHER, *members],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            pass_fds=pass_fds,
        )
        self.lines = []

    def until(self, *wanted):
        """Read on until all these lines have come."""
        missing = list(wanted)
        while missing:
            line = self.process.stderr.readline()
            assert line, f"ended before {missing}: {self.lines}"
            self.lines.append(line.rstrip("\n"))
            if self.lines[-1] in missing:
                missing.remove(self.lines[-1])

    def rest(self):
        self.lines += self.process.stderr.read().splitlines()
        return self.process.wait(60)

    def pids(self):
        return json.loads((self.folder / "run/pids.json").read_text())

    def signal(self, number):
        self.process.send_signal(number)


@pytest.fixture
def launch(tmp_path):
    launched = []

    def start(*members, **how):
        launched.append(Launched(tmp_path, *members, **how))
        return launched[-1]

    yield start
    for item in launched:
        if item.process.poll() is None:
            item.process.kill()
        item.process.wait()
        item.process.stderr.close()


def test_a_killed_service_is_started_again(launch):
    serve = launch("a:steady:0:60")
    serve.until("a: up", "started")
    before = serve.pids()
    assert before["serve"] == [serve.process.pid]
    os.kill(before["a"][0], signal.SIGKILL)
    serve.until("a was killed by signal 9; starting it again", "a: up")
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0
    assert serve.lines[-2:] == ["a: got SIGTERM", "stopped"]


def test_a_service_that_ends_is_started_again_and_again(launch):
    serve = launch("a:quitter:0:60", "b:steady:0:60")
    ended = "a ended with exit code 0; starting it again"
    serve.until(*[ended] * 4, "b: up")
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0


def test_what_a_service_gives_up_with_is_said(launch):
    serve = launch("a:malformed:0:60", "b:bug:0:60")
    serve.until(
        "a: fatal: control/me line 1: not a host name; correct it",
        "a ended with exit code 111; starting it again",
        "b: fatal: ValueError: a bug",
        "b ended with exit code 111; starting it again",
    )
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0


def test_stages_stop_one_after_another(launch):
    serve = launch("c:steady:2:60", "a:steady:0:60", "b:steady:1:60")
    serve.until("a: up", "b: up", "c: up", "started")
    serve.signal(signal.SIGINT)
    assert serve.rest() == 0
    assert [line for line in serve.lines if "SIGTERM" in line] == [f"{name}: got SIGTERM" for name in "abc"]


def test_who_does_not_stop_in_its_time_is_killed(launch):
    serve = launch("a:stubborn:0:0.05", "b:steady:1:60")
    serve.until("a: up", "b: up", "started")
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0
    assert serve.lines[-2:] == ["b: got SIGTERM", "stopped"]


def test_a_second_signal_leaves_no_grace(launch):
    serve = launch("a:steady:0:1000", "b:stubborn:1:1000")
    serve.until("a: up", "b: up", "started")
    serve.signal(signal.SIGINT)
    serve.until("a: got SIGTERM")
    serve.signal(signal.SIGINT)
    assert serve.rest() == 0
    assert serve.lines[-1] == "stopped"


def test_signals_are_passed_on_to_whom_they_are_for(launch):
    serve = launch("a:steady:0:60", "b:steady:1:60")
    serve.until("a: up", "b: up", "started")
    serve.signal(signal.SIGHUP)
    serve.until("a: got SIGHUP", "b: got SIGHUP")
    serve.signal(signal.SIGALRM)
    serve.until("a: got SIGALRM")
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0
    assert "b: got SIGALRM" not in serve.lines
    assert not any("starting it again" in line for line in serve.lines)


def test_when_serve_is_killed_its_services_know(launch):
    serve = launch("a:orphan:0:60", "b:orphan:0:60")
    serve.until("a: up", "b: up", "started")
    serve.process.kill()
    serve.rest()
    assert sorted(serve.lines[-2:]) == ["a: serve is gone", "b: serve is gone"]


def test_a_service_has_its_own_sockets_only(launch):
    serve = launch("a:sockets:0:60", "b:sockets:0:60")
    serve.until("a: ['a'] 1 0", "b: ['b'] 1 0")
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0


# In this process.


@pytest.fixture
def plain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    member = Member("a", lambda _: None, (), stage=0, grace=1.0, prefix="")
    log = LineLog()
    monkeypatch.setattr(LineLog, "lines", lambda _self, texts: lines.extend(texts))
    tree = Tree([member], {}, home=str(tmp_path), mode="single", log=log, nofile=(1024, 1024))
    yield tree, member, lines
    os.close(tree._life_read)
    os.close(tree._life_write)


@pytest.mark.parametrize(("status", "again"), [(111 << 8, 2.0), (0, 2.0), (signal.SIGKILL, AGAIN_AFTER)])
def test_what_gives_up_waits_longer_than_what_is_killed(plain, monkeypatch, status, again):
    tree, member, _ = plain
    monkeypatch.setattr(module.time, "monotonic", lambda: 1000.5)
    member.keeper.started(4242, 1000.0)
    monkeypatch.setattr(module, "reap", lambda: [(4242, status)])
    assert tree._ended() == [(member, status)]
    assert member.keeper.due == 1000.0 + again


def test_a_fork_that_fails_is_tried_again(plain, monkeypatch):
    """The machine may be out of processes for a moment: the mail system must not end of it."""
    tree, member, lines = plain

    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module.os, "fork", fork)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    tree._fork(member)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert member.keeper.pid == 0
    assert "Resource temporarily unavailable" in lines[0]
    wait = tree._next_start()
    assert wait is not None
    assert wait > 0


def test_pids_that_cannot_be_written_stop_nobody(plain):
    tree, _, lines = plain
    tree._write_pids()
    assert lines[0].startswith("warning: unable to write run/pids.json")


def test_services_inherit_nothing_that_serve_was_started_with(launch, tmp_path):
    """A script that starts serve may have files open: smtpd, taken over, must not find root's."""
    (tmp_path / "secret").write_text("root's")
    with open(tmp_path / "secret") as secret:
        serve = launch("a:files:0:60", pass_fds=[secret.fileno()])
        serve.until("a: []", "started")
    serve.signal(signal.SIGTERM)
    assert serve.rest() == 0


def test_all_end_with_a_vital_one(launch):
    """However it ends; the others are told, and may take their time."""
    serve = launch("a:steady:1:60", "vital:steady:0:60")
    serve.until("a: up", "vital: up", "started")
    os.kill(serve.pids()["vital"][0], signal.SIGKILL)
    assert serve.rest() == 0
    assert serve.lines[-3:] == ["a: got SIGTERM", "failed: vital was killed by signal 9", "stopped"]
    serve = launch("vital:quitter:0:60", "a:steady:1:60")
    assert serve.rest() == 0
    assert not any("failed" in line or "again" in line for line in serve.lines)
    assert serve.lines[-1] == "stopped"
