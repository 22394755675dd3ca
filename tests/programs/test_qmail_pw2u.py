"""qmail-pw2u as a process: options, files, exit codes; and that qmail-newu takes what it says."""

import os

import pytest
from launch import launch

UID = os.getuid() or 4321


@pytest.fixture
def home(tmp_path):
    for folder in ("users", "control", "alias", "joe"):
        (tmp_path / folder).mkdir()
    for folder in ("alias", "joe"):
        os.chown(tmp_path / folder, UID, -1)
    return tmp_path


def accounts(home):
    text = f"alias:x:{UID}:2108::{home}/alias:/bin/true\njoe:x:{UID}:100::{home}/joe:/bin/sh\ngone:x:{UID}:100::{home}/gone:\n"
    return text.encode()


def pw2u(home, *args, stdin=None):
    return launch("qmail-pw2u", *args, env={"QMAILHOME": str(home)}, stdin=accounts(home) if stdin is None else stdin)


def names(done):
    return [line.split(b":")[0] for line in done.stdout.splitlines()]


def test_accounts_become_lines_that_qmail_newu_takes(home):
    (home / "users" / "append").write_bytes(b"=x:joe:1:1:/x:::")
    done = pw2u(home)
    assert (done.returncode, done.stderr) == (0, b"")
    assert names(done) == [b"+", b"=alias", b"+alias-", b"=joe", b"+joe-", b"=x", b"."]
    (home / "users" / "assign").write_bytes(done.stdout)
    assert launch("qmail-newu", env={"QMAILHOME": str(home)}).returncode == 0


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-o"], [b"+", b"=alias", b"+alias-", b"=joe", b"+joe-", b"."]),
        (["-H"], [b"+", b"=alias", b"+alias-", b"=joe", b"+joe-", b"=gone", b"+gone-", b"."]),
        (["-hHo"], [b"+", b"=alias", b"+alias-", b"=joe", b"+joe-", b"."]),
        (["-C"], [b"+", b"=alias", b"=joe", b"."]),
        (["-c_"], [b"+", b"=alias", b"+alias_", b"=joe", b"+joe_", b"."]),
        (["-c", "_"], [b"+", b"=alias", b"+alias_", b"=joe", b"+joe_", b"."]),
        (["-Cc+", "--"], [b"+", b"=alias", b"+alias+", b"=joe", b"+joe+", b"."]),
        (["-u", "-U"], [b"+", b"=alias", b"+alias-", b"=joe", b"+joe-", b"."]),
    ],
)
def test_options(home, args, expected):
    done = pw2u(home, *args)
    assert (done.returncode, done.stderr) == (0, b"")
    assert names(done) == expected


def test_dash_slash(home):
    assert b":-/::\n" in pw2u(home, "-/").stdout
    assert b":-/::\n" not in pw2u(home).stdout


def test_stop_at_a_missing_home(home):
    done = pw2u(home, "-h")
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr == f"qmail-pw2u: fatal: unable to find home directory {home}/gone of user gone\n".encode()


def test_homes_of_others_are_left_out(home):
    os.chown(home / "joe", UID + 1, -1) if os.geteuid() == 0 else (home / "joe").rmdir()
    assert names(pw2u(home)) == [b"+", b"=alias", b"+alias-", b"."]


def test_files_in_users(home):
    (home / "users" / "include").write_bytes(b"alias\njoe\n")
    (home / "users" / "mailnames").write_bytes(b"joe:a:b\n")
    (home / "users" / "exclude").write_bytes(b"# nobody\n")
    (home / "users" / "subusers").write_bytes(b"sub:joe:pre:\n")
    assert names(pw2u(home, "-C")) == [b"+", b"=alias", b"=a", b"=b", b"=sub", b"."]
    (home / "users" / "subusers").write_bytes(b"sub:nobody:pre:\n")
    done = pw2u(home)
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr.startswith(b"qmail-pw2u: fatal: users/subusers line 1: nobody is no account")
    (home / "users" / "subusers").unlink()
    (home / "users" / "subusers").mkdir()
    assert pw2u(home).returncode == 111


def test_no_alias_user(home):
    done = pw2u(home, stdin=b"")
    assert (done.returncode, done.stdout, done.stderr) == (111, b"", b"qmail-pw2u: fatal: unable to find alias user\n")


def test_a_single_home_copies_users_append(home):
    (home / "control" / "mode").write_bytes(b"single\n")
    assert pw2u(home, stdin=b"").stdout == b".\n"
    (home / "users" / "append").write_bytes(b"=nina:nina:1:1:/nina:::\n")
    done = pw2u(home, stdin=b"")
    assert (done.returncode, done.stdout) == (0, b"=nina:nina:1:1:/nina:::\n.\n")


@pytest.mark.parametrize("args", [["-x"], ["-c"], ["-c:"], ["passwd"], ["-"], ["-o", "passwd"]])
def test_usage(home, args):
    done = pw2u(home, *args)
    assert (done.returncode, done.stdout) == (100, b"")
    assert done.stderr.startswith(b"qmail-pw2u: usage: qmail-pw2u [ -/ohHuUC ]")


def test_no_home(tmp_path):
    assert launch("qmail-pw2u", env={"QMAILHOME": str(tmp_path / "none")}).returncode == 111
