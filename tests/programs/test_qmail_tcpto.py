"""qmail-tcpto and qmail-tcpok as processes."""

import re
import time

import pytest
from launch import launch

from quail.cli.init_single import init_single
from quail.storage.tcpto import PATH, Tcpto


@pytest.fixture
def home(tmp_path):
    init_single(str(tmp_path / "home"), name="joe", smtp_port=0)
    return tmp_path / "home"


def test_shows_and_forgets(home):
    env = {"QMAILHOME": str(home)}
    done = launch("qmail-tcpto", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    table = Tcpto.open(str(home / PATH))
    now = time.time()
    for ip in ("192.0.2.1", "2001:db8::1"):
        table.timed_out(ip, now - 500)
    table.timed_out("192.0.2.1", now - 300)
    done = launch("qmail-tcpto", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = sorted(done.stdout.decode().splitlines())
    assert re.fullmatch(r"192\.0\.2\.1 timed out 3\d\d seconds ago; # recent timeouts: 2", lines[0])
    assert re.fullmatch(r"2001:db8::1 timed out [56]\d\d seconds ago; # recent timeouts: 1", lines[1])
    done = launch("qmail-tcpok", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(table.entries(now)) == []
    assert launch("qmail-tcpto", env=env).stdout == b""
    table.close()


@pytest.mark.parametrize("name", ["qmail-tcpto", "qmail-tcpok"])
def test_what_can_go_wrong(home, tmp_path, name):
    done = launch(name, "x", env={"QMAILHOME": str(home)})
    assert (done.returncode, done.stderr) == (100, f"{name}: usage: {name}\n".encode())
    (home / PATH).unlink()
    done = launch(name, env={"QMAILHOME": str(home)})
    assert done.returncode == 111
    assert done.stderr == f"{name}: fatal: unable to open {PATH}: file does not exist\n".encode()
    done = launch(name, env={"QMAILHOME": str(tmp_path / "none")})
    assert done.returncode == 111
    (home / PATH).write_bytes(b"x")
    done = launch(name, env={"QMAILHOME": str(home)})
    assert (done.returncode, done.stderr) == (111, f"{name}: fatal: {PATH} is no table of this version\n".encode())
