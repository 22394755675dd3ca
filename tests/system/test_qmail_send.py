"""qmail-send with spawn daemons that somebody else has started: qmail's own arrangement, as real processes."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.programs.launch import launch, module
from tests.system.harness import PATIENCE
from tests.system.start_house import Started, script

pytestmark = pytest.mark.timeout(180)
LAUNCHER = Path(__file__).with_name("send_launcher.py")
REMOTE = 'cat >> "$LETTERS"; echo "$@" >> "$LETTERS.calls"; printf "r\\0Kgone to %s\\n\\0" "$1"'


def words(name, *args):
    return [sys.executable, "-m", module(name), *args]


CLEAN = words("qmail-clean")


class Sender(Started):
    """`local`, `remote`: the daemons' words, if not our own programs."""

    services = "queue", "users"

    def __init__(self, path):
        super().__init__(path)
        self.local = words("qmail-lspawn", "./Maildir/")
        self.remote = words("qmail-rspawn")
        self.control("concurrencyremote", "20")
        letters = path.parent / "letters"
        remote = script(path.parent, "remote", REMOTE)
        self.environment = {"QMAILREMOTE": str(remote), "LETTERS": str(letters)}

    def spawn(self, *_):
        env = {"PATH": f"{self.path}/bin:/usr/bin:/bin", "QMAILHOME": str(self.path), **self.environment}
        with self.complaints.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, str(LAUNCHER), *self.local, "--", *self.remote, "--", *CLEAN, "--", *words("qmail-send")],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True,
            )  # fmt: skip

    def copies(self):
        return os.listdir(self.path / "queue/mess/0")

    def letters(self):
        return Path(self.environment["LETTERS"]).read_text()


def told_in_vain(sender):
    """The log of one that can't be started."""
    with sender.spawn() as process:
        said = process.stdout.read()
        assert process.wait(PATIENCE) == 111
    return said.decode()


@pytest.fixture
def sender(tmp_path):
    server = Sender(tmp_path / "home")
    yield server
    server.close()


def test_local_remote_and_what_fails(sender):
    sender.control("concurrencylocal", "10")
    sender.start()
    sender.line(r"^status: local 0/10 remote 0/20$")
    recipients = b"joe@localhost", b"far@example.net", b"off@example.net", b"nobody@localhost"
    sender.queue(b"joe@localhost", *recipients)
    sender.line(r"^end msg 1$")
    sender.line(r"^delivery \d: success: did_1\+0\+0/$")
    sender.line(r"^delivery \d: success: gone_to_example\.net/$", count=2)
    sender.line(r"^delivery \d: failure: Sorry,_no_mailbox_here_by_that_name\._\(#5\.1\.1\)/$")
    sender.line(r"^bounce msg 1 qp 2$")
    sender.line(r"^end msg 2$")
    bodies = sender.mail()
    assert sorted(b"failure notice" in body for body in bodies) == [False, True]
    assert sender.letters().count("Subject: hello\n\nhello\n") == 2
    calls = Path(sender.environment["LETTERS"] + ".calls").read_text().splitlines()
    assert sorted(line.split()[2] for line in calls) == ["far@example.net", "off@example.net"]
    assert sender.copies() == []
    assert sender.stop() == 0


def test_a_large_body_for_several_at_once(sender):
    """Which is a file of the journal's own; its copy is there as long as somebody needs it."""
    sender.start()
    line = b"x" * 99 + b"\n"
    text = b"Subject: large\n\n" + line * 20_000
    recipients = [b"u%d@example.net" % number for number in range(5)]
    sender.queue(b"s@example.org", b"joe@localhost", *recipients, text=text)
    sender.line(r"^end msg 1$")
    (body,) = sender.mail()
    assert body.endswith(text)
    assert sender.letters().count("Subject: large\n") == 5
    assert sender.copies() == []


def test_more_messages_than_the_daemon_takes(sender, tmp_path):
    """It says 2 when it starts, and would be told more by nobody."""
    few = tmp_path / "few.py"
    few.write_text(
        "import sys\n"
        "from quail.delivery import spawning\n"
        "from quail.programs.qmail import qmail_lspawn\n"
        "spawning.LIMIT = 2\n"
        "qmail_lspawn.main()\n"
    )
    sender.local = [sys.executable, str(few), "./Maildir/"]
    sender.start()
    sender.line(r"^status: local 0/2 remote 0/20$")
    for _ in range(12):
        sender.queue(b"s@example.org", b"joe@localhost")
    for number in range(1, 13):
        sender.line(rf"^end msg {number}$")
    assert len(sender.mail()) == 12


def test_signals(sender):
    """They mean what they meant for qmail-send: HUP reads locals again, ALRM tries again what waits."""
    sender.start()
    with sender.closed_mailbox():
        sender.inject("joe")
        sender.line(r"^delivery 1: deferral: ")
    sender.process.send_signal(signal.SIGALRM)
    sender.line(r"^delivery 2: success: ")
    sender.control("locals", "localhost\nother.example")
    sender.process.send_signal(signal.SIGHUP)

    def local():
        sender.queue(b"s@example.org", b"joe@other.example")
        return any("to local joe@other.example" in line for line in sender.queue_lines())

    sender.until(local, "other.example to be local")
    assert sender.stop() == 0


def test_a_daemon_that_ends(sender):
    """Everything ends, after what is under way; what was not delivered is there for the next one."""
    sender.start()
    (lspawn,) = daemons(sender, "qmail_lspawn")
    os.kill(lspawn, signal.SIGKILL)
    sender.line(r"^alert: oh no! lost spawn connection! dying\.\.\.$")
    sender.line(r"^status: exiting$")
    assert sender.ended() == 0
    sender.inject("joe")  # it waits in the drop
    sender.start()
    sender.line(r"^end msg 1$")
    assert len(sender.mail()) == 1


def daemons(sender, name):
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.getpgid(int(entry)) == sender.process.pid:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
                if name.encode() in command and LAUNCHER.name.encode() not in command:
                    found.append(int(entry))
    return found


def test_the_queue_that_is_killed(sender):
    """Nobody can say which deliveries the daemons still have: it does not go on, and says so by its exit code."""
    sender.start()
    os.kill(sender.pid("queue"), signal.SIGKILL)
    assert sender.ended() == 111
    with (Path(sender.complaints)).open() as file:
        assert "Traceback" not in file.read()
    sender.start()
    sender.inject("joe")
    sender.line(r"^end msg 1$")


def test_a_copy_that_was_left(sender):
    (sender.path / "queue/mess/0").mkdir()
    (sender.path / "queue/mess/0/7").write_text("of an earlier life")
    sender.start()
    assert sender.copies() == []


def test_a_daemon_that_does_not_start(sender):
    sender.remote = ["false"]
    assert told_in_vain(sender) == "alert: cannot start: hath the daemon spawn no fire?\n"


def test_without_the_descriptors(sender):
    """By hand, or by a script that takes it for a program like others."""
    done = launch("qmail-send", env={"QMAILHOME": str(sender.path)})
    assert done.returncode == 111
    assert done.stdout == b""
    assert done.stderr.startswith(b"qmail-send: fatal: descriptor 3 is not open: ")
    assert b"qmail-start" in done.stderr


def test_a_home_that_is_served(sender):
    sender.start()
    said = told_in_vain(sender)
    assert "alert: " in said
    assert "is being served already" in said


def test_no_home(sender, tmp_path):
    sender.path = tmp_path / "nowhere"
    sender.local = sender.remote = ["sh", "-c", "printf '\\170'; exec cat"]
    assert told_in_vain(sender).startswith("alert: cannot start: ")
