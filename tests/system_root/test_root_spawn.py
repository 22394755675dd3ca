"""qmail-lspawn and qmail-rspawn as a foreign qmail-send would have them: as root, and as qmailr, over messages of qmailq."""

import os
import subprocess

import pytest
from tests.daemontools.supervise_house import until
from tests.programs.spawn_process import PATIENCE, Spawn
from tests.system_root.harness_root import DOMAIN, QMAIL, SystemHome, uid

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
MESSAGE = b"Subject: hello\n\nhello\n"
ENVIRONMENT = {"PATH": f"{QMAIL}/bin:/usr/bin:/bin", "SITE": "ours"}


class Site:
    """`home` is ours, without a queue service; its queue/mess has a message in the place that another queue would give it."""

    def __init__(self, folder, box):
        self.home = SystemHome(box, folder)
        self.box = box
        (self.home.path / "queue/mess/3").mkdir(mode=0o750)
        box.run(["chown", "qmailq:qmail", f"{QMAIL}/queue/mess/3"])
        self.message("3/26", "qmailq")
        self.message("3/27", "mallory")

    def message(self, name, owner):
        path = self.home.path / "queue/mess" / name
        path.write_bytes(MESSAGE)
        path.chmod(0o644)
        self.box.run(["chown", owner, f"{QMAIL}/queue/mess/{name}"])

    def number(self, option, account):
        return int(self.box.run(["id", option, account]).stdout)

    def spawn(self, *words, wrapped=()):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "bufsize": 0}
        return Spawn(self.box.popen([*wrapped, f"{QMAIL}/bin/{words[0]}", *words[1:]], env=ENVIRONMENT, **pipes))

    def assign(self, *lines):
        (self.home.path / "users/assign").write_text("".join(f"{line}\n" for line in (*lines, ".")))
        self.box.run([f"{QMAIL}/bin/qmail-newu"])


@pytest.fixture(scope="module")
def site(test_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with test_root.enter(SystemHome.folders(folder)) as box:
        yield Site(folder, box)


@pytest.fixture
def local(site):
    with site.spawn("qmail-lspawn", "./Maildir/") as spawn:
        yield spawn


def test_as_the_recipient(site, local):
    site.home.dot_qmail("alice", "", "|id -u; id -G; pwd; umask; echo $SITE $RECIPIENT $SENDER; cat\n./Maildir/\n")
    site.home.maildir("alice", "Maildir")
    letter, text = local.ask("3/26", f"alice@{DOMAIN}".encode())
    told = f"2001\n2001\n/home/alice\n0077\nours alice@{DOMAIN} s@ex.org\n{MESSAGE.decode()}did 1+0+1\n"
    assert (letter, text.decode()) == (b"K", told)
    (path,) = site.home.mail_paths("alice")
    assert path.stat().st_uid == uid("alice")


def test_the_default_delivery_is_the_argument(site, local):
    assert local.ask("3/26", f"bob@{DOMAIN}".encode()) == (b"K", b"did 1+0+0\n")
    assert site.home.mail("bob")


def test_what_is_nobodys_is_aliass(site, local):
    site.home.dot_qmail("alias", "nobody", "|id -u\n", mode=0o644)
    account = site.number("-u", "alias")
    assert local.ask("3/26", f"nobody@{DOMAIN}".encode()) == (b"K", b"%d\ndid 0+0+1\n" % account)
    letter, text = local.ask("3/26", f"stranger@{DOMAIN}".encode())
    assert (letter, text) == (b"D", b"Sorry, no mailbox here by that name. (#5.1.1)\n")


def test_neither_root_nor_a_service(site, local):
    """Whatever users/assign says: such a line does not count, and its mail is alias's."""
    site.assign(
        "=r:root:0:0:/root:::", f"=q:qmailq:{site.number('-u', 'qmailq')}:{site.number('-g', 'qmailq')}:{QMAIL}:::",
        f"=p:peter:{site.number('-u', 'qmailp')}:1:{QMAIL}:::", "=x:x:0:0:/root:::",
    )  # fmt: skip
    for name in (b"r", b"q", b"x"):
        assert local.ask("3/26", name + b"@ex.org")[0] == b"D"  # alias has no such address
    said = b"Not allowed to perform deliveries as a service of the mail system: peter.\n"
    assert local.ask("3/26", b"p@ex.org") == (b"Z", said)


def test_messages_of_somebody_else(local):
    assert local.ask("3/27", f"bob@{DOMAIN}".encode()) == (b"Z", b"Sorry, message has wrong owner. (#4.3.5)\n")


def test_long_reports_are_cut(site, local):
    site.home.dot_qmail("carol", "", "|head -c 100000 /dev/zero | tr '\\0' x; exit 100\n")
    letter, text = local.ask("3/26", f"carol@{DOMAIN}".encode())
    assert (letter, text) == (b"D", b"x" * 3000 + b"\nError report too long, sorry.\n")


def test_a_delivery_that_is_killed(site, local):
    """The user may do that to his own."""
    site.home.dot_qmail("dave", "", "|kill -9 $PPID\n")
    assert local.ask("3/26", f"dave@{DOMAIN}".encode()) == (b"Z", b"qmail-local crashed.\n")


def test_what_a_program_can_reach(site, local):
    """Nothing of the daemon: three descriptors, and no way to look into the process that runs it."""
    site.home.dot_qmail(
        "mallory", "", "|ls /proc/self/fd | tr '\\n' ' '; cat /proc/$PPID/environ /proc/$PPID/maps; true\n"
    )
    letter, text = local.ask("3/26", f"mallory@{DOMAIN}".encode())
    assert letter == b"K"
    assert text.startswith(b"0 1 2 3 ")
    assert text.count(b"Permission denied") == 2


def test_when_the_daemon_is_killed_programs_end(site):
    mark = site.home.shared / "started"
    site.home.dot_qmail("alice", "wait", "|echo $$ > /srv/shared/started; exec sleep 1000\n")
    with site.spawn("qmail-lspawn", "./Maildir/") as spawn:
        spawn.say(1, "3/26", f"alice-wait@{DOMAIN}".encode())
        pid = until(lambda: mark.exists() and mark.read_text().strip(), "the program")
        os.kill(spawn.process.guest_pid, 9)
        spawn.process.wait(PATIENCE)
        until(lambda: not site.box.run(["ps", "-o", "pid=", "-p", pid], check=False).stdout.strip(), "its end")


def test_only_root_delivers_in_a_system_home(site):
    done = site.box.run([f"{QMAIL}/bin/qmail-lspawn", "./Maildir/"], user=uid("bob"), check=False)
    assert (done.returncode, done.stdout) == (111, "")
    assert "only root can deliver in it" in done.stderr


def test_rspawn_as_qmailr(site):
    program = site.home.shared / "remote"
    program.write_text('#!/bin/sh\nprintf "K$(id -u) $* "; cat; printf "\\0"\n')
    program.chmod(0o755)
    wrapped = (f"{QMAIL}/bin/setuidgid", "qmailr", "env", "QMAILREMOTE=/srv/shared/remote")
    with site.spawn("qmail-rspawn", wrapped=wrapped) as spawn:
        letter, text = spawn.ask("3/26", b"u@host.example")
        said = b"%d host.example s@ex.org u@host.example " % site.number("-u", "qmailr")
        assert (letter, text) == (b"K", said + MESSAGE)
        assert spawn.ask("3/27", b"u@host.example")[1] == b"Sorry, message has wrong owner. (#4.3.5)\n"
