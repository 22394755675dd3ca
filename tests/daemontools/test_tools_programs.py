"""The small tools of daemontools as processes, without the originals: what each is for."""

import fcntl
import os
import random
import resource
import signal
import subprocess
import sys

import pytest
from tests.programs.launch import launch, module

from quail.supervise.multilog.logger import READ_SIZE

LABEL = "@4000000037c219bf2ef02e94"
TIME = b"1999-08-24 04:04:05.787492500"


def test_lines_are_stamped_and_stamps_are_read():
    stamped = launch("tai64n", stdin=b"one\n\ntwo").stdout
    assert [line[25:] for line in stamped.split(b"\n")] == [b" one", b" ", b" two"]
    local = launch("tai64nlocal", stdin=stamped, env={"TZ": "UTC"}).stdout
    assert [line[29:] for line in local.split(b"\n")] == [b" one", b" ", b" two"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{LABEL} x", TIME + b" x"),
        (LABEL, TIME),
        (f" {LABEL}", f" {LABEL}".encode()),
        # The original crashes at these.
        ("@", b"@"),
        ("@abc x", b"@abc x"),
        (f"{LABEL}0 x", f"{LABEL}0 x".encode()),
        ("@4000000037C219BF2EF02E94 x", b"@4000000037C219BF2EF02E94 x"),
        ("@" + "f" * 10000, b"@" + b"f" * 10000),
    ],
)
def test_stamps_that_are_none_stay_as_they_are(line, said):
    for end in (b"\n", b""):
        assert launch("tai64nlocal", stdin=line.encode() + end, env={"TZ": "UTC"}).stdout == said + end


def test_a_stamp_that_comes_in_parts():
    process = subprocess.Popen(
        [sys.executable, "-m", module("tai64nlocal")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"TZ": "UTC"}
    )
    os.write(process.stdin.fileno(), b"first\n@40000000")
    assert process.stdout.readline() == b"first\n"
    out, _ = process.communicate(b"37c219bf2ef02e94 x\n")
    assert out == TIME + b" x\n"


def test_envdir_and_envuidgid(tmp_path):
    (tmp_path / "A").write_bytes(b"one\ntwo")
    (tmp_path / "B").write_bytes(b"")
    done = launch("envdir", str(tmp_path), "sh", "-c", "echo $A-${B-unset}", env={"B": "2"})
    assert (done.returncode, done.stdout) == (0, b"one-unset\n")
    done = launch("envdir", str(tmp_path))
    assert (done.returncode, done.stderr) == (111, b"envdir: usage: envdir dir child\n")
    done = launch("envuidgid", "root", "sh", "-c", "echo $UID-$GID")
    assert done.stdout == b"0-0\n"


def test_setuidgid_of_an_account_that_is_not_there():
    done = launch("setuidgid", "no-such-account", "true")
    assert (done.returncode, done.stderr) == (111, b"setuidgid: fatal: unknown account no-such-account\n")


@pytest.mark.parametrize("words", [("softlimit", "--z"), ("setlock", "--z", "lock"), ("svc", "-u", "--z")])
def test_a_word_with_two_dashes_ends_the_options_whatever_else_is_in_it(words, tmp_path):
    done = launch(*words, "true", cwd=tmp_path)
    warning = b"svc: warning: unable to chdir to true: file does not exist\n"
    assert (done.returncode, done.stderr) == (0, warning if words[0] == "svc" else b"")


def test_softlimit_limits_the_child():
    done = launch("softlimit", "-o", "50", "sh", "-c", "ulimit -n")
    assert done.stdout == b"50\n"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert launch("softlimit", "-o", "=", "sh", "-c", "ulimit -n").stdout == b"%d\n" % hard


def test_setlock_holds_the_lock_as_long_as_the_program_runs(tmp_path):
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-m", module("setlock"), path, "sh", "-c", "echo; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"\n"
    with open(path, "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    done = launch("setlock", "-n", str(path), "true")
    assert (done.returncode, done.stderr) == (
        111,
        f"setlock: fatal: unable to lock {path}: temporary failure\n".encode(),
    )
    assert launch("setlock", "-nx", str(path), "false").returncode == 0
    process.communicate(b"\n")
    assert launch("setlock", "-n", str(path), "sh", "-c", "exit 3").returncode == 3


def test_fghack_and_pgrphack():
    done = launch("fghack", "sh", "-c", "(read x < /dev/null; echo background)& exit 4")
    assert (done.returncode, done.stdout) == (4, b"background\n")
    done = launch("pgrphack", "sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat")
    assert len(set(done.stdout.split())) == 1


def test_readproctitle_shows_the_last_of_its_input():
    process = subprocess.Popen(
        [sys.executable, "-m", module("readproctitle"), "errors: ", "." * 10], stdin=subprocess.PIPE, bufsize=0
    )
    assert launch("readproctitle", "errors: ", "....").returncode == 100
    for text, shown in ((b"abc\0d", b"......abcd"), (b"efg\nhi", b"...d" + b"efg\nhi"), (b"0123456789", b"...3456789")):
        process.stdin.write(text)
        wanted, found = b"\0" + shown[-10:] + b"\0", b""
        while not found.endswith(wanted):
            assert process.poll() is None
            with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                found = file.read()
    process.stdin.close()
    assert process.wait() == 0


@pytest.fixture
def multilog(tmp_path):
    started = []

    def start(*script):
        words = [sys.executable, "-m", module("multilog"), *script]
        process = subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stderr.close()


def until(process, condition):
    while not condition():
        assert process.poll() is None


def test_multilog_is_told_to_stop_in_the_middle_of_a_line(tmp_path, multilog):
    """It reads that line to its end; what comes behind it in the pipe is for the next reader."""
    process = multilog("e", "./d")
    process.stdin.write(b"one\n")
    assert process.stderr.readline() == b"one\n"
    process.stdin.write(b"tw")
    until(process, lambda: not unread(process))
    process.send_signal(signal.SIGTERM)
    process.stdin.write(b"o\nthree\n")
    assert process.wait() == 0
    assert (tmp_path / "d" / "current").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "d" / "current").stat().st_mode & 0o777 == 0o744
    assert unread(process) == 6


def unread(process):
    size = fcntl.ioctl(process.stdin.fileno(), 0x541B, b"\0" * 4)  # FIONREAD
    return int.from_bytes(size, sys.byteorder)


def test_multilog_rotates_when_it_is_told(tmp_path, multilog):
    process = multilog("e", "./d")
    process.stdin.write(b"one\n")
    assert process.stderr.readline() == b"one\n"
    until(process, lambda: (tmp_path / "d" / "current").read_bytes() == b"one\n")
    process.send_signal(signal.SIGALRM)
    until(process, lambda: {name[0] for name in os.listdir(tmp_path / "d")} == {*"@cls"} and asleep(process.pid))
    process.send_signal(signal.SIGALRM)  # nothing is in it now
    process.stdin.write(b"two\n")
    assert process.stderr.readline() == b"two\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    (old,) = [name for name in os.listdir(tmp_path / "d") if name[0] == "@"]
    assert (tmp_path / "d" / old).read_bytes() == b"one\n"
    assert (tmp_path / "d" / "current").read_bytes() == b"two\n"


def test_multilog_goes_on_when_nobody_hears_its_alerts(tmp_path, multilog):
    process = multilog("e", "./d")
    process.stderr.close()
    process.stdin.write(b"one\n")
    process.stdin.write(b"two\n")
    process.stdin.close()
    assert process.wait() == 0
    assert (tmp_path / "d" / "current").read_bytes() == b"one\ntwo\n"


def test_multilog_without_its_descriptors(tmp_path):
    words = f"{sys.executable} -m {module('multilog')}"
    subprocess.run(
        ["sh", "-c", f"{words} e ./a <&-; echo one | {words} e ./b 2>&-"], cwd=tmp_path, check=True, timeout=60
    )
    assert (tmp_path / "a" / "current").read_bytes() == b""
    assert (tmp_path / "b" / "current").read_bytes() == b"one\n"


def test_multilog_killed_again_and_again_loses_nothing_that_it_had_finished(tmp_path, multilog):
    """kill -9: each line that had been read and passed on is kept, once."""
    shown = []
    for turn in range(6):
        process = multilog("s4096", "n50", "./d", "e")
        for number in range(80):
            line = b"%02d %02d " % (turn, number) + b"x" * 90 + b"\n"
            process.stdin.write(line)
            assert process.stderr.readline() == line  # which comes after it has been written to the directory
            shown.append(line)
        process.kill()
        process.wait()
    assert launch("multilog", "n50", "./d", cwd=tmp_path).returncode == 0
    names = sorted(name for name in os.listdir(tmp_path / "d") if name[0] == "@")
    assert b"".join((tmp_path / "d" / name).read_bytes() for name in names) == b"".join(shown)
    assert sum(name.endswith(".u") for name in names) == 6


@pytest.mark.parametrize(("processor", "turns", "most_read"), [([], 10, 200_000), (["!cat; cat <&4 >&5"], 8, 40_000)])
def test_multilog_killed_at_any_moment(tmp_path, processor, turns, most_read):
    """What it has read from a file is known by the file's offset: all lines but those of the last piece are kept, once."""
    picks = random.Random(2)
    size, number = 100, 30_000
    (tmp_path / "input").write_bytes(b"".join(b"%099d\n" % each for each in range(number)))
    words = [sys.executable, "-m", module("multilog"), "s4096", "n9999", *processor, "./d"]
    wanted = []
    with open(tmp_path / "input", "rb", buffering=0) as file:
        for _ in range(turns):
            began = file.tell()
            target = began + picks.randrange(1, most_read)
            with subprocess.Popen(words, cwd=tmp_path, stdin=file) as process:
                until(process, lambda target=target: file.tell() >= target)
                process.kill()
            # The line over which it was killed before is read from its middle.
            wanted += range(-(-began // size), (file.tell() - READ_SIZE) // size)
    assert launch("multilog", "n9999", "./d", cwd=tmp_path).returncode == 0
    kept = []
    for name in sorted(name for name in os.listdir(tmp_path / "d") if name[0] == "@"):
        lines = (tmp_path / "d" / name).read_bytes().split(b"\n")
        kept += [int(line) for line in lines if len(line) == size - 1]
    assert kept == sorted(set(kept))
    assert set(wanted) - set(kept) == set()


def test_multilog_rotates_as_often_as_it_is_told_and_loses_nothing(tmp_path, multilog):
    process = multilog("e", "n9999", "./d")
    lines = [b"%099d\n" % number for number in range(500)]
    process.stdin.write(lines[0])
    assert process.stderr.readline() == lines[0]
    for line in lines[1:]:
        process.stdin.write(line)
        process.send_signal(signal.SIGALRM)
        until(process, lambda: not unread(process))
    process.stdin.close()
    assert process.wait() == 0
    names = sorted(name for name in os.listdir(tmp_path / "d") if name[0] == "@")
    assert names
    assert b"".join((tmp_path / "d" / name).read_bytes() for name in [*names, "current"]) == b"".join(lines)


def test_multilog_waits_asleep(multilog):
    process = multilog("e", "./d")
    process.stdin.write(b"ready\n")
    assert process.stderr.readline() == b"ready\n"
    until(process, lambda: asleep(process.pid))
    before = switches(process.pid)
    launch("tai64n")  # as long as a program takes
    assert switches(process.pid) == before


def asleep(pid):
    with open(f"/proc/{pid}/syscall", "rb") as file:
        return file.read().split()[0] in {b"7", b"73", b"271"}  # poll or ppoll


def switches(pid):
    with open(f"/proc/{pid}/status", "rb") as file:
        return [line for line in file if b"ctxt_switches" in line]
