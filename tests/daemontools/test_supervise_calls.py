"""What each program of the supervise family says when it is called wrongly, or for nothing."""

import pytest
from tests.programs.launch import launch

HELP = b"svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill\n"


@pytest.mark.parametrize("args", [(), ("a", "b")])
def test_supervise(args):
    done = launch("supervise", *args)
    assert (done.returncode, done.stdout, done.stderr) == (100, b"", b"supervise: usage: supervise dir\n")


def test_svscan(tmp_path):
    done = launch("svscan", "missing", cwd=tmp_path)
    text = b"svscan: fatal: unable to chdir to missing: file does not exist\n"
    assert (done.returncode, done.stdout, done.stderr) == (111, b"", text)


def test_svc(tmp_path):
    (tmp_path / "s").mkdir()
    done = launch("svc", "-uy", "s", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (100, b"svc: illegal option -- y\n" + HELP)
    done = launch("svc", "-u", "s", "missing", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        b"svc: warning: unable to control s: file does not exist",
        b"svc: warning: unable to chdir to missing: file does not exist",
    ]


def test_svok(tmp_path):
    (tmp_path / "s").mkdir()
    assert launch("svok", "s", cwd=tmp_path).returncode == 100
    done = launch("svok", "missing", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (111, b"svok: fatal: unable to chdir to missing: file does not exist\n")
    assert launch("svok").stderr == b"svok: usage: svok dir\n"


def test_svstat(tmp_path):
    (tmp_path / "s").mkdir()
    done = launch("svstat", "s", "missing", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines() == [
        b"s: unable to open supervise/ok: file does not exist",
        b"missing: unable to chdir: file does not exist",
    ]
