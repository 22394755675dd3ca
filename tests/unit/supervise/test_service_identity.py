"""A service and the terminal of whoever has started serve: it can write its log there, and nothing else."""

import errno
import fcntl
import json
import os
import pty
import termios
import traceback

import pytest

from quail.supervise import identity

pytestmark = pytest.mark.timeout(60)


def attempt(call, *words):
    """0, or why not."""
    try:
        call(*words)
    except OSError as error:
        return error.errno
    return 0


def look():
    return {
        "terminal": attempt(os.open, "/dev/tty", os.O_RDWR),
        "read": [attempt(os.read, fd, 1) for fd in (0, 1, 2)],
        "input": os.read(0, 10).decode(),
        "type": attempt(fcntl.ioctl, 2, termios.TIOCSTI, b"x"),
        "write": attempt(os.write, 2, b"a line of the log\n"),
        "session": os.getsid(0) == os.getpid(),
    }


@pytest.fixture
def at_a_terminal():
    """Call something in a process of a session with a terminal, as a shell's command is one; what it returned, and what the
    terminal shows.
    """

    def run(call):
        reading, writing = os.pipe()
        pid, master = pty.fork()
        if pid == 0:
            child = os.fork()  # the shell's child leads no session
            if child:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            try:
                os.write(writing, json.dumps(call()).encode())
            except BaseException:
                os.write(writing, json.dumps(traceback.format_exc()).encode())
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = json.load(pipe)
        shown = b""
        try:
            while data := os.read(master, 1000):
                shown += data
        except OSError:
            pass  # EIO: its other end is closed
        os.close(master)
        os.waitpid(pid, 0)
        return told, shown

    return run


def test_a_service_leaves_the_terminal(at_a_terminal):
    def service():
        identity._leave_terminal()
        return look()

    told, shown = at_a_terminal(service)
    del told["type"]  # root may do that to any terminal
    assert told == {
        "terminal": errno.ENXIO,
        "read": [0, 0, errno.EBADF],
        "input": "",
        "write": 0,
        "session": True,
    }
    assert shown.endswith(b"a line of the log\r\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_service_can_not_get_anything_back(at_a_terminal):
    def service():
        identity.become(54321, 54321)
        with open("/proc/self/status") as file:
            status = dict(line.split(":", 1) for line in file)
        told = {name: status[name].split() for name in ("Uid", "Gid", "Groups", "NoNewPrivs")}
        return look() | told | {"owner": os.stat("/proc/self/environ").st_uid, "root": attempt(os.setuid, 0)}

    told, _ = at_a_terminal(service)
    assert told["type"] in (errno.EPERM, errno.EIO)
    assert told["terminal"] == errno.ENXIO
    assert (told["Uid"], told["Gid"], told["Groups"]) == (["54321"] * 4, ["54321"] * 4, ["54321"])
    assert told["NoNewPrivs"] == ["1"]
    assert told["owner"] == 0
    assert told["root"] == errno.EPERM
