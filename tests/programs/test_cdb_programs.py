"""The cdb programs as processes. What they say and how they end as observed with Debian's freecdb 0.76."""

import os
import subprocess
import sys

import pytest
from launch import launch, module

TEXT = b"+1,1:a->b\n+2,3:aa->\n+\n\n+1,0:a->\n+1025,1:" + b"k" * 1025 + b"->v\n\n"
STATS = b"records          3\nd0               2\nd1               1\n"
STATS += b"".join(b"d%d               0\n" % number for number in range(2, 10)) + b">9               0\n"


def said(done):
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def made(tmp_path):
    assert said(launch("cdbmake", "x.cdb", "x.tmp", stdin=TEXT, cwd=tmp_path)) == (0, b"", b"")
    assert os.listdir(tmp_path) == ["x.cdb"]
    return tmp_path / "x.cdb"


def run(program, *args, file):
    """With the database as stdin."""
    with open(file, "rb") as stdin:
        words = [sys.executable, "-m", module(program), *args]
        return said(subprocess.run(words, stdin=stdin, capture_output=True, check=False, timeout=60))


def test_usage():
    assert said(launch("cdbmake", "a")) == (100, b"", b"cdbmake: usage: cdbmake cdb cdb.tmp\n")
    assert said(launch("cdbmake-12", "a", "b", "c")) == (100, b"", b"cdbmake-12: usage: cdbmake-12 cdb cdb.tmp\n")
    assert said(launch("cdbmake-sv")) == (100, b"", b"cdbmake-sv: usage: cdbmake-sv cdb cdb.tmp\n")
    assert said(launch("cdbdump", "a")) == (100, b"", b"cdbdump: usage: cdbdump\n")
    assert said(launch("cdbstats", "a")) == (100, b"", b"cdbstats: usage: cdbstats\n")
    assert said(launch("cdbtest", "a")) == (100, b"", b"cdbtest: usage: cdbtest\n")


@pytest.mark.parametrize("args", [(), ("",), ("a", "1x"), ("a", "-1"), ("a", "1", "2")])
def test_usage_of_cdbget(args):
    assert said(launch("cdbget", *args)) == (100, b"", b"cdbget: usage: cdbget key [skip]\n")


def test_what_was_made_is_dumped_found_counted_and_sound(made):
    assert run("cdbdump", file=made) == (0, TEXT, b"")
    assert run("cdbget", "aa", file=made) == (0, b"\n+\n", b"")
    assert run("cdbget", "a", "1", file=made) == (0, b"", b"")
    assert run("cdbget", "a", "2", file=made) == (100, b"", b"")
    assert run("cdbget", "a", "9" * 30, file=made) == (100, b"", b"")
    assert run("cdbstats", file=made) == (0, STATS, b"")
    told = b"found: 2\ndifferent record: 1\nbad length: 0\nnot found: 0\nuntested: 1\n"
    assert run("cdbtest", file=made) == (0, told, b"")


def test_a_dump_may_come_through_a_pipe_and_look_ups_may_not(made):
    data = made.read_bytes()
    assert said(launch("cdbdump", stdin=data)) == (0, TEXT, b"")
    for program, *args in (("cdbget", "a"), ("cdbstats",), ("cdbtest",)):
        fatal = f"{program}: fatal: unable to read input: protocol error\n".encode()
        assert said(launch(program, *args, stdin=data)) == (111, b"", fatal)


@pytest.mark.parametrize("cut", [0, 2047, 2057, 2060])
def test_a_file_cut_short(made, cut):
    made.write_bytes(made.read_bytes()[:cut])
    code, out, err = run("cdbdump", file=made)
    assert (code, err) == (111, b"cdbdump: fatal: unable to read input: truncated file\n")
    assert TEXT.startswith(out)
    assert out in ((b"",) if cut < 2048 else (b"+1,1:", TEXT[:10], TEXT[:15]))
    assert run("cdbget", "a", file=made) == (111, b"", b"cdbget: fatal: unable to read input: protocol error\n")
    wrong = b"protocol error" if cut >= 2048 else b"truncated file"
    assert run("cdbstats", file=made) == (111, b"", b"cdbstats: fatal: unable to read input: " + wrong + b"\n")
    assert run("cdbtest", file=made) == (111, b"", b"cdbtest: fatal: unable to read input: protocol error\n")


def test_what_is_wrong_in_the_index_is_counted(made):
    data = bytearray(made.read_bytes())
    at = data.index(b"aa\n+\n") - 8
    data[at + 8] = ord("z")  # nobody finds a key of another hash
    made.write_bytes(data)
    told = b"found: 1\ndifferent record: 1\nbad length: 0\nnot found: 1\nuntested: 1\n"
    assert run("cdbtest", file=made) == (0, told, b"")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", b"1: unexpected end if input"),
        (b"+1,1:a->b\n", b"2: unexpected end if input"),
        (b"+1,1:a->b\nx", b"2: entry must start with +"),
        (b"+x,1:a->b\n\n", b"1: bad keylen format"),
        (b"+1:a->b\n\n", b"1: bad keylen format"),
        (b"+1,x:a->b\n\n", b"1: bad datalen format"),
        (b"+1,1:a>b\n\n", b"1: key must be followed by ->"),
        (b"+1,1:a->bc\n\n", b"1: newline expected"),
        (b"+" + b"0" * 2000, b"1: bad keylen format"),
    ],
)
def test_a_broken_text_leaves_the_old_file(made, text, reason):
    before = made.read_bytes()
    fatal = b"cdbmake: fatal: unable to read input: entry " + reason + b"\n"
    assert said(launch("cdbmake", "x.cdb", "x.tmp", stdin=text, cwd=made.parent)) == (111, b"", fatal)
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    "head", [b"+4294967296,0:", b"+1,4294967290:", b"+2147483648,2147483648:", b"+1," + b"9" * 40 + b":"]
)
def test_what_would_be_over_4_gib_is_refused_as_soon_as_its_length_is_known(made, head):
    before = made.read_bytes()
    fatal = b"cdbmake: fatal: unable to create x.tmp: out of memory\n"
    assert said(launch("cdbmake", "x.cdb", "x.tmp", stdin=head, cwd=made.parent)) == (111, b"", fatal)
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    ("path", "tmp", "text"),
    [
        ("x", "none/tmp", b"unable to create none/tmp: file does not exist"),
        ("x", ".", b"unable to create .: is a directory"),
        ("x", "/dev/full", b"unable to create /dev/full: out of disk space"),
        ("none/x", "tmp", b"unable to rename tmp to none/x: file does not exist"),
    ],
)
def test_what_cannot_be_written(tmp_path, path, tmp, text):
    expected = (111, b"", b"cdbmake: fatal: " + text + b"\n")
    assert said(launch("cdbmake", path, tmp, stdin=b"+1,1:a->b\n\n", cwd=tmp_path)) == expected


def dumped(program, tmp_path, text):
    assert said(launch(program, "x.cdb", "x.tmp", stdin=text, cwd=tmp_path)) == (0, b"", b"")
    return run("cdbdump", file=tmp_path / "x.cdb")[1]


def test_words(tmp_path):
    text = b"one Hello world\n# no\n\n\ttwo\t3\n \nlonely\n\xe9 \xe8"
    expected = b"+3,5:one->Hello\n+3,1:two->3\n+0,0:->\n+6,0:lonely->\n+1,1:\xe9->\xe8\n\n"
    assert dumped("cdbmake-12", tmp_path, text) == expected


def test_services(tmp_path):
    text = b"# x\nsmtp 25/tcp mail # y/z\nnone\ndomain\t53/udp\nodd 7\n"
    expected = (
        b"+7,4:@25/tcp->smtp\n+8,2:smtp/tcp->25\n+8,2:mail/tcp->25\n+7,6:@53/udp->domain\n+10,2:domain/udp->53\n\n"
    )
    assert dumped("cdbmake-sv", tmp_path, text) == expected
