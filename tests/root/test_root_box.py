"""The test root keeps its promises: real programs, an unharmed cache, nothing left behind."""

import os
import select
import signal
import socket
import subprocess
import sys

import pytest
from tests.root.box import BoxError
from tests.root.testroot import QUAIL_ENVIRONMENT, TESTER

CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5).close()"


def ended(pidfd):
    """True as soon as the process of the descriptor has ended (waits at most 30 seconds)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(30_000))


def test_the_programs_are_debians(test_root):
    with test_root.enter() as box:
        assert box.run(["postconf", "-h", "mail_version"]).stdout.startswith("3.7.")
        assert box.run(["/usr/bin/python3", "--version"]).stdout.startswith("Python 3.11.")
        assert "swaks version" in box.run(["swaks", "--version"]).stdout
        assert box.run(["sh", "/usr/sbin/policy-rc.d"], check=False).returncode == 101


def test_a_box_starts_with_no_service_running(test_root):
    with test_root.enter() as box:
        assert box.run(["ps", "-e", "-o", "comm="]).stdout.split()[1:] == ["ps"]


@pytest.mark.parametrize("view", ["overlay", "copy"])
def test_what_a_box_changes_is_gone_with_it(test_root, view):
    with test_root.enter(view=view) as box:
        box.run(["sh", "-c", "touch /etc/changed && rm -r /usr/share/perl && test ! -e /usr/share/perl"])
    with test_root.enter() as box:
        box.run(["sh", "-c", "test ! -e /etc/changed && test -d /usr/share/perl"])


def test_only_what_is_bound_is_shared_with_the_machine(test_root, tmp_path):
    (tmp_path / "from-outside").write_text("seen")
    with test_root.enter({str(tmp_path): "/srv/mine"}) as box:
        assert box.run(["cat", "/srv/mine/from-outside"]).stdout == "seen"
        box.run(["sh", "-c", "echo back > /srv/mine/from-inside"])
        box.run(["test", "!", "-e", str(tmp_path)])
        with pytest.raises(BoxError, match="Read-only file system"):
            box.run(["touch", "/opt/quail/src/quail/mark"])
    assert (tmp_path / "from-inside").read_text() == "back\n"


def test_the_loopback_is_its_own_unless_asked_for(test_root):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        with test_root.enter() as box, pytest.raises(BoxError, match="ConnectionRefused"):
            box.run(["python3", "-c", CONNECT, port])
        with test_root.enter(network="host") as box:
            box.run(["python3", "-c", CONNECT, port])


def test_quails_dependencies_work_as_an_ordinary_user(test_root):
    with test_root.enter() as box:
        code = "import os, click, dns, idna, rich, uvloop, quail.errors; print(os.getuid(), os.getgroups())"
        done = box.run(["python3", "-c", code], user=TESTER, env=QUAIL_ENVIRONMENT)
        assert done.stdout == f"{TESTER} []\n"


def test_signals_and_exit_codes_pass(test_root):
    with test_root.enter() as box:
        assert box.run(["sh", "-c", "exit 7"], check=False).returncode == 7
        guest = box.popen(["sh", "-c", "trap 'exit 9' TERM; echo up; while :; do read x; done"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        assert guest.stdout.readline() == b"up\n"
        guest.terminate()
        guest.stdin.close()
        assert guest.wait(30) == 9


def test_leaving_the_box_ends_what_runs_in_it(test_root):
    with test_root.enter() as box:
        guest = box.popen(["sh", "-c", "sleep 1000 & echo up; exec sleep 1000"], stdout=subprocess.PIPE)
        assert guest.stdout.readline() == b"up\n"
        pidfd = os.pidfd_open(guest.guest_pid)
    assert guest.returncode == -signal.SIGKILL
    assert ended(pidfd)
    os.close(pidfd)


def test_a_killed_test_run_leaves_no_process(test_root):
    code = (
        "from tests.root.testroot import TestRoot\n"
        "with TestRoot.get().enter() as box:\n"
        "    guest = box.popen(['sh', '-c', 'setsid sleep 1000 & echo; wait'], stdout=-1)\n"
        "    guest.stdout.readline()\n"
        "    print(box.pid, guest.guest_pid, flush=True)\n"
        "    input()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as run:
        pidfds = [os.pidfd_open(int(word)) for word in run.stdout.readline().split()]
        assert len(pidfds) == 2
        run.kill()
    assert all(ended(pidfd) for pidfd in pidfds)
    for pidfd in pidfds:
        os.close(pidfd)
