"""qmail-pw2u as a process: options, files, exit codes; and that qmail-newu takes what it says."""

import os
import subprocess
import sys

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


# Whole outputs. A stands for the account alias's uid, gid and home, J for joe's, G for those of gone, who has none.
CATCH_ALL = "+:alias:A:-::\n"
ALIAS = "=alias:alias:A:::\n+alias-:alias:A:-::\n"
JOE = "=joe:joe:J:::\n+joe-:joe:J:-::\n"
GONE = "=gone:gone:G:::\n+gone-:gone:G:-::\n"
SUB = "=sub:joe:J:-:pre:\n+sub-:joe:J:-:pre-:\n"


@pytest.mark.parametrize(
    ("args", "files", "text"),
    [
        ([], {}, CATCH_ALL + ALIAS + JOE),
        (["-o"], {}, CATCH_ALL + ALIAS + JOE),
        (["-H"], {}, CATCH_ALL + ALIAS + JOE + GONE),
        (["-Ho"], {}, CATCH_ALL + ALIAS + JOE),
        (["-C"], {}, CATCH_ALL + "=alias:alias:A:::\n=joe:joe:J:::\n"),
        (["-c+"], {}, CATCH_ALL + "=alias:alias:A:::\n+alias+:alias:A:-::\n=joe:joe:J:::\n+joe+:joe:J:-::\n"),
        (
            ["-/"],
            {"subusers": "sub:joe:pre:\n"},
            (CATCH_ALL + ALIAS + JOE + SUB).replace(":-:", ":-/:"),
        ),
        (["-C"], {"subusers": "sub:joe:pre:\n"}, CATCH_ALL + "=alias:alias:A:::\n=joe:joe:J:::\n=sub:joe:J:-:pre:\n"),
        ([], {"subusers": "sub:joe:pre:\n"}, CATCH_ALL + ALIAS + JOE + SUB),
        ([], {"subusers": "sub:joe::\n"}, CATCH_ALL + ALIAS + JOE + "=sub:joe:J:-::\n+sub-:joe:J:-:-:\n"),
        ([], {"exclude": "joe\n"}, CATCH_ALL + ALIAS),
        ([], {"exclude": "JOE \t\n#alias\n\n"}, CATCH_ALL + ALIAS),
        ([], {"include": "alias\n"}, CATCH_ALL + ALIAS),
        ([], {"include": "joe\nalias\ngone\n", "exclude": "joe\n"}, CATCH_ALL + ALIAS),
        (["-H"], {"include": "alias\ngone\n"}, CATCH_ALL + ALIAS + GONE),
        (
            [],
            {"mailnames": "joe:joe:Joe.Smith:\n"},
            CATCH_ALL + ALIAS + JOE + "=Joe.Smith:joe:J:::\n+Joe.Smith-:joe:J:-::\n",
        ),
        (["-C"], {"mailnames": "joe:j\njoe:k\n"}, CATCH_ALL + "=alias:alias:A:::\n=k:joe:J:::\n"),
        ([], {"mailnames": "joe:\n"}, CATCH_ALL + ALIAS),
        ([], {"mailnames": "alias:x\n"}, CATCH_ALL + "=x:alias:A:::\n+x-:alias:A:-::\n" + JOE),
        ([], {"append": "# copied: as it is\n.\nlast"}, CATCH_ALL + ALIAS + JOE + "# copied: as it is\n.\nlast\n"),
        ([], {"subusers": "sub:joe:pre:\n", "append": "=x:y\n"}, CATCH_ALL + ALIAS + JOE + SUB + "=x:y\n"),
    ],
)
def test_golden_outputs(home, args, files, text):
    for name, content in files.items():
        (home / "users" / name).write_text(content)
    about = {"A": f"{UID}:2108:{home}/alias", "J": f"{UID}:100:{home}/joe", "G": f"{UID}:100:{home}/gone"}
    for letter, words in about.items():
        text = text.replace(f":{letter}:", f":{words}:")
    done = pw2u(home, *args)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == text + ".\n"


@pytest.mark.parametrize("args", [[], ["-u"], ["-U"], ["-uU"], ["-Uu"]])
def test_capitals(home, args):
    done = pw2u(home, "-C", *args, stdin=accounts(home) + f"Cap:x:{UID}:100::{home}/joe:\n".encode())
    taken = args in (["-u"], ["-Uu"])
    assert (f"=Cap:Cap:{UID}:100:{home}/joe:::\n".encode() in done.stdout) == taken


def test_root_never_has_mail(home):
    done = pw2u(home, "-H", stdin=accounts(home) + b"root:x:0:0::/root:\ntoor:x:00:0::/root:\n")
    assert b"oo" not in b" ".join(names(done))


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"subusers": "sub:nobody:pre:\n"}, "users/subusers line 1: nobody is no account that gets mail"),
        ({"subusers": "sub:joe\n"}, "users/subusers line 1: is not sub:user:pre:"),
        ({"mailnames": "joe\n"}, "users/mailnames line 1: has no colon"),
        ({"include": "joe\r\n"}, "users/include line 1: ends in a carriage return"),
        ({"include": "joe\n"}, "unable to find alias user\n"),
        ({"exclude": "alias\n"}, "unable to find alias user\n"),
    ],
)
def test_golden_errors(home, files, text):
    for name, content in files.items():
        (home / "users" / name).write_text(content)
    done = pw2u(home)
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr.decode().startswith(f"qmail-pw2u: fatal: {text}")


@pytest.mark.parametrize("name", ["include", "exclude", "mailnames", "subusers", "append"])
def test_a_file_that_cannot_be_read(home, name):
    (home / "users" / name).mkdir()
    done = pw2u(home)
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr.decode() == f"qmail-pw2u: fatal: users/{name}: cannot be read: Is a directory\n"


def test_a_home_that_leads_nowhere_is_not_there(home):
    line = f"loop:x:{UID}:100::{home}/loop:\n".encode()
    (home / "loop").symlink_to("loop")
    assert b"=loop" not in names(pw2u(home, stdin=accounts(home) + line))
    assert b"=loop" in names(pw2u(home, "-H", stdin=accounts(home) + line))


def test_output_that_nobody_takes(home):
    with open("/dev/full", "wb") as full:
        words = [sys.executable, "-m", "quail.programs.qmail.qmail_pw2u"]
        done = subprocess.run(words, input=accounts(home), stdout=full, stderr=subprocess.PIPE, check=False,
                              env={"QMAILHOME": str(home)})  # fmt: skip
    assert (done.returncode, done.stderr) == (111, b"qmail-pw2u: fatal: unable to write output: out of disk space\n")


@pytest.mark.parametrize("args", [["-x"], ["-c"], ["-c:"], ["passwd"], ["-"], ["-o", "passwd"]])
def test_usage(home, args):
    done = pw2u(home, *args)
    assert (done.returncode, done.stdout) == (100, b"")
    assert done.stderr.startswith(b"qmail-pw2u: usage: qmail-pw2u [ -/ohHuUC ]")


def test_no_home(tmp_path):
    assert launch("qmail-pw2u", env={"QMAILHOME": str(tmp_path / "none")}).returncode == 111
