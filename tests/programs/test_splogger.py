"""splogger as a process, with a log in place of the C library's: what is logged, as what, and in which pieces."""

import os
import re
import subprocess
import sys

import pytest
from tests.programs.launch import launch

LOG = """
import syslog, sys

def note(*words):
    sys.stdout.write(repr(words) + chr(10))
    sys.stdout.flush()

syslog.openlog = lambda *words: note("open", *words)
syslog.syslog = lambda *words: note(*words)
from quail.programs.qmail.splogger import main
main()
"""
INFO, ALERT, WARNING = 6, 1, 4
MAIL = 2 << 3
STAMP = re.compile(r"([0-9]{9,}\.[0-9]{6})([ +])(.*)", re.DOTALL)


def logged(data, *args):
    """What the log was opened with, and (priority, what follows the stamp, text) of each of its lines; and the stamps."""
    done = subprocess.run([sys.executable, "-c", LOG, *args], input=data, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    (_, *opened), *lines = (eval(line) for line in done.stdout.splitlines())
    found, stamps = [], []
    for priority, text in lines:
        stamp, sign, rest = STAMP.fullmatch(text).groups()
        stamps.append(stamp)
        found.append((priority, sign, rest))
    return tuple(opened), found, stamps


def lines(data, *args):
    return logged(data, *args)[1]


@pytest.mark.parametrize(
    ("args", "opened"),
    [
        ([], ("splogger", 0, MAIL)),
        (["qmail"], ("qmail", 0, MAIL)),
        (["", "3"], ("", 0, 3 << 3)),
        (["x", "0"], ("x", 0, 0)),
        (["x", "16y", "more"], ("x", 0, 16 << 3)),
        (["x", "23"], ("x", 0, 23 << 3)),
        (["x", "24"], ("x", 0, MAIL)),
        (["a\tb\u00e9"], ("a?b??", 0, MAIL)),
    ],
    ids=str,
)
def test_tag_and_facility(args, opened):
    assert logged(b"", *args) == (opened, [], [])


@pytest.mark.parametrize(
    ("line", "priority"),
    [
        (b"alert: x", ALERT),
        (b"warning: x", WARNING),
        (b"alert:", ALERT),
        (b"Alert: x", INFO),
        (b" alert: x", INFO),
        (b"status: local 0/10", INFO),
        (b"alert", INFO),
        (b"x alert: warning:", INFO),
    ],
)
def test_priorities(line, priority):
    assert lines(line + b"\n") == [(priority, " ", line.decode())]


def test_lines():
    """Empty ones are no lines; the last one need not be ended; what is not printable is not logged."""
    assert lines(b"a\n\n\nb c~\n\t\x7f\xff\0\r\nlast") == [
        (INFO, " ", "a"), (INFO, " ", "b c~"), (INFO, " ", "?????"), (INFO, " ", "last"),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [798, 799, 800, 1598, 1599, 200_000])
def test_a_long_line_is_folded(size):
    text = ("warning: " + "0123456789" * 20_000)[:size]
    _, found, stamps = logged(text.encode() + b"\nb\n")
    pieces = [text[at : at + 799] for at in range(0, size, 799)]
    assert found == [
        (WARNING, "+" if at else " ", piece) for at, piece in enumerate(pieces)
    ] + [(INFO, " ", "b")]  # fmt: skip
    assert len(set(stamps[:-1])) == 1


def test_the_pieces_in_which_it_comes_do_not_matter():
    """Byte by byte, and each line is in the log before the next one is there."""
    text = b"alert: " + b"x" * 799 + b"\n\nb\n"
    process = subprocess.Popen(
        [sys.executable, "-c", LOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline().startswith(b"('open'")
    for at in range(len(text)):
        os.write(process.stdin.fileno(), text[at : at + 1])
        if at == 798:
            assert process.stdout.readline().endswith(b" alert: " + b"x" * 792 + b"')\n")
        if text[at : at + 1] == b"\n" and text[at - 1 : at] != b"\n":
            last = eval(process.stdout.readline())
    assert (last[0], last[1][-2:]) == (INFO, " b")
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (0, b"", b"")


def test_the_stamp_is_the_time():
    clock = subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout
    (stamp,) = logged(b"x\n")[2]
    assert 0 <= float(stamp) - float(clock) < 60


def test_input_that_cannot_be_read(tmp_path):
    with (tmp_path / "only-written").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "quail.programs.qmail.splogger"],
            stdin=file,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        111, b"splogger: fatal: unable to read input: file descriptor not open\n",
    )  # fmt: skip


def test_without_a_log_it_goes_on():
    """As the C library: nobody to tell is no reason to hold up mail."""
    done = launch("splogger", "test-of-quail", "7", stdin=b"")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
