"""Who the services are: uids, groups, capabilities, sockets, folders; and what serve refuses to start with."""

import os
import re

import pytest
from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT
from tests.system.harness import PATIENCE
from tests.system_root.harness_root import DOMAIN, QMAIL, SERVICES, describe, status_of, uid

ACCOUNTS = {
    "alias": "nofiles",
    "qmaild": "nofiles",
    "qmaill": "nofiles",
    "qmailp": "nofiles",
    "qmailq": "qmail",
    "qmailr": "qmail",
    "qmails": "qmail",
    "qmailpop": "nofiles",
}
RUNS_AS = {"smtpd": "qmaild", "queue": "qmailq", "users": "qmailp", "rspawn": "qmailr"}


@pytest.fixture(scope="module")
def accounts(home):
    """Name to (uid, gid) of every account of the box."""
    lines = home.box.run(["getent", "passwd"]).stdout.splitlines()
    return {fields[0]: (int(fields[2]), int(fields[3])) for fields in (line.split(":") for line in lines)}


@pytest.fixture(scope="module")
def groups(home):
    lines = home.box.run(["getent", "group"]).stdout.splitlines()
    return {fields[0]: (int(fields[2]), fields[3]) for fields in (line.split(":") for line in lines)}


class TestAccounts:
    def test_each_has_a_uid_of_its_own_and_its_group(self, accounts, groups):
        assert len({accounts[name][0] for name in ACCOUNTS} | {0}) == len(ACCOUNTS) + 1
        for name, group in ACCOUNTS.items():
            assert accounts[name][1] == groups[group][0]

    def test_nobody_is_in_those_groups_besides(self, groups):
        for name in ("qmail", "nofiles"):
            assert set(groups[name][1].split(",")) <= {"", *ACCOUNTS}

    def test_nobody_can_log_in_as_one(self, home):
        lines = home.box.run(["cat", "/etc/passwd", "/etc/shadow"]).stdout.splitlines()
        for name in ACCOUNTS:
            entry, secret = (line.split(":") for line in lines if line.startswith(f"{name}:"))
            assert os.path.basename(entry[6]) in ("nologin", "false"), name
            assert secret[1][:1] in ("!", "*"), name


class TestProcesses:
    def test_services_have_one_uid_and_one_group_for_good(self, home, accounts):
        for service, account in RUNS_AS.items():
            number, gid = accounts[account]
            for pid in home.pids[service]:
                status = status_of(pid)
                assert status["Uid"].split() == [str(number)] * 4, service
                assert status["Gid"].split() == [str(gid)] * 4, service
                assert status["Groups"].split() in ([], [str(gid)]), service

    def test_services_keep_no_capability(self, home):
        for service in RUNS_AS:
            for pid in home.pids[service]:
                status = status_of(pid)
                kept = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
                assert set(kept.values()) == {0}, (service, kept)

    def test_workers_too(self, home):
        home.deliver(f"alice@{DOMAIN}")
        (worker,) = home.workers()
        status = status_of(worker)
        assert status["Uid"].split() == status["Gid"].split() == [str(uid("alice"))] * 4
        assert status["Groups"].split() == [str(uid("alice"))]
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}

    def test_root_runs_serve_and_lspawn_and_nothing_else(self, home):
        root = {pid for pid in home.descendants() if status_of(pid)["Uid"].split()[0] == "0"}
        assert root == {*home.pids["serve"], *home.pids["lspawn"]}

    def test_nobody_can_look_into_them(self, home):
        """/proc of a process that is not dumpable belongs to root."""
        home.deliver(f"alice@{DOMAIN}")
        for pid in (*home.descendants(), *home.workers()):
            assert os.stat(f"/proc/{pid}/environ").st_uid == 0, status_of(pid)["Name"]

    def test_they_hold_only_what_they_need(self, home):
        """lspawn and users have no network socket; smtpd has none of the other services' sockets."""
        inet = numbers(home, "tcp", "tcp6")
        for service in (*SERVICES, "serve"):
            for pid in home.pids[service]:
                held = {m[1] for target in links(pid) if (m := re.fullmatch(r"socket:\[(\d+)\]", target))}
                if service in ("smtpd", "serve"):
                    assert held & inet
                else:
                    assert not held & inet, service
        for service in ("smtpd", "users", "lspawn"):
            for pid in home.pids[service]:
                assert not any("/queue/" in target for target in links(pid)), service

    def test_what_is_listened_to(self, home):
        """Port 25 of every address, of both families, and the sockets in run/: nothing else, no abstract one."""
        proc = f"/proc/{home.pid('serve')}/net"
        listening = []
        for name in ("tcp", "tcp6"):
            with open(f"{proc}/{name}") as table:
                listening += [line.split()[1] for line in table.readlines()[1:] if line.split()[3] == "0A"]
        assert {address.partition(":")[2] for address in listening} == {"0019"}
        assert {len(address) for address in listening} == {8 + 5, 32 + 5}
        with open(f"{proc}/unix") as table:
            named = {line.split()[7] for line in table.readlines()[1:] if len(line.split()) > 7}
        sockets = {"queue.sock", "users.sock", "lspawn.sock", "rspawn.sock", "control.sock"}
        assert {os.path.basename(name) for name in named} == sockets
        assert not any(name.startswith("@") for name in named)

    def test_what_they_are_called(self, home):
        for service in (*SERVICES, "serve"):
            for pid in home.pids[service]:
                assert status_of(pid)["Name"] == f"quail-{service}"


def links(pid):
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    return found


def numbers(home, *tables):
    found = set()
    for name in tables:
        with open(f"/proc/{home.pid('serve')}/net/{name}") as table:
            found |= {line.split()[9] for line in table.readlines()[1:]}
    return found


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "mode", "owner", "group"),
        [
            (".", "drwxr-xr-x", "root", "qmail"),
            ("alias", "drwxr-sr-x", "alias", "qmail"),
            ("bin", "drwxr-xr-x", "root", "qmail"),
            ("control", "drwxr-xr-x", "root", "qmail"),
            ("users", "drwxr-xr-x", "root", "qmail"),
            ("queue", "drwx--x--x", "qmailq", "qmail"),
            ("queue/journal", "drwx------", "qmailq", "qmail"),
            ("queue/mess", "drwx--x---", "qmailq", "qmail"),
            ("queue/damaged", "drwx------", "qmailq", "qmail"),
            ("queue/drop", "drwx-ws-wt", "qmailq", "qmail"),
            ("run", "drwxr-xr-x", "root", None),
            ("run/queue.sock", "srw-rw-rw-", None, None),
            ("run/control.sock", "srw-------", "qmailq", None),
            ("run/users.sock", "srw-------", "qmaild", None),
            ("run/lspawn.sock", "srw-------", "qmailq", None),
            ("run/rspawn.sock", "srw-------", "qmailq", None),
        ],
    )
    def test_modes(self, home, accounts, groups, name, mode, owner, group):
        found, number, gid = describe(home.path / name)
        assert found == mode
        assert owner is None or number == accounts[owner][0]
        assert group is None or gid == groups[group][0]

    def test_nothing_is_set_uid_and_nothing_of_the_installation_can_be_changed_by_a_service(self, home):
        """But what is theirs to change: the queue, and alias's own files."""
        for folder, folders, files in os.walk(home.path):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                mode, owner, _ = describe(path)
                where = os.path.relpath(path, home.path).split("/")[0]
                assert mode[3] not in "sS", path
                if mode[0] in "sl":
                    continue
                if where == "queue":
                    assert mode[8] == "-" or path.endswith("/queue/drop"), path
                elif where != "alias":
                    assert owner == 0, path
                    assert "w" not in (mode[5], mode[8]), path

    def test_the_queues_files_are_its_own(self, home, accounts):
        home.deliver(f"alice@{DOMAIN}", b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 3000)
        segments = list((home.path / "queue/journal").iterdir())
        assert segments
        for path in segments:
            assert describe(path)[0] in ("-rw-------", "-rw-r-----"), path
            assert describe(path)[1] == accounts["qmailq"][0]

    def test_no_file_of_the_machine_is_anothers(self, home, groups):
        """Nothing belongs to the group nofiles, as its name says."""
        found = home.box.run(["find", "/", "-xdev", "-group", "nofiles"]).stdout
        assert found == ""
        assert home.box.run(["find", QMAIL, "-group", "nofiles"]).stdout == ""
        assert groups["nofiles"][0] != groups["qmail"][0]


class TestRefusedAtTheStart:
    """What serve says, and that it ends with a code that is not 0 before it binds anything. More is in test_init_in_root.py."""

    def refused(self, home, *options, env=None):
        words = [*QUAIL, "serve", "--home", QMAIL, *options]
        done = home.box.run(words, env=env or QUAIL_ENVIRONMENT, check=False, timeout=PATIENCE)
        assert done.returncode in (100, 111), (done.returncode, done.stderr)
        assert not (home.path / "run/pids.json").exists()
        return done.stderr

    def test_an_ordinary_user(self, own_home):
        words = [*QUAIL, "serve", "--home", QMAIL]
        done = own_home.box.run(words, user=uid("alice"), env=QUAIL_ENVIRONMENT, check=False)
        assert done.returncode in (100, 111)
        assert "only root can serve it" in done.stderr

    @pytest.mark.parametrize("mode", ["0777", "0775"])
    def test_a_home_that_others_can_write(self, own_home, mode):
        own_home.box.run(["sh", "-c", f"chgrp users {QMAIL}; chmod {mode} {QMAIL}"])
        text = self.refused(own_home)
        assert QMAIL in text
        assert "writ" in text

    def test_a_home_of_somebody_else(self, own_home):
        own_home.box.run(["chown", "mallory", QMAIL])
        assert QMAIL in self.refused(own_home)

    def test_a_home_that_services_can_not_enter(self, own_home):
        own_home.box.run(["chmod", "0700", QMAIL])
        assert QMAIL in self.refused(own_home)

    def test_code_that_others_can_write(self, own_home):
        """The package in a folder of an ordinary user."""
        own_home.box.run(["sh", "-c", "cp -r /opt/quail /home/mallory/code && chown -R mallory /home/mallory/code"])
        own_home.box.run(["chmod", "0755", "/home/mallory"])
        env = {"PYTHONPATH": "/home/mallory/code/src:/home/mallory/code/packages"}
        assert "/home/mallory" in self.refused(own_home, env=env)

    def test_an_interpreter_that_others_can_write(self, own_home):
        own_home.box.run(["sh", "-c", "mkdir -m 0777 /srv/bin && cp /usr/bin/python3.11 /srv/bin/python3"])
        words = ["/srv/bin/python3", *QUAIL[1:], "serve", "--home", QMAIL]
        done = own_home.box.run(words, env=QUAIL_ENVIRONMENT, check=False, timeout=PATIENCE)
        assert done.returncode in (100, 111)
        assert "/srv/bin" in done.stderr

    def test_a_second_serve(self, home):
        words = [*QUAIL, "serve", "--home", QMAIL]
        done = home.box.run(words, env=QUAIL_ENVIRONMENT, check=False, timeout=PATIENCE)
        assert done.returncode == 111
        assert "being served already" in done.stderr
        home.deliver(f"alice@{DOMAIN}")
