"""A system home under svscan, by `quail service-tree`: each service as its own account, its log as qmaill, and kill -9."""

import os
import re
import signal
import subprocess

import pytest
from tests.daemontools.supervise_house import until
from tests.system.harness import children
from tests.system_root.harness_root import DOMAIN, QMAIL, QUAIL_ENVIRONMENT, SystemHome, status_of

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
ACCOUNTS = {"queue": "qmailq", "users": "qmailp", "rspawn": "qmailr", "smtpd": "qmaild", "lspawn": "root"}
TREE = "/srv/shared/tree"


@pytest.fixture(scope="module")
def site(test_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with test_root.enter(SystemHome.folders(folder)) as box:
        home = SystemHome(box, folder)
        home.shared.chmod(0o755)  # else anybody could put services there
        home.quail("service-tree", TREE)
        start(home)
        for name in ACCOUNTS:
            until(lambda name=name: f"serving {name} of {QMAIL}" in log(home, name), lambda name=name: log(home, name))
        yield home


def start(home):
    """svscan, as its site starts it: with the programs of the home."""
    path = f"{QMAIL}/bin:/usr/bin:/bin:/usr/sbin"
    home.svscan = home.box.popen([f"{QMAIL}/bin/svscan", TREE], env={"PATH": path}, stderr=subprocess.DEVNULL)


def log(home, name):
    return home.box.run(["sh", "-c", f"cat {TREE}/quail-{name}/log/main/*"], check=False).stdout


def tool(home, *words):
    return home.box.run([f"{QMAIL}/bin/{words[0]}", *words[1:]], cwd=TREE).stdout


def delivered(home, count):
    """A message over SMTP has arrived."""
    home.box.run(["swaks", "--server", "127.0.0.1", "--from", "s@example.org", "--to", f"alice@{DOMAIN}"])
    new = home.home_of("alice") / "Maildir/new"
    until(lambda: new.is_dir() and len(list(new.iterdir())) == count, f"{count} messages")


def processes(home):
    """Below svscan, by name: the machine's numbers."""
    found, look = {}, [home.svscan.guest_pid]
    while look:
        pid = look.pop()
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                found.setdefault(file.read().strip(), []).append(pid)
            look += children(pid)
        except OSError:
            pass
    return found


def uid_of(home, account):
    return int(home.box.run(["id", "-u", account]).stdout)


def test_who_runs_as_whom(site):
    found = processes(site)
    for name, account in ACCOUNTS.items():
        wanted = str(uid_of(site, account))
        assert {status_of(pid)["Uid"].split()[0] for pid in found[f"quail-{name}"]} == {wanted}, name
    assert len(found["supervise"]) == 2 * len(ACCOUNTS)
    qmaill = str(uid_of(site, "qmaill"))
    assert {status_of(pid)["Uid"].split()[0] for pid in found["multilog"]} == {qmaill}
    assert len(found["quail-serve"]) == len(ACCOUNTS)


def test_mail_arrives_and_svscan_is_not_needed_for_it(site):
    """svscan and every supervise are killed: services and logs go on, until they are ended; then a new svscan starts others."""
    delivered(site, 1)
    before = processes(site)
    os.kill(site.svscan.guest_pid, signal.SIGKILL)
    for pid in before["supervise"]:
        os.kill(pid, signal.SIGKILL)
    delivered(site, 2)
    assert "starting delivery 2: " in log(site, "queue")
    for pid in before["quail-serve"]:
        os.kill(pid, signal.SIGTERM)
    start(site)
    for name in ACCOUNTS:
        until(
            lambda name=name: log(site, name).count(f"serving {name} of {QMAIL}") == 2,
            lambda name=name: log(site, name),
        )
    delivered(site, 3)
    told = tool(site, "svstat", *(f"quail-{name}" for name in ACCOUNTS))
    assert re.fullmatch(r"(quail-\w+: up \(pid \d+\) \d+ seconds\n){5}", told)


def test_only_root_writes_it(site):
    done = site.box.run(
        ["python3", "-m", "quail.cli.main", "--home", QMAIL, "service-tree", "/tmp/tree"],
        user=1000, env=QUAIL_ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 100
    assert "only root can make service directories" in done.stderr
