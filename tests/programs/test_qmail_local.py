"""qmail-local as a process of its own: arguments, descriptors, exit codes. What it does with a message: tests/system."""

import os
import subprocess
import sys

import pytest
from tests.programs.launch import launch

MESSAGE = b"Subject: hello\n\nbody\n"
USAGE = b"qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender defaultdelivery < message\n"


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "u"
    path.mkdir(mode=0o700)
    (tmp_path / "message").write_bytes(MESSAGE)
    return path


def words(home, default="./box"):
    return ["u", str(home), "u", "", "", "ex.org", "s@x.y", default]


def deliver(home, default, *, inherited=(), cwd=None, **environment):
    with (home.parent / "message").open("rb") as message:
        message.seek(5)  # wherever it is, the message is all of the file
        return subprocess.run(
            [sys.executable, "-m", "quail.programs.qmail.qmail_local", "--", *words(home, default)],
            stdin=message,
            capture_output=True,
            pass_fds=inherited,
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin", "QMAILHOME": str(home.parent / "q"), **environment},
            timeout=60,
            check=False,
        )


def test_dry_run(home):
    done = launch("qmail-local", "-n", *words(home))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mbox ./box\ndid 1+0+0\n", b"")
    assert os.listdir(home) == []


def test_dry_run_up_to_a_line_that_is_not_allowed(home):
    args = words(home, "&a@b\n+list\n# no\n./box\n&c@d\n")
    done = launch("qmail-local", "-n", *args)
    text = b"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n"
    assert (done.returncode, done.stdout, done.stderr) == (111, b"forward a@b\n", text)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-x"],
        ["-n"],
        ["u", "/h", "l", "", "", "h", "s"],
        ["u", "/h", "l", "", "", "h", "s", "./box", "more"],
        ["u", "relative", "l", "", "", "h", "s", "./box"],
    ],
)
def test_wrong_calls(args):
    done = launch("qmail-local", *args)
    assert (done.returncode, done.stdout, done.stderr) == (100, b"", USAGE)


def test_what_succeeds_is_told_on_stdout(home):
    done = deliver(home, "|echo out; echo err >&2\n./box\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\ndid 1+0+1\n", b"err\n")
    assert (home / "box").read_bytes().endswith(b"Delivered-To: u@ex.org\n" + MESSAGE + b"\n")


def test_what_fails_is_told_on_stderr(home):
    done = deliver(home, "|echo out\n./none/box\n")
    text = b"Unable to open ./none/box: file does not exist. (#4.2.1)\n"
    assert (done.returncode, done.stdout, done.stderr) == (111, b"out\n", text)
    done = deliver(home, "|exit 100")
    assert (done.returncode, done.stdout, done.stderr) == (100, b"", b"")


def test_a_message_that_cannot_be_read_twice(home):
    done = launch("qmail-local", "--", *words(home), stdin=MESSAGE)
    assert (done.returncode, done.stdout, done.stderr) == (111, b"", b"Unable to rewind message. (#4.3.0)\n")
    assert os.listdir(home) == []


def test_no_home(home):
    done = launch("qmail-local", "-n", *words(home / "gone"))
    text = b"Unable to switch to %b: file does not exist. (#4.3.0)\n" % os.fsencode(home / "gone")
    assert (done.returncode, done.stderr) == (111, text)


def test_programs_get_nothing_that_the_caller_has_open(home):
    read, write = os.pipe()
    done = deliver(home, "|exec ls /proc/self/fd > out", inherited=(read, write))
    os.close(read)
    os.close(write)
    assert done.returncode == 0
    assert (home / "out").read_text().split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


def test_the_limit_for_programs_is_that_of_the_home(home):
    (home.parent / "q/control").mkdir(parents=True)
    (home.parent / "q/control/programtimeout").write_text("1\n")
    done = deliver(home, "# mine\n|sleep 1000", cwd=home.parent, QMAILHOME="q")  # from where it was called
    text = b"control/defaultdelivery line 2: the program has not ended within 1 seconds and was stopped"
    assert (done.returncode, done.stderr) == (111, text + b" (control/programtimeout). (#4.3.0)\n")


def test_a_limit_that_cannot_be_read_stops_nothing(home):
    (home.parent / "q/control").mkdir(parents=True)
    (home.parent / "q/control/programtimeout").write_text("soon\n")
    done = deliver(home, "|true")
    assert (done.returncode, done.stdout) == (0, b"did 0+0+1\n")
    assert b"control/programtimeout line 1: does not begin with a digit" in done.stderr


def test_what_is_forwarded_goes_to_the_drop_when_the_queue_is_down(home):
    (home.parent / "q/queue/drop").mkdir(parents=True)
    done = deliver(home, "&a@b")
    assert done.returncode == 0
    assert done.stdout.startswith(b"did 0+1+0\nqp ")
    (name,) = os.listdir(home.parent / "q/queue/drop")
    with open(home.parent / "q/queue/drop" / name, "rb") as file:
        assert file.read().endswith(b"Fs@x.y\0Ta@b\0Delivered-To: u@ex.org\n" + MESSAGE)


def test_no_queue(home):
    done = deliver(home, "&a@b")
    assert done.returncode == 111
    assert done.stderr.startswith(b"Unable to forward message: qq trouble")
