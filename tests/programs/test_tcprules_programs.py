"""tcprules and tcprulescheck as processes. Output and exit codes as observed with Debian's ucspi-tcp 0.88-7."""

import hashlib
import os

import pytest
from launch import launch

RULES = b'127.:allow,RELAYCLIENT="",X=/y/\n1.2.3.4:deny,A="b"\n=.example.org:allow,N="\xe9"\ninfo@127.0.0.9:deny\n'


def compiled(tmp_path, text):
    return launch("tcprules", "rules.cdb", "rules.tmp", stdin=text, cwd=tmp_path)


def said(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "args", "usage"),
    [
        ("tcprules", (), b"tcprules: usage: tcprules rules.cdb rules.tmp\n"),
        ("tcprules", ("a",), b"tcprules: usage: tcprules rules.cdb rules.tmp\n"),
        ("tcprulescheck", (), b"tcprulescheck: usage: tcprulescheck rules.cdb\n"),
    ],
)
def test_usage(program, args, usage):
    assert said(launch(program, *args)) == (100, b"", usage)


def test_compiles(tmp_path):
    assert said(compiled(tmp_path, b"1.2.3.4:deny\nno colon\n")) == (0, b"", b"")
    assert os.listdir(tmp_path) == ["rules.cdb"]
    assert (tmp_path / "rules.cdb").stat().st_mode & 0o777 == 0o644 & ~_umask()
    digest = hashlib.sha256((tmp_path / "rules.cdb").read_bytes()).hexdigest()
    assert digest == "d5a60ae0956f0497b3318c3e718b95fdc40acf58d6dc5e995ebfbed0384a876c"


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_further_arguments_are_ignored(tmp_path):
    assert said(launch("tcprules", "a.cdb", "a.tmp", "more", cwd=tmp_path)) == (0, b"", b"")
    assert said(launch("tcprulescheck", "a.cdb", "more", cwd=tmp_path)) == (0, b"default:\nallow connection\n", b"")


def test_a_bad_line_leaves_the_old_file(tmp_path):
    (tmp_path / "rules.cdb").write_bytes(b"old")
    text = b"1.2.3.4:allow\n1.2:bad\xff \t\n"
    assert said(compiled(tmp_path, text)) == (100, b"", b"tcprules: fatal: unable to parse this line: 1.2:bad\xff\n")
    assert (tmp_path / "rules.cdb").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("path", "tmp", "text"),
    [
        ("rules.cdb", "none/tmp", b"unable to create none/tmp: file does not exist"),
        ("rules.cdb", ".", b"unable to create .: is a directory"),
        ("rules.cdb", "/dev/full", b"unable to write to /dev/full: out of disk space"),
        ("none/rules.cdb", "tmp", b"unable to move tmp to none/rules.cdb: file does not exist"),
    ],
)
def test_what_cannot_be_written(tmp_path, path, tmp, text):
    expected = (111, b"", b"tcprules: fatal: " + text + b"\n")
    assert said(launch("tcprules", path, tmp, stdin=b":allow\n", cwd=tmp_path)) == expected


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, b"default:\nallow connection\n"),
        (
            {"TCPREMOTEIP": "127.0.0.1"},
            b"rule 127.:\nset environment variable RELAYCLIENT=\nset environment variable X=y\nallow connection\n",
        ),
        ({"TCPREMOTEIP": "1.2.3.4", "TCPREMOTEHOST": "a.example.org"}, b"rule 1.2.3.4:\ndeny connection\n"),
        (
            {"TCPREMOTEHOST": "a.example.org"},
            b"rule =.example.org:\nset environment variable N=\xe9\nallow connection\n",
        ),
        ({"TCPREMOTEIP": "127.0.0.9", "TCPREMOTEINFO": "info"}, b"rule info@127.0.0.9:\ndeny connection\n"),
        ({"TCP6REMOTEIP": "127.0.0.1"}, b"default:\nallow connection\n"),
    ],
)
def test_check(tmp_path, env, expected):
    assert said(compiled(tmp_path, RULES)) == (0, b"", b"")
    assert said(launch("tcprulescheck", "rules.cdb", env=env, cwd=tmp_path)) == (0, expected, b"")


@pytest.mark.parametrize(
    ("name", "text"),
    [("none", b"none: file does not exist"), (".", b".: is a directory"), ("short", b"short: protocol error")],
)
def test_check_what_cannot_be_read(tmp_path, name, text):
    (tmp_path / "short").write_bytes(b"hi\n")
    expected = (111, b"", b"tcprulescheck: fatal: unable to read " + text + b"\n")
    assert said(launch("tcprulescheck", name, cwd=tmp_path)) == expected
