"""qmail-getpw as a process: what it prints, and each of its exit codes. What the name service says is the test's own."""

import os
import subprocess
import sys

import pytest
from launch import launch

UID = os.getuid() or 4321
# The program as it is, on a machine whose accounts are given as Python text.
ELSEWHERE = """
import errno, os, sys
from quail.users import nss
from quail.users.nss import Entry
from quail.errors import TemporaryError

def by_name(name):
    answer = ACCOUNTS.get(name)
    if isinstance(answer, int):
        def failing(*_):
            return answer
        return nss_by_name(name, getpwnam_r=failing)
    return answer and Entry(name, *answer)

nss_by_name, nss.by_name = nss.by_name, by_name
ACCOUNTS = eval(sys.argv.pop(1))
from quail.programs.qmail.qmail_getpw import main
main()
"""

SICK = """
import errno, os
real = os.stat
def stat(path, **more):
    if path == b"/sick":
        raise OSError(errno.EIO, "sick")
    return real(path, **more)
os.stat = stat
"""


def getpw(accounts, *args):
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, repr(accounts), *args], capture_output=True, check=False, timeout=60
    )


@pytest.fixture
def home(tmp_path):
    (tmp_path / "joe").mkdir()
    os.chown(tmp_path / "joe", UID, -1)
    return os.fsencode(tmp_path / "joe")


@pytest.fixture
def accounts(home):
    return {b"joe": (UID, 100, home), b"alias": (7790, 2108, b"/var/qmail/alias")}


@pytest.mark.parametrize(
    ("local", "dash", "ext"), [("joe", b"", b""), ("JOE", b"", b""), ("joe-", b"-", b""), ("Joe-A.b-C", b"-", b"A.b-C")]
)
def test_a_user(accounts, home, local, dash, ext):
    done = getpw(accounts, local)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"joe\0%d\x00100\0%b\0%b\0%b\0" % (UID, home, dash, ext)


@pytest.mark.parametrize("local", ["nobody", "Joe.X", "qmailq", "-", "", "\xe4\xf6"])
def test_nobody_is_alias(accounts, local):
    done = getpw(accounts, local)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"alias\x007790\x002108\0/var/qmail/alias\0-\0%b\0" % os.fsencode(local)


def test_further_arguments_do_not_count(accounts):
    assert getpw(accounts, "joe", "nobody").stdout.startswith(b"joe\0")


def test_100_called_wrongly():
    done = launch("qmail-getpw")
    assert (done.returncode, done.stdout, done.stderr) == (100, b"", b"qmail-getpw: usage: qmail-getpw local\n")


def test_115_a_home_that_cannot_be_looked_at(accounts):
    words = [sys.executable, "-c", SICK + ELSEWHERE, repr({**accounts, b"joe": (UID, 100, b"/sick")}), "joe-x"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (115, b"")
    text = b"qmail-getpw: fatal: unable to look at home directory /sick of user joe: input/output error\n"
    assert done.stderr == text


def test_116_no_alias(accounts):
    del accounts[b"alias"]
    done = getpw(accounts, "nobody")
    assert (done.returncode, done.stdout, done.stderr) == (116, b"", b"qmail-getpw: fatal: unable to find alias user\n")
    assert getpw(accounts, "joe").returncode == 0


@pytest.mark.parametrize("code", ["ETXTBSY", "EAGAIN", "ECONNREFUSED", "EIO", "EMFILE"])
def test_118_the_name_service_cannot_tell(accounts, code):
    import errno

    done = getpw({**accounts, b"joe": getattr(errno, code)}, "joe-x")
    assert (done.returncode, done.stdout) == (118, b"")
    assert done.stderr.startswith(b"qmail-getpw: fatal: unable to look up account joe: ")


@pytest.mark.parametrize("code", ["ENOENT", "ESRCH", "EBADF", "EPERM"])
def test_an_error_that_means_not_found(accounts, code):
    import errno

    assert getpw({**accounts, b"joe": getattr(errno, code)}, "joe").stdout.startswith(b"alias\0")


def test_on_this_machine():
    done = launch("qmail-getpw", "root")  # root gets no mail; whether there is an account alias is the machine's affair
    assert done.returncode in (0, 116)
    assert not done.stdout.startswith(b"root\0")
