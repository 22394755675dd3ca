"""qmail-newu as a process: words, exit codes, and that the old users/cdb stays until the new one is whole."""

import fcntl
import os
import subprocess
import sys

import pytest
from launch import launch

from quail.cdb.reader import Reader

GOOD = b"=joe:joe:1001:100:/home/joe:::\n+joe-:joe:1001:100:/home/joe:-::\n.\n"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "assign").write_bytes(GOOD)
    return tmp_path


def newu(home, *args):
    return launch("qmail-newu", *args, env={"QMAILHOME": str(home)})


def test_makes_users_cdb(home):
    done = newu(home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(Reader((home / "users" / "cdb").read_bytes()).items()) == [
        (b"!joe\0", b"joe\x001001\x00100\0/home/joe\0\0"),
        (b"!joe-", b"joe\x001001\x00100\0/home/joe\0-\0"),
        (b"", b"-"),
    ]
    assert (home / "users" / "cdb").stat().st_mode & 0o777 == 0o644
    assert not (home / "users" / "cdb.tmp").exists()


def test_replaces_the_old_one_and_a_left_over(home):
    newu(home)
    before = (home / "users" / "cdb").stat().st_ino
    (home / "users" / "cdb.tmp").write_bytes(b"left over" * 1000)
    (home / "users" / "assign").write_bytes(b".\n")
    assert newu(home, "ignored").returncode == 0
    assert (home / "users" / "cdb").stat().st_ino != before
    assert list(Reader((home / "users" / "cdb").read_bytes()).items()) == [(b"", b"")]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (GOOD[:-2], b"users/assign line 2: the file ends without"),
        (b"=joe:joe:1:1:/h::\n.\n", b"users/assign line 1: has 6 colons, not 7"),
        (b"=joe:joe:1:1:/h:::\n:x:1:1:/h::::\n.\n", b"users/assign line 2: starts with a colon"),
        (b"=joe:joe:1:1:/h:::\n\n.\n", b"users/assign line 2: is empty"),
        (b"=joe:joe:1:1:/h\0:::\n.\n", b"users/assign line 1: has a NUL byte"),
        (b"", b"users/assign: the file ends without"),
    ],
)
def test_bad_format(home, text, detail):
    newu(home)
    before = (home / "users" / "cdb").read_bytes()
    (home / "users" / "assign").write_bytes(text)
    done = newu(home)
    assert done.returncode == 111
    first, second, rest = done.stderr.split(b"\n")
    assert first == b"qmail-newu: fatal: bad format in users/assign"
    assert second.startswith(b"qmail-newu: " + detail)
    assert not rest
    assert (home / "users" / "cdb").read_bytes() == before


def test_nothing_to_read(home):
    (home / "users" / "assign").unlink()
    done = newu(home)
    assert done.returncode == 111
    assert done.stderr == b"qmail-newu: fatal: unable to open users/assign\nqmail-newu: file does not exist\n"
    (home / "users" / "assign").mkdir()
    done = newu(home)
    assert done.returncode == 111
    assert done.stderr == b"qmail-newu: fatal: unable to read users/assign\nqmail-newu: is a directory\n"


def test_no_home(tmp_path):
    done = newu(tmp_path / "none")
    assert done.returncode == 111
    assert done.stderr == b"qmail-newu: fatal: unable to chdir\nqmail-newu: file does not exist\n"


def test_nowhere_to_write(home):
    (home / "users" / "cdb.tmp").mkdir()
    done = newu(home)
    assert done.returncode == 111
    assert done.stderr == b"qmail-newu: fatal: unable to open users/cdb.tmp\nqmail-newu: is a directory\n"
    (home / "users" / "cdb.tmp").rmdir()
    (home / "users" / "cdb").mkdir()
    done = newu(home)
    assert done.returncode == 111
    text = b"qmail-newu: fatal: unable to move users/cdb.tmp to users/cdb\nqmail-newu: is a directory\n"
    assert done.stderr == text


def test_a_full_disk(home):
    os.symlink("/dev/full", home / "users" / "cdb.tmp")
    done = newu(home)
    assert done.returncode == 111
    assert done.stderr == b"qmail-newu: fatal: unable to write users/cdb.tmp\nqmail-newu: out of disk space\n"
    assert not (home / "users" / "cdb").exists()


def test_waits_for_whoever_changes_the_files(home):
    with open(home / "users" / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = "from quail.programs.qmail.qmail_newu import main; main()"
        process = subprocess.Popen([sys.executable, "-c", code], env={"QMAILHOME": str(home), "PATH": "/usr/bin"})
        (home / "users" / "assign").write_bytes(b"=sue:sue:1:1:/h:::\n.\n")
    assert process.wait(60) == 0
    assert Reader((home / "users" / "cdb").read_bytes()).get(b"!sue\0") is not None
