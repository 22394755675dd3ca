"""A home whose services run under svscan, written by `quail service-tree`: each alone, or all as one service."""

import contextlib
import json
import os
import re
import signal
import subprocess

import pytest
from tests.daemontools.supervise_house import until
from tests.system.harness import PATIENCE, Server, Smtp

NAMES = ("queue", "users", "lspawn", "rspawn", "smtpd", "qmtpd", "qmqpd")
pytestmark = pytest.mark.timeout(300)


class TreeHome(Server):
    """No serve of our own: svscan in the folder of the tree."""

    def __init__(self, path, *options):
        super().__init__(path)
        self.tree = path.parent / "tree"
        written = self.quail("service-tree", *options, str(self.tree))
        assert written.returncode == 0, written.stderr
        self.path_variable = f"{path}/bin:/usr/bin:/bin"
        self.svscan = subprocess.Popen(
            [f"{path}/bin/svscan", str(self.tree)],
            env={"PATH": self.path_variable}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def tool(self, *words):
        done = subprocess.run(
            [f"{self.path}/bin/{words[0]}", *words[1:]],
            env={"PATH": self.path_variable}, cwd=self.tree, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def svc(self, option, *names):
        assert self.tool("svc", option, *names) == ""

    def logged(self, name):
        """Lines of a service's log, without their stamps."""
        try:
            text = (self.tree / name / "log/main/current").read_text()
        except FileNotFoundError:
            return []
        lines = text.splitlines()
        assert all(re.match(r"@[0-9a-f]{24} ", line) for line in lines)
        return [line[26:] for line in lines]

    def says(self, name, pattern, count=1):
        """Wait for the count-th such line of a service."""

        def found():
            matches = [line for line in self.logged(name) if re.search(pattern, line)]
            return len(matches) >= count and matches[count - 1]

        return until(found, lambda: f"{pattern} in {self.logged(name)}")

    def supervised(self, name):
        """The pid that supervise signals; 0 while it is down."""
        match = re.search(r"up \(pid (\d+)\)", self.tool("svstat", name))
        return int(match[1]) if match else 0

    def client(self):
        return Smtp(self.port)

    def send_one(self):
        with self.client() as client:
            client.envelope("s@example.org", "joe@localhost")
            return client.data(b"Subject: x\r\n\r\nx\r\n")

    def close(self):
        """All that belongs to the group of svscan."""
        try:
            self.tool("svc", "-d", *sorted(os.listdir(self.tree)))
            until(lambda: not any(self.supervised(name) for name in os.listdir(self.tree)), "the end of all services")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.svscan.pid, signal.SIGKILL)
            self.svscan.wait(PATIENCE)


@pytest.fixture
def home(tmp_path, request):
    home = TreeHome(tmp_path / "home", *getattr(request, "param", ()))
    yield home
    home.close()


def test_each_service_alone(home):
    assert sorted(os.listdir(home.tree)) == sorted(f"quail-{name}" for name in NAMES)
    for name in NAMES:
        home.says(f"quail-{name}", rf"^serving {name} of {home.path}")
    # What supervise signals is serve itself.
    told = {name: json.loads((home.path / f"run/pids.{name}.json").read_text()) for name in NAMES}
    pids = {name: home.supervised(f"quail-{name}") for name in NAMES}
    assert {name: pids_["serve"][0] for name, pids_ in told.items()} == pids
    assert {name: sorted(pids_) for name, pids_ in told.items()} == {name: sorted(("serve", name)) for name in NAMES}
    assert home.send_one().startswith(b"250 ")
    until(lambda: len(home.mail()) == 1, "the first message")

    # Nobody serves one of them twice.
    for words in (("serve",), ("serve", "--only", "users"), ("serve", "--only", "smtpd", "--smtp-port", "0")):
        refused = home.quail(*words)
        assert refused.returncode == 111
        assert "is being served already (run/pids." in refused.stderr
    assert home.quail("serve", "--only", "cook").returncode == 100

    # The queue goes and comes.
    home.svc("-d", "quail-queue")
    home.says("quail-queue", "^stopped$")
    until(lambda: not home.supervised("quail-queue"), "the end of serve")
    assert home.send_one().startswith(b"451 ")
    home.svc("-u", "quail-queue")
    home.says("quail-queue", "^serving queue", 2)
    assert until(lambda: (reply := home.send_one()).startswith(b"250 ") and reply, "a queue that takes mail")
    until(lambda: len(home.mail()) == 2, "the second message")

    # Mail waits for deliveries, and arrives when they are there again.
    home.svc("-d", "quail-lspawn")
    home.says("quail-lspawn", "^stopped$")
    assert home.send_one().startswith(b"250 ")
    home.svc("-u", "quail-lspawn")
    until(lambda: len(home.mail()) == 3, "the third message")

    # So does a client for whoever knows the users.
    home.svc("-d", "quail-users")
    home.says("quail-users", "^stopped$")
    with home.client() as client:
        client.ok("EHLO x", "MAIL FROM:<s@example.org>")
        client.write(b"RCPT TO:<joe@localhost>\r\n")
        home.svc("-u", "quail-users")
        assert client.reply().startswith(b"250 ")
    changed = {name for name in NAMES if home.supervised(f"quail-{name}") != pids[name]}
    assert changed == {"queue", "lspawn", "users"}


@pytest.mark.parametrize("home", [("--whole",)], indirect=True)
def test_all_as_one(home):
    """svc -h, -a, -t and -d reach serve, and do what they do to it anywhere."""
    assert os.listdir(home.tree) == ["quail"]
    home.says("quail", r"^serving .*\bsmtp on ")
    assert home.supervised("quail") == home.pids["serve"][0]
    home.control("databytes", "12345")
    home.svc("-h", "quail")

    def size():
        with home.client() as client:
            return b"250-SIZE 12345\n" in client.say("EHLO x")

    until(size, "the new databytes")
    with home.closed_mailbox():
        assert home.send_one().startswith(b"250 ")
        home.says("quail", "deferral: Home_directory_is_sticky")
    home.svc("-a", "quail")
    until(lambda: len(home.mail()) == 1, "the message, tried at once")
    home.svc("-t", "quail")
    home.says("quail", "^serving ", 2)
    home.svc("-d", "quail")
    home.says("quail", "^stopped$", 2)
    until(lambda: not home.supervised("quail"), "the end of serve")
    assert re.fullmatch(r"quail: down \d+ seconds, normally up\n", home.tool("svstat", "quail"))


def test_a_tree_that_is_there_keeps_its_logs(tmp_path):
    home = Server(tmp_path / "home")
    tree = tmp_path / "tree"
    assert home.quail("service-tree", str(tree)).returncode == 0
    run = tree / "quail-queue/run"
    text = run.read_text()
    assert text == f"#!/bin/sh\nexec {home.path}/bin/quail serve --home {home.path} --only queue 2>&1\n"
    log = tree / "quail-queue/log"
    assert (log / "run").read_text() == f"#!/bin/sh\nexec {home.path}/bin/multilog t ./main\n"
    (log / "main/current").write_text("old\n")
    run.write_text("changed")
    assert home.quail("service-tree", str(tree)).returncode == 0
    assert run.read_text() == text
    assert (log / "main/current").read_text() == "old\n"
    assert run.stat().st_mode & 0o777 == 0o755
    assert not [name for name in os.listdir(tree) if name.startswith(".")]
