"""qmail-send in a system home, as qmail arranges it: lspawn as root, rspawn as qmailr, and messages that are qmailq's."""

import shutil
import subprocess

import pytest
from tests.system import send_launcher
from tests.system.harness import PATIENCE, Log
from tests.system_root.harness_root import DOMAIN, QMAIL, SystemHome, status_of, uid

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
REMOTE = """#!/bin/sh
# What qmail-remote's place sees of itself and of the message.
printf 'r\\0K%s %s ' "$(id -un)" "$3"; stat -L -c '%U %a' /proc/self/fd/0; grep Subject; printf '\\0'
"""


@pytest.fixture
def site(test_root, tmp_path):
    with test_root.enter(SystemHome.folders(tmp_path)) as box:
        yield SystemHome(box, tmp_path, concurrencyremote="20")


def spawn(site, *sender):
    """As its qmail-start: `sender` is what becomes qmail-send."""
    shutil.copy(send_launcher.__file__, site.shared / "launcher.py")
    remote = site.shared / "remote"
    remote.write_text(REMOTE)
    remote.chmod(0o755)
    words = [
        "python3", "/srv/shared/launcher.py",
        "qmail-lspawn", "./Maildir/", "--",
        "setuidgid", "qmailr", "qmail-rspawn", "--",
        "setuidgid", "qmailq", "qmail-clean", "--",
        *sender,
    ]  # fmt: skip
    env = {"PATH": f"{QMAIL}/bin:/usr/bin:/bin:/usr/sbin", "QMAILREMOTE": "/srv/shared/remote"}
    return site.box.popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def start(site):
    site.process = spawn(site, "qmail-send")
    site.log = Log(site.process.stdout)
    site.line("^serving queue and users of /var/qmail$")


def test_everybody_is_who_they_are_at_a_site_of_qmail(site):
    start(site)
    roots = {status_of(pid)["Name"] for pid in site.descendants() if status_of(pid)["Uid"].split()[0] == "0"}
    assert roots == {"qmail-send", "qmail-lspawn"}
    letter = "Subject: hello\n\nhello\n"
    recipients = [f"bob@{DOMAIN}", "far@example.net"]
    site.box.run([f"{QMAIL}/bin/sendmail", "-f", f"bob@{DOMAIN}", *recipients], user=uid("bob"), data=letter)
    site.line(r"^delivery \d: success: did_1[+]0[+]0/$")
    site.line(r"^delivery \d: success: qmailr_far@example\.net_qmailq_640/Subject:_hello/$")
    site.line("^end msg 1$")
    (path,) = site.mail_paths("bob")
    assert path.stat().st_uid == uid("bob")
    assert list((site.path / "queue/mess/0").iterdir()) == []
    assert site.stop() == 0


def test_nobody_else_reads_what_is_delivered(site):
    """A copy is for group qmail alone, none of whose accounts is a user's."""
    program = "ls /var/qmail/queue/mess /var/qmail/queue/mess/0; cat /var/qmail/queue/mess/0/1; exit 100"
    site.dot_qmail("alice", "", f"|{program}\n")
    start(site)
    site.box.run([f"{QMAIL}/bin/sendmail", f"alice@{DOMAIN}"], user=uid("bob"), data="Subject: secret\n\nx\n")
    site.line(r"^delivery 1: failure: (ls:_[^/]*(/[^:]*)*:_Permission_denied/){2}cat:_.*:_Permission_denied/$")


def test_as_qmails_it_says_who_can(site):
    """Where another qmail-start would have it: our queue is served by root, who gives each service its account."""
    with spawn(site, "setuidgid", "qmails", "qmail-send") as process:
        said = process.stdout.read()
        assert process.wait(PATIENCE) == 111
    assert said.decode() == f"alert: {QMAIL} is a system home: only root can serve it\n"
