"""qmail-start as root, in a system home: deliveries as their users, with its environment and limits, and a logger as qmaill."""

import os
import re
import signal
import subprocess

import pytest
from tests.daemontools.supervise_house import until
from tests.system.harness import PATIENCE, Ends
from tests.system_root.harness_root import DOMAIN, QMAIL, SystemHome, status_of, uid

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
LOGGER = """#!/bin/sh
# Who reads the log, and then the log.
ls /proc/self/fd > /srv/shared/descriptors
{ id -u; id -G; pwd; umask; echo "$SITE"; echo $$; } > /srv/shared/logger.$$
mv /srv/shared/logger.$$ /srv/shared/logger
exec cat >> /srv/shared/log
"""
# /var/qmail/rc, with a variable of the site and two limits, one of them that of open files, which the services raise.
RC = """#!/bin/sh
ulimit -S -n 777; ulimit -S -c 0; umask 007
exec env - PATH="/var/qmail/bin:/srv/shared:$PATH" SITE=ours \\
qmail-start "$@"
"""


class Site:
    def __init__(self, folder, box):
        self.home = SystemHome(box, folder)
        self.box = box
        self.put("logger-program", LOGGER)
        self.put("rc", RC)
        self.process = None

    def put(self, name, text):
        path = self.home.shared / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *args):
        self.process = self.box.popen(["/srv/shared/rc", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: "serving queue and users and lspawn and rspawn of /var/qmail" in self.log(), self.log)

    def log(self):
        path = self.home.shared / "log"
        return path.read_text().splitlines() if path.exists() else []

    def says(self, pattern):
        return until(
            lambda: [line for line in self.log() if re.search(pattern, line)], lambda: f"{pattern} {self.log()}"
        )

    def inject(self, user):
        self.box.run([f"{QMAIL}/bin/sendmail", f"{user}@{DOMAIN}"], user=uid("bob"), data="Subject: x\n\nx\n")

    def everything(self):
        """Numbers of the machine, of all that lives below qmail-start, and itself."""
        self.home.process = self.process
        try:
            return self.home.descendants()
        finally:
            self.home.process = None


@pytest.fixture
def site(test_root, tmp_path):
    with test_root.enter(SystemHome.folders(tmp_path)) as box:
        yield Site(tmp_path, box)


def test_who_runs_and_with_what(site):
    site.home.dot_qmail(
        "alice", "", "|id -u; id -G; pwd; umask; ulimit -n; ulimit -c; echo $SITE; echo $PATH; exit 111\n"
    )
    site.start("./Maildir/", "logger-program")
    account = site.box.run(["id", "-u", "qmaill"]).stdout.strip()
    group = site.box.run(["id", "-g", "qmaill"]).stdout.strip()
    who, groups, where, mask, variable, _ = (site.home.shared / "logger").read_text().splitlines()
    assert (who, groups, where, mask, variable) == (account, group, "/", "0077", "ours")
    descriptors = (site.home.shared / "descriptors").read_text().split()
    assert descriptors == ["0", "1", "2", "3"]  # the last is the folder that ls reads
    site.inject("alice")
    (line,) = site.says("^delivery 1: deferral: ")
    assert line.startswith("delivery 1: deferral: 2001/2001//home/alice/0077/777/0/ours//var/qmail/bin:/srv/shared:")
    site.inject("bob")
    site.says("^delivery 2: success: did_1[+]0[+]0/$")
    (path,) = site.home.mail_paths("bob")
    assert path.stat().st_uid == uid("bob")
    roots = {status_of(pid)["Name"] for pid in site.everything() if status_of(pid)["Uid"].split()[0] == "0"}
    assert roots == {"qmail-send", "quail-lspawn"}
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(PATIENCE) == 0
    assert site.log()[-2:] == ["status: exiting", "stopped"]
    assert (site.process.stdout.read(), site.process.stderr.read()) == (b"", b"")


def test_killed_it_takes_everything_along(site):
    site.start("./Maildir/", "logger-program")
    ends = Ends(site.everything())
    os.kill(site.process.guest_pid, signal.SIGKILL)
    ends.wait()
    site.process.wait(PATIENCE)
    (site.home.shared / "log").unlink()
    site.start("./Mailbox", "logger-program")
    site.inject("bob")
    site.says("^delivery 1: success: did_1[+]0[+]0/$")
    assert (site.home.home_of("bob") / "Mailbox").stat().st_uid == uid("bob")


def test_only_root_serves_a_system_home(site):
    done = site.box.run([f"{QMAIL}/bin/qmail-start", "./Maildir/", "logger-program"], user=uid("bob"), check=False)
    assert (done.returncode, done.stdout) == (111, "")
    assert done.stderr == f"qmail-start: fatal: {QMAIL} is a system home: only root can serve it\n"
    done = site.box.run([f"{QMAIL}/bin/qmail-start"], user=uid("bob"), check=False)
    assert (done.returncode, done.stderr) == (111, "")
    assert "only root can serve it\n" in done.stdout


SYSLOG = """import os, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind("/dev/log")
os.chmod("/dev/log", 0o666)
open("/srv/shared/syslog.ready", "w").close()
with open("/srv/shared/log", "ab", buffering=0) as log:
    while True:
        log.write(sock.recv(65536) + b"\\n")
"""


def test_a_script_of_boot(site):
    """As it is: the log goes to syslog, by splogger as qmaill."""
    site.box.popen(["python3", "-c", SYSLOG])
    until((site.home.shared / "syslog.ready").exists, "a syslog")
    site.process = site.box.popen([f"{QMAIL}/boot/home"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    site.says(r"qmail: \d+\.\d+ serving queue and users and lspawn and rspawn of /var/qmail")
    site.inject("bob")
    (line,) = site.says(r"qmail: \d+\.\d+ delivery 1: success: did_1[+]0[+]0/")
    assert line.startswith("<22>")
    assert site.home.mail_paths("bob")
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(PATIENCE) == 0
    assert site.log()[-1].endswith(" stopped")
    assert (site.process.stdout.read(), site.process.stderr.read()) == (b"", b"")
