"""qmail-start: what rc scripts call, with a real home behind it, as real processes."""

import os
import signal
import subprocess

import pytest
from tests.programs.launch import launch
from tests.system.harness import PATIENCE, Ends, Log
from tests.system.start_house import Started, script

pytestmark = pytest.mark.timeout(180)
# A logger that keeps what it reads, and tells who it is.
KEEPER = 'echo $$ >> "$1.pids"; exec cat >> "$1"'


@pytest.fixture
def started(tmp_path):
    server = Started(tmp_path / "home")
    yield server
    server.close()


@pytest.fixture
def logged(started, tmp_path):
    """One with a logger in its $PATH, which keeps the log in a file."""
    (tmp_path / "programs").mkdir()
    script(tmp_path / "programs", "keeper", KEEPER)
    started.environment = {"PATH": f"{tmp_path}/programs:/usr/bin:/bin"}
    started.args = ("./Maildir/", "keeper", str(tmp_path / "log"))
    return started


def kept(tmp_path):
    path = tmp_path / "log"
    return path.read_text() if path.exists() else ""


def until(started, condition, what):
    """The log of the server has no news for us: look now and then."""
    return started.log.until(condition, what)


def start_logged(server, tmp_path):
    """As Started.start(), by the file of the logger."""
    server.process = server.spawn()
    server.log = Log(server.process.stdout)
    server.log.until(lambda: "\nserving queue " in "\n" + kept(tmp_path), "the services")
    server.ask({"do": "status"})


def test_the_log_is_on_descriptor_1(started):
    """And nothing on the other; its lines are qmail-send's, without anything in front."""
    started.control("concurrencylocal", "10")
    started.control("concurrencyremote", "20")
    started.start()
    started.line(r"^status: local 0/10 remote 0/20$")
    started.inject("joe")
    started.line(r"^new msg 1$")
    started.line(r"^info msg 1: bytes \d+ from <[^>]*> qp 1 uid \d+$")
    started.line(r"^starting delivery 1: msg 1 to local joe@localhost$")
    started.line(r"^status: local 1/10 remote 0/20$")
    started.line(r"^delivery 1: success: did_1\+0\+0/$")
    started.line(r"^end msg 1$")
    assert len(started.mail()) == 1
    lines = started.log
    assert started.stop() == 0
    assert lines.lines[-3:] == ["status: local 0/10 remote 0/20 exitasap", "status: exiting", "stopped"]
    assert started.complaints.read_bytes() == b""


def test_nothing_listens_to_the_network(started):
    started.start()
    assert not (started.path / "run/ports.json").exists()
    assert set(started.pids) == {"serve", "queue", "users", "lspawn", "rspawn"}


def test_the_process_that_was_started_is_the_one_to_signal(started):
    """By its number, or as scripts do that know its name from qmail."""
    started.start()
    assert started.pid("serve") == started.process.pid
    with open(f"/proc/{started.process.pid}/comm") as name:
        assert name.read() == "qmail-send\n"


def test_default_delivery_of_several_lines(started):
    started.start("./Mailbox\n./copy")
    started.inject("joe")
    started.line(r"^delivery 1: success: did_2\+0\+0/$")
    assert started.file("Mailbox") == started.file("copy") != b""
    assert started.mail() == []


def test_default_delivery_outlives_hup(started):
    started.start("./Mailbox")
    started.control("defaultdelivery", "./other")
    started.control("concurrencylocal", "7")
    started.hup()
    started.until(lambda: started.ask({"do": "status"})["channels"]["local"]["limit"] == 7, "the new limit")
    started.inject("joe")
    started.line(r"^end msg 1$")
    assert started.file("Mailbox")
    assert not started.file("other")


@pytest.mark.parametrize("args", [(), ("",), ("\n",)], ids=["none", "empty", "blank line"])
def test_without_a_default_delivery_the_control_file_counts(started, args):
    """An empty one is what a script gives whose cat has failed: it must not mean that mail is thrown away."""
    started.control("defaultdelivery", "./other")
    started.start(*args)
    started.inject("joe")
    started.line(r"^delivery 1: success: did_1\+0\+0/$")
    assert started.file("other")


def test_alarm_tries_again_and_term_ends(started):
    started.start()
    with started.closed_mailbox():
        started.inject("joe")
        started.line(r"^delivery 1: deferral: Home_directory_is_sticky")
    started.alarm()
    started.line(r"^delivery 2: success: ")
    assert started.stop() == 0


def test_a_second_one_of_the_same_home(started):
    started.start()
    env = {"QMAILHOME": str(started.path)}
    done = launch("qmail-start", env=env)
    assert (done.returncode, done.stderr) == (111, b"")
    assert b"qmail-start: fatal: " in done.stdout
    assert b"is being served already" in done.stdout
    started.inject("joe")
    started.line(r"^end msg 1$")


def test_no_home(tmp_path):
    done = launch("qmail-start", "./Maildir/", env={"QMAILHOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (111, b"")
    assert b"is no home of Quail" in done.stderr


def test_no_logger(started, tmp_path):
    done = launch("qmail-start", "./Maildir/", "no-such-logger", "x", env={"QMAILHOME": str(started.path)})
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr == b"qmail-start: fatal: unable to run no-such-logger: file does not exist\n"
    assert not (started.path / "run/queue.sock").exists()


def test_what_keeps_it_from_starting_is_in_the_log(logged, tmp_path):
    logged.control("concurrencylocal", "many")
    process = logged.spawn()
    assert process.wait(PATIENCE) == 111
    process.stdout.close()
    assert kept(tmp_path).splitlines()[-1].startswith("qmail-start: fatal: not started: correct the files below ")


def test_a_logger_gets_the_whole_log(logged, tmp_path):
    start_logged(logged, tmp_path)
    logged.inject("joe")
    until(logged, lambda: "end msg 1\n" in kept(tmp_path), "the end of the message")
    assert logged.stop() == 0  # and it has waited for the logger
    assert kept(tmp_path).endswith(" exitasap\nstatus: exiting\nstopped\n")
    assert logged.complaints.read_bytes() == b""


def test_the_end_waits_for_the_logger(logged, tmp_path):
    """One that has more to do when the log has ended is given the time."""
    os.mkfifo(tmp_path / "gate")
    script(tmp_path / "programs", "keeper", 'cat >> "$1"; read word < "${1%log}gate"; sleep 0.3; touch "$1.done"')
    start_logged(logged, tmp_path)
    logged.process.send_signal(signal.SIGTERM)
    (tmp_path / "gate").write_text("x\n")  # waits until the logger has seen the end
    assert logged.process.wait(PATIENCE) == 0
    assert (tmp_path / "log.done").exists()
    logged.ended()


def test_a_logger_that_ends_is_started_again(logged, tmp_path):
    start_logged(logged, tmp_path)
    (first,) = (tmp_path / "log.pids").read_text().split()
    os.kill(int(first), signal.SIGKILL)
    until(logged, lambda: len((tmp_path / "log.pids").read_text().split()) == 2, "the next logger")
    logged.inject("joe")
    until(logged, lambda: "end msg 1\n" in kept(tmp_path), "the end of the message")
    said = logged.complaints.read_text()
    assert said == "qmail-start: alert: the logger keeper was killed by signal 9; starting it again\n"
    assert logged.stop() == 0


def test_the_log_of_a_logger_that_gives_up_goes_to_standard_error(logged, tmp_path):
    """The mail goes on, and nobody waits for a pipe that is full."""
    script(tmp_path / "programs", "keeper", "exit 3")
    logged.process = logged.spawn()
    logged.log = Log(logged.process.stdout)
    until(logged, lambda: "serving queue " in logged.complaints.read_text(), "the services")
    logged.ask({"do": "status"})
    logged.inject("joe")
    until(logged, lambda: len(logged.mail()) == 1, "the message")
    until(logged, lambda: "end msg 1\n" in logged.complaints.read_text(), "its end")
    assert "alert: the logger keeper ended with exit code 3; starting it again\n" in logged.complaints.read_text()
    assert logged.stop() == 0
    assert logged.complaints.read_text().endswith("status: exiting\nstopped\n")


def test_a_logger_that_reads_nothing_stops_no_signals(logged, tmp_path):
    """The pipe fills with what the services say; the one that keeps them goes on."""
    start_logged(logged, tmp_path)
    (pid,) = map(int, (tmp_path / "log.pids").read_text().split())
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            logged.inject("joe")
        until(logged, lambda: len(logged.mail()) == 3, "the messages")
        logged.hup()
        logged.process.send_signal(signal.SIGTERM)
        ends = Ends([logged.pid("queue")])
        ends.wait()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert logged.ended() == 0
    assert kept(tmp_path).endswith("stopped\n")


def test_killed_it_takes_everything_along(logged, tmp_path):
    """Services end, the logger reads to the end; the next one delivers what is left."""
    start_logged(logged, tmp_path)
    (pid,) = map(int, (tmp_path / "log.pids").read_text().split())
    with logged.closed_mailbox():
        logged.inject("joe")
        until(logged, lambda: "Home_directory_is_sticky" in kept(tmp_path), "a deferral")
        ends = Ends([*logged.every_pid(), pid])
        logged.kill()
        ends.wait()
    (tmp_path / "log").unlink()
    start_logged(logged, tmp_path)
    logged.alarm()
    until(logged, lambda: len(logged.mail()) == 1, "the message")
    assert logged.stop() == 0


def test_a_closed_descriptor_1(started):
    command = 'exec "$@" >&-'
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", f"{started.path}/bin/qmail-start"], capture_output=True, check=False
    )
    assert done.returncode == 111
    assert done.stderr.startswith(b"qmail-start: fatal: file descriptor ")
