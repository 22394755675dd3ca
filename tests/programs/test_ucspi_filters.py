"""addcr, delcr, argv0, fixcrio, recordio and rblsmtpd as processes. As observed with Debian's ucspi-tcp 0.88-7."""

import os
import re
import subprocess
import sys

import pytest
from launch import launch, module

TEXT = b"a\nb\r\nc\n\n\r\r\n\r"


def said(done):
    return done.returncode, done.stdout, done.stderr


def test_filters():
    assert said(launch("addcr", "x", stdin=TEXT)) == (0, b"a\r\nb\r\r\nc\r\n\r\n\r\r\r\n\r", b"")
    assert said(launch("delcr", stdin=TEXT)) == (0, b"a\nb\nc\n\n\r\n\r", b"")


def test_argv0():
    assert said(launch("argv0", "sh", "foo", "-c", 'echo "$0"; exit 7')) == (7, b"foo\n", b"")
    usage = b"argv0: usage: argv0 realname program [ arg ... ]\n"
    assert said(launch("argv0", "sh")) == (100, b"", usage)
    assert said(launch("argv0", "sh", "")) == (100, b"", usage)
    missing = b"argv0: fatal: unable to run nonexistent: file does not exist\n"
    assert said(launch("argv0", "nonexistent", "a")) == (111, b"", missing)


def test_fixcrio():
    assert said(launch("fixcrio", "cat", "-v", stdin=TEXT)) == (0, b"a^M\r\nb^M\r\nc^M\r\n^M\r\n^M^M\r\n^M", b"")
    assert said(launch("fixcrio", "sh", "-c", "echo x; exit 3")) == (3, b"x\r\n", b"")
    assert said(launch("fixcrio")) == (100, b"", b"fixcrio: usage: fixcrio program [ arg ... ]\n")


def test_recordio():
    code, out, log = said(launch("recordio", "sh", "-c", "echo $$; cat; exit 3", stdin=b"x\ny"))
    pid, *_ = out.split(b"\n")
    assert (code, out) == (3, pid + b"\nx\ny")
    lines = log.splitlines()
    assert [line for line in lines if b" < " in line] == [pid + rest for rest in (b" < x ", b" < y+", b" < [EOF]")]
    sent = b"".join(re.findall(rb"(?m)^%b > (.*?[ +]|\[EOF\])$" % pid, log))
    assert sent.replace(b"+", b"") == pid + b" x y[EOF]"
    assert said(launch("recordio")) == (100, b"", b"recordio: usage: recordio program [ arg ... ]\n")


@pytest.mark.parametrize("wrapper", ["recordio", "fixcrio"])
def test_a_program_that_reads_no_more_is_heard_all_the_same(tmp_path, wrapper):
    os.mkfifo(tmp_path / "go")
    argv = [sys.executable, "-m", module(wrapper), "sh", "-c", "exec <&-; echo closed; read x < go; echo said"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, **pipes, cwd=tmp_path) as process:
        assert process.stdout.readline().rstrip() == b"closed"
        for _ in range(3):
            process.stdin.write(b"x\n")  # nobody reads it, and the copier finds that out
            process.stdin.flush()
        (tmp_path / "go").write_bytes(b"\n")
        assert process.stdout.readline().rstrip() == b"said"
        assert process.wait(60) == 0


def test_a_large_stream_in_both_directions():
    data = os.urandom(1_000_000)
    assert launch("recordio", "cat", stdin=data).stdout == data
    assert launch("fixcrio", "cat", stdin=data).stdout == re.sub(rb"(?<!\r)\n", b"\r\n", data)


def test_rblsmtpd():
    run = ("echo", "served")
    assert said(launch("rblsmtpd", *run)) == (0, b"served\n", b"")
    assert said(launch("rblsmtpd", *run, env={"RBLSMTPD": ""})) == (0, b"served\n", b"")
    done = launch("rblsmtpd", *run, stdin=b"helo x\r\nrcpt\nquit\nx", env={"RBLSMTPD": "-no", "TCPREMOTEIP": "1.2.3.4"})
    talk = b"220 rblsmtpd.local\r\n250 rblsmtpd.local\r\n553 no\r\n221 rblsmtpd.local\r\n"
    assert done.stdout == talk
    assert re.fullmatch(rb"rblsmtpd: 1\.2\.3\.4 pid \d+: 553 no\n", done.stderr)
    assert launch("rblsmtpd", "-t0", *run, env={"RBLSMTPD": "no"}).stdout == b"451 no\r\n"
    assert launch("rblsmtpd", "-b").returncode == 100
