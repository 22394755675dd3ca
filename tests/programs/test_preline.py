"""preline and predate as processes: what the program reads, and how they end."""

import calendar
import re
import subprocess
import sys
import time

import pytest
from tests.programs.launch import launch, module
from tests.programs.queue_home import QueueHome

LINES = {"UFLINE": "From s@x Thu\n", "RPLINE": "Return-Path: <s@x>\n", "DTLINE": "Delivered-To: joe@x\n"}
FROM, RETURN_PATH, DELIVERED = (line.encode() for line in LINES.values())
MESSAGE = b"Subject: x\n\nhello\n"
LARGE = b"0123456789abcde\n" * 200_000
USAGE = b"preline: usage: preline [ -frdFRD ] program [ arg ... ]\n"


@pytest.fixture
def home(tmp_path):
    return QueueHome(tmp_path / "home", **LINES)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], FROM + RETURN_PATH + DELIVERED),
        (["-f"], RETURN_PATH + DELIVERED),
        (["-r"], FROM + DELIVERED),
        (["-d"], FROM + RETURN_PATH),
        (["-frd"], b""),
        (["-f", "-r", "-d"], b""),
        (["-fF"], FROM + RETURN_PATH + DELIVERED),
        (["-frdRD"], RETURN_PATH + DELIVERED),
        (["-frd", "-F"], FROM),
        (["-FRD"], FROM + RETURN_PATH + DELIVERED),
        (["-d", "--"], FROM + RETURN_PATH),
    ],
)
def test_lines(home, options, lines):
    assert home.run("preline", *options, "cat", stdin=MESSAGE) == (0, lines + MESSAGE, b"")


@pytest.mark.parametrize("args", [[], ["-f"], ["--"], ["-x", "cat"], ["-fx", "cat"], ["-n"]])
def test_called_wrongly(home, args):
    assert home.run("preline", *args) == (100, b"", USAGE)


@pytest.mark.parametrize("missing", LINES)
def test_outside_of_a_delivery(home, missing):
    """Though the line may not be wanted."""
    assert home.run("preline", "-frd", "cat", **{missing: None}) == (100, b"", USAGE)
    assert launch("preline", "cat").returncode == 100


def test_options_of_the_program_are_its_own(home):
    home.script("told", 'cat > /dev/null; echo "$@"')
    assert home.run("preline", "-f", "told", "-f", "-x") == (0, b"-f -x\n", b"")
    assert home.run("predate", "told", "-f", "--") == (0, b"-f --\n", b"")


@pytest.mark.parametrize("name", ["preline", "predate"])
def test_a_large_message(home, name):
    code, out, text = home.run(name, "cat", stdin=LARGE)
    assert (code, text) == (0, b"")
    assert out.endswith(LARGE)


@pytest.mark.parametrize("name", ["preline", "predate"])
def test_every_exit_code_is_passed_on(home, name):
    home.script("end", 'cat > /dev/null; exit "$1"')
    for code in (0, 1, 64, 75, 77, 99, 100, 111, 126, 127, 255):
        assert home.run(name, "end", str(code), stdin=MESSAGE) == (code, b"", b"")


@pytest.mark.parametrize("name", ["preline", "predate"])
@pytest.mark.parametrize("number", [9, 13, 15])
def test_killed(home, name, number):
    home.script("end", f"cat > /dev/null; kill -{number} $$")
    assert home.run(name, "end", stdin=MESSAGE) == (111, b"", b"%b: fatal: child crashed\n" % name.encode())


@pytest.mark.parametrize(("body", "own"), [("exec 0<&-; exit 0", 0), ("head -c 5; exec 0<&-; exit 3", 3)])
def test_a_program_that_does_not_read_everything(home, body, own):
    """For preline, it can't have dealt with the message."""
    home.script("end", body)
    code, _, text = home.run("preline", "end", stdin=LARGE)
    assert (code, text) == (111, b"preline: fatal: unable to copy input: broken pipe\n")
    code, _, text = home.run("predate", "end", stdin=LARGE)
    assert (code, text) == (own, b"")


# Calls a program that has ended when we go on: the worst that a busy machine can do.
ENDS_FIRST = """
import os, sys
from quail.delivery import command
from quail.programs.qmail.{name} import main
spawn = command._spawn

def spawn_and_wait(*args):
    pid = spawn(*args)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid

command._spawn = spawn_and_wait
sys.argv = ["{name}", "sh", "-c", "exit {code}"]
main()
"""


@pytest.mark.parametrize("name", ["preline", "predate"])
@pytest.mark.parametrize("message", [b"", MESSAGE, LARGE[:60_000]], ids=len)
def test_what_fits_into_a_pipe_counts_as_read(home, name, message):
    (home.path / "stdin").write_bytes(message)
    for code in (0, 99):
        with (home.path / "stdin").open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", ENDS_FIRST.format(name=name, code=code)],
                stdin=file, capture_output=True, env=home.environment, cwd=home.path, timeout=60, check=False,
            )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


@pytest.mark.parametrize("name", ["preline", "predate"])
def test_it_ends_after_the_program(home, name):
    """Which goes on working without its input."""
    home.script("end", "exec 0<&-; read line < wait; echo done >&2")
    subprocess.run(["mkfifo", home.path / "wait"], check=True)
    (home.path / "stdin").write_bytes(LARGE)
    with (home.path / "stdin").open("rb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module(name), "end"],
            stdin=file, stderr=subprocess.PIPE, env=home.environment, cwd=home.path,
        )  # fmt: skip
    with (home.path / "wait").open("w") as wait:
        assert process.poll() is None
        wait.write("\n")
    _, text = process.communicate(timeout=60)
    assert text.startswith(b"done\n")
    assert process.returncode == (111 if name == "preline" else 0)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("no-such-command", 100, "file does not exist"),
        ("./stdin", 100, "access denied"),
        ("./stdin/x", 100, "not a directory"),
        ("bin/written", 111, "text busy"),
    ],
)
@pytest.mark.parametrize("name", ["preline", "predate"])
def test_a_program_that_cannot_be_run(home, name, command, code, words):
    with open(home.script("written", "exit 0"), "ab"):
        assert home.run(name, command, stdin=MESSAGE) == (
            111 if name == "predate" else code, b"", f"{name}: fatal: unable to run {command}: {words}\n".encode(),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["preline", "predate"])
def test_input_that_cannot_be_read(home, name):
    with (home.path / "only-written").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", module(name), "cat"],
            stdin=file, capture_output=True, env=home.environment, cwd=home.path, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 111
    assert done.stderr == b"%b: fatal: unable to copy input: file descriptor not open\n" % name.encode()


# predate


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("UTC0", "+0000"), ("CET-1", "+0100"), ("NST3:30", "-0330"), ("XYZ-13:45", "+1345"), ("XYZ0:01", "-0001")],
)
def test_the_date(home, zone, offset):
    """In the local time zone."""
    before = int(time.time())
    code, out, text = home.run("predate", "cat", stdin=MESSAGE, TZ=zone)
    after = int(time.time())
    assert (code, text) == (0, b"")
    match = re.fullmatch(
        rb"Date: ([1-9]\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d) ([+-]\d{4})\n" + re.escape(MESSAGE), out
    )
    assert match[2].decode() == offset
    told = time.strptime(match[1].decode(), "%d %b %Y %H:%M:%S")
    seconds = (int(offset[1:3]) * 3600 + int(offset[3:]) * 60) * (-1 if offset[0] == "-" else 1)
    assert before <= calendar.timegm(told) - seconds <= after


def test_predate_called_wrongly():
    done = launch("predate")
    assert (done.returncode, done.stderr) == (100, b"predate: usage: predate program [ arg ... ]\n")
