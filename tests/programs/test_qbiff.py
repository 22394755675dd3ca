"""qbiff as a process, with a utmp of our own and terminals that are real: who is told, and what."""

import os
import select
import subprocess
import sys
import tty

import pytest
from tests.programs.launch import launch

from quail.programs.qmail import qbiff

MESSAGE = b"From: x\nSubject: hello there\n\nfirst line\nsecond line\n"
ALERT = b"\r\n\a*** TO <joe-list> FROM <s@x>\r\n    hello there//first line/second line/\r\n"
WHO = {"LOCAL": "joe-list", "SENDER": "s@x"}
USER_PROCESS, DEAD_PROCESS = 7, 8


class Terminal:
    """A pseudo terminal in raw mode, so that what is written comes out as it is."""

    def __init__(self, mode=0o720):
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.name = self.path.removeprefix("/dev/")
        os.chmod(self.path, mode)

    def told(self):
        """What has come, without waiting: for after the program's end."""
        found = b""
        while select.select([self.master], [], [], 0)[0]:
            found += os.read(self.master, 4096)
        return found

    def fill(self):
        """Until it takes no more."""
        os.set_blocking(self._slave, False)
        try:
            while True:
                os.write(self._slave, b"x" * 4096)
        except BlockingIOError:
            pass

    def close(self):
        os.close(self._slave)
        os.close(self.master)


@pytest.fixture
def terminals():
    made = [Terminal(), Terminal()]
    yield made
    for terminal in made:
        terminal.close()


def entry(name, kind=USER_PROCESS):
    """One record as utmp(5) has it: type, process, line, and what we have no use for."""
    raw = (
        kind.to_bytes(2, sys.byteorder) + b"\0\0" + (1).to_bytes(4, sys.byteorder) + os.fsencode(name).ljust(32, b"\0")
    )
    return raw.ljust(400 if os.uname().machine == "aarch64" else 384, b"\1")


CODE = """
import sys
from quail.programs.qmail import qbiff
qbiff._UTMP, qbiff._DEVICES = sys.argv[1:3]
sys.argv[1:] = []
qbiff.main()
"""


def biff(tmp_path, utmp, message=MESSAGE, *, devices="/dev", environment=WHO):
    if utmp is not None:
        (tmp_path / "utmp").write_bytes(utmp)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "utmp"), str(devices)],
        input=message, capture_output=True, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_terminal_that_wants_it(tmp_path, terminals):
    """Once, though one may be in the file twice."""
    first, second = terminals
    biff(tmp_path, entry("nothing") + entry(first.name) + entry(second.name) + entry(first.name))
    assert first.told() == second.told() == ALERT


@pytest.mark.parametrize("mode", [0o620, 0o600, 0o611])
def test_a_terminal_that_does_not_want_it(tmp_path, terminals, mode):
    """biff n: its owner may not execute it."""
    os.chmod(terminals[0].path, mode)
    biff(tmp_path, entry(terminals[0].name) + entry(terminals[1].name))
    assert terminals[0].told() == b""
    assert terminals[1].told() == ALERT


def test_a_terminal_where_nobody_is(tmp_path, terminals):
    biff(tmp_path, entry(terminals[0].name, DEAD_PROCESS) + entry(terminals[1].name))
    assert terminals[0].told() == b""
    assert terminals[1].told() == ALERT


def test_a_terminal_of_somebody_else(tmp_path, terminals, monkeypatch):
    """Its owner is asked of the open file."""
    first, second = terminals
    (tmp_path / "utmp").write_bytes(entry(first.name) + entry(second.name))
    monkeypatch.setattr(qbiff, "_UTMP", str(tmp_path / "utmp"))
    real = os.fstat

    def fstat(fd):
        status = real(fd)
        if status.st_rdev == os.stat(first.path).st_rdev:
            return os.stat_result((*status[:4], os.getuid() + 1, *status[5:]))
        return status

    monkeypatch.setattr(os, "fstat", fstat)
    for name in qbiff._terminals():
        qbiff._write(f"/dev/{name}", ALERT)
    assert first.told() == b""
    assert second.told() == ALERT


def test_a_terminal_that_takes_nothing(tmp_path, terminals):
    """Its user has stopped it: nobody waits."""
    terminals[0].fill()
    biff(tmp_path, entry(terminals[0].name) + entry(terminals[1].name))
    assert terminals[1].told() == ALERT


@pytest.mark.parametrize("name", ["../victim", "/victim", "victim", "link", "pipe", "folder", "", "x" * 32])
def test_names_that_lead_elsewhere(tmp_path, name):
    """Who can write utmp can't make us write files."""
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "folder").mkdir()
    for victim in (tmp_path / "victim", devices / "victim"):
        victim.write_text("whole")
        victim.chmod(0o700)
    (devices / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(devices / "pipe", 0o700)
    biff(tmp_path, entry(name), devices=devices)
    assert (tmp_path / "victim").read_text() == (devices / "victim").read_text() == "whole"


@pytest.mark.parametrize("utmp", [None, b"", b"short", entry("x")[:-1]])
def test_a_utmp_without_use(tmp_path, utmp):
    biff(tmp_path, utmp)


def test_the_rest_of_a_utmp_that_is_cut_off(tmp_path, terminals):
    biff(tmp_path, entry(terminals[0].name) + entry(terminals[1].name)[:100])
    assert terminals[0].told() == ALERT
    assert terminals[1].told() == b""


@pytest.mark.parametrize("missing", ["LOCAL", "SENDER"])
def test_outside_of_a_delivery(tmp_path, terminals, missing):
    biff(
        tmp_path, entry(terminals[0].name), environment={name: value for name, value in WHO.items() if name != missing}
    )
    assert terminals[0].told() == b""


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"", b""),
        (b"\n", b"/"),
        (b"Subject: x\n", b"x/"),
        (b"SUBJECT:\n folded\n\nbody\n", b"folded//body/"),
        (b"Subject: one\nTo: x\nSubject: two\n\n", b"one/two//"),
        (b"To: x\n\nbody", b"/body"),
        (b"no header\n", b"/no header/"),
        (b"Subject: \x1b[2J\xe9\t\n\n\r\n", b"_[2J__//_/"),
        (b"Subject: x\n\n" + b"y" * 200, b"x//" + b"y" * 71),
        (b"Subject: " + b"s" * 200 + b"\n\nbody\n", b"s" * 74),
        (b"Subject: x\n\n" + b"0123456789abcde\n" * 200_000, (b"x//" + b"0123456789abcde/" * 5)[:74]),
    ],
)
def test_what_is_told(tmp_path, terminals, message, text):
    biff(tmp_path, entry(terminals[0].name), message)
    assert terminals[0].told() == b"\r\n\a*** TO <joe-list> FROM <s@x>\r\n    " + text + b"\r\n"


def test_addresses_that_are_not_for_terminals(tmp_path, terminals):
    biff(tmp_path, entry(terminals[0].name), b"", environment={b"LOCAL": b"a\x1b]0;x\ab", b"SENDER": b"\xff\n\r"})
    assert terminals[0].told() == b"\r\n\a*** TO <a_]0;x_b> FROM <___>\r\n    \r\n"


def test_it_always_ends_well():
    """Whatever is wrong: with the machine's own utmp, if it has one, and nobody's message."""
    assert launch("qbiff", "argument").returncode == 0
    assert launch("qbiff", stdin=b"x" * 10, env=WHO | {"LOCAL": ""}).returncode == 0


def test_a_link_to_a_terminal(tmp_path, terminals):
    """Who can make one can't choose what we open."""
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "link").symlink_to(terminals[0].path)
    biff(tmp_path, entry("link"), devices=devices)
    assert terminals[0].told() == b""
