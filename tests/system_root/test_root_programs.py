"""What a program named in a dot-qmail file finds, and what it can't reach: inside/describe.py and inside/probe.py run there."""

import base64
import json
import os
import re
import subprocess

import pytest
from tests import signals
from tests.system_root.harness_root import DOMAIN, OPERATOR, QMAIL, QUAIL, QUAIL_ENVIRONMENT, read_json, uid

PYTHON = "/usr/bin/python3 -I -S"
SMALL = b"Subject: small\r\n\r\nhello\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"y" * 70 + b"\r\n") * 5000  # a file of its own in the queue
REFUSED = {"EACCES", "EPERM"}


def described(home, user, extension, text=SMALL, more="", services=()):
    """Deliver to a program line that describes itself: what it has found, and its message's number."""
    found = home.shared / f"{user}-{extension}.json"
    found.unlink(missing_ok=True)
    pids = " ".join(str(pid) for pid in services)
    line = f"|{PYTHON} /srv/tools/describe.py /srv/shared/{found.name} {pids}\n"
    home.dot_qmail(user, extension, line + more, mode=0o644)
    recipient = f"{extension if user == 'alias' else f'{user}-{extension}'}@{DOMAIN}"
    number = home.send(recipient, text)
    assert "success" in home.settled(number), home.story(number)
    return read_json(found)


@pytest.fixture(scope="module")
def told(home):
    services = [pid for pids in home.told_pids.values() for pid in pids]
    return described(home, "alice", "me-a-b", services=services)


class TestWhatAProgramFinds:
    def test_who_it_is(self, told):
        assert told["resuid"] == told["resgid"] == [uid("alice")] * 3
        assert told["groups"] == [uid("alice")]
        assert {told["status"][f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}

    def test_where_it_is(self, told):
        assert told["folder"] == "/home/alice"
        assert told["umask"] == 0o077

    def test_its_environment(self, told):
        path = told["environment"].pop("PATH")
        assert path.split(":")[0] == f"{QMAIL}/bin"
        assert not {"", "."} & set(path.split(":"))
        assert told["environment"] == {
            "PWD": "/home/alice",  # the shell's own doing
            "QMAILHOME": QMAIL,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SENDER": "s@example.org",
            "NEWSENDER": "s@example.org",
            "RECIPIENT": f"alice-me-a-b@{DOMAIN}",
            "USER": "alice",
            "HOME": "/home/alice",
            "HOST": "example.test",
            "HOST2": "example",
            "HOST3": "example",
            "HOST4": "example",
            "LOCAL": "alice-me-a-b",
            "EXT": "me-a-b",
            "EXT2": "a-b",
            "EXT3": "b",
            "EXT4": "",
            "DTLINE": f"Delivered-To: alice-me-a-b@{DOMAIN}\n",
            "RPLINE": "Return-Path: <s@example.org>\n",
            "UFLINE": told["environment"]["UFLINE"],
        }
        assert re.fullmatch(
            r"From s@example\.org \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\n", told["environment"]["UFLINE"]
        )

    def test_its_descriptors(self, told):
        """The message, to read only, and two ways to talk to lspawn: nothing else is open."""
        found = told["descriptors"]
        assert set(found) == {"0", "1", "2"}
        assert found["0"][1] == os.O_RDONLY
        assert not found["0"][0].startswith("socket:")
        assert "journal" not in found["0"][0]
        assert all(found[number][0].startswith(("pipe:", "/memfd:", "socket:", "/dev/null")) for number in ("1", "2"))

    def test_its_message(self, told):
        message = base64.b64decode(told["message"])
        assert message.startswith(b"Received: (qmail ")
        assert message.endswith(b"\nSubject: small\n\nhello\n")
        assert b"Delivered-To" not in message
        assert told["position"] == 0
        assert told["rewound"] is True

    def test_its_limits(self, home, told):
        """Those that serve was started with: what serve has raised for itself is taken back."""
        code = "import json, resource as r; print(json.dumps({n: r.getrlimit(getattr(r, n)) for n in dir(r) if 'RLIMIT' in n}))"
        assert told["limits"] == json.loads(home.box.run([*OPERATOR, "python3", "-c", code]).stdout)
        assert told["limits"]["RLIMIT_NOFILE"] == [1024, 4096]

    def test_its_signals(self, home):
        """All as they are for a program started from a shell: described by cat, for Python changes its own."""
        home.dot_qmail("alice", "signals", "|cat /proc/self/status > signals\n")
        home.deliver(f"alice-signals@{DOMAIN}")
        text = (home.home_of("alice") / "signals").read_text()
        found = dict(line.split(":\t", 1) for line in text.splitlines())
        assert not set().union(
            *(signals.of_mask(found[name]) for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"))
        )

    def test_it_shares_no_session_and_no_group_with_the_services(self, told):
        """A signal to its group stays among its own, and there is no terminal to type into."""
        sessions = told["sessions of services"]
        assert len(sessions) >= 5
        assert told["session"] not in sessions.values()
        assert told["group"] not in sessions.values()
        assert told["terminal"] is False

    def test_a_large_message(self, home):
        told = described(
            home, "alice", "large", LARGE, more=f"|{PYTHON} /srv/tools/describe.py /srv/shared/again.json\n"
        )
        message = base64.b64decode(told["message"])
        assert message.endswith(b"\n" + LARGE.replace(b"\r\n", b"\n"))
        assert told["descriptors"]["0"][1] == os.O_RDONLY
        assert set(told["descriptors"]) == {"0", "1", "2"}
        again = read_json(home.shared / "again.json")
        assert (again["position"], again["message"]) == (0, told["message"])

    @pytest.mark.parametrize("text", [SMALL, LARGE], ids=["small", "large"])
    def test_its_message_by_name(self, home, text):
        """Many scripts name it so."""
        home.dot_qmail("alice", "name", "|cat /dev/stdin > named\n")
        number = home.send(f"alice-name@{DOMAIN}", text)
        assert "success" in home.settled(number), home.story(number)
        named = (home.home_of("alice") / "named").read_bytes()
        assert named.endswith(text.replace(b"\r\n", b"\n"))

    def test_aliass_programs(self, home):
        told = described(home, "alias", "described")
        owner = (home.path / "alias").stat().st_uid
        assert told["resuid"] == [owner] * 3
        assert len(told["groups"]) == 1
        assert told["folder"] == f"{QMAIL}/alias"
        assert (told["environment"]["LOCAL"], told["environment"]["EXT"]) == ("described", "described")
        assert told["environment"]["USER"] == "alias"

    def test_one_users_program_never_runs_in_anothers_worker(self, home):
        """Deliveries to many users at once, each told who they were."""
        users = ("alice", "bob", "carol", "dave", "mallory")
        for user in users:
            home.dot_qmail(user, "whoami", "|id -u >> whoami\n|id -G >> whoami\n")
            (home.home_of(user) / "whoami").unlink(missing_ok=True)
        for number in [home.send(f"{user}-whoami@{DOMAIN}") for _ in range(6) for user in users]:
            home.end(number)
        for user in users:
            assert (home.home_of(user) / "whoami").read_text() == f"{uid(user)}\n" * 12


def test_no_terminal_of_the_operator(own_home):
    """serve runs in the foreground of a terminal: a user's program that got hold of it could type into it."""
    words = ["script", "--quiet", "--return", "--command", " ".join([*QUAIL, "serve", "--home", QMAIL]), "/dev/null"]
    terminal = own_home.box.popen(words, env=QUAIL_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    line = b""
    while b"serving " not in line:
        line = terminal.stdout.readline()
        assert line
    lines = "|(: < /dev/tty) 2> tried; tty >> tried; ps -o tty= $$ >> tried; mv tried done\n"
    own_home.dot_qmail("alice", "tty", lines)
    own_home.send(f"alice-tty@{DOMAIN}")
    done = own_home.home_of("alice") / "done"
    while not done.exists():
        assert terminal.stdout.readline(), "serve has ended"
    assert re.fullmatch(r".*: cannot open /dev/tty: No such device or address\nnot a tty\n\?\s*\n", done.read_text())
    terminal.terminate()
    terminal.stdout.read()
    terminal.wait()


def targets(home):
    """What a program of alice's is to try; written for it to read."""
    secret = home.write("bob", "secret", "bob's own\n")
    if not home.mail("bob"):
        home.deliver(f"bob@{DOMAIN}")
    if not home.mail("carol"):
        home.deliver(f"carol@{DOMAIN}")
    waiting = home.path / "queue/drop/tmp.ofbob"
    if not waiting.exists():
        waiting.write_bytes(b"unfinished")
        os.chown(waiting, uid("bob"), (home.path / "queue/drop").stat().st_gid)
        waiting.chmod(0o640)

    def settled():
        waiting = {message["number"] for message in home.ask({"do": "list"})["messages"]}
        return {int(path.name) for path in (home.path / "queue/mess").iterdir()} <= waiting

    home.until(settled, "bodies of finished messages to be gone")

    def inside(path):
        text = str(path)
        for host, guest in ((home.path, QMAIL), (home.homes, "/home")):
            text = text.replace(str(host), guest)
        return text

    queue = [path for path in (home.path / "queue").rglob("*") if path.is_file()]
    folders = [home.path / "queue", *(path for path in (home.path / "queue").iterdir() if path.is_dir())]
    maildirs = [home.homes / "bob/Maildir", home.homes / "carol/Maildir"]
    private = [home.homes / "bob", *(maildir / name for maildir in maildirs for name in ("", "new", "cur"))]
    found = {
        "files": [inside(path) for path in (*queue, secret, home.mail_paths("bob")[0], home.mail_paths("carol")[0])],
        "folders": [inside(path) for path in (*folders, *private) if path.name != "drop"],
        "closed to writers": [f"{QMAIL}{name}" for name in ("", "/alias", "/bin", "/control", "/users", "/run")]
        + ["/home/carol"],
        "sockets": [f"{QMAIL}/run/{name}.sock" for name in ("control", "users", "lspawn")],
        "services": home.told_pids,
        "open to all": [f"{QMAIL}/run/queue.sock"],
        "open to writers": [f"{QMAIL}/queue/drop"],
    }
    (home.shared / "targets.json").write_text(json.dumps(found))
    return found


class TestWhatAProgramCanNotReach:
    def probed(self, home, text):
        """Attempt to outcome, tried by a program of alice's."""
        (home.shared / "probed.json").unlink(missing_ok=True)
        home.dot_qmail(
            "alice", "probe", f"|{PYTHON} /srv/tools/probe.py /srv/shared/probed.json /srv/shared/targets.json\n"
        )
        pids = home.told_pids
        number = home.send(f"alice-probe@{DOMAIN}", text)
        assert "success" in home.settled(number), home.story(number)
        assert home.told_pids == pids
        return read_json(home.shared / "probed.json")

    @pytest.mark.parametrize("text", [SMALL, LARGE], ids=["small", "large"])
    def test_everything_is_refused(self, home, text):
        with home.closed_mailbox(
            "alice"
        ):  # another message of alice's waits in the queue, and one too large for the journal
            home.settled(home.send(f"alice@{DOMAIN}"))
            home.settled(home.send(f"alice@{DOMAIN}", LARGE))
        found = targets(home)
        assert any("/mess/" in path for path in found["files"])
        assert any("/journal/" in path for path in found["files"])
        results = self.probed(home, text)
        assert results.pop("message changed") == "no"
        allowed = {name: results.pop(name) for name in list(results) if name.startswith("allowed: ")}
        assert set(allowed.values()) == {"done"}
        assert len(results) > 150
        own = {name: outcome for name, outcome in results.items() if name.startswith("message: ")}
        assert len(own) == 11
        assert "done" not in own.values(), own
        others = {name: outcome for name, outcome in results.items() if name not in own and outcome not in REFUSED}
        assert others == {}

    def test_root_could(self, home):
        """The same attempts are no shots in the dark: for root each one succeeds."""
        targets(home)
        words = [
            *PYTHON.split(),
            "/srv/tools/probe.py",
            "/srv/shared/rooted.json",
            "/srv/shared/targets.json",
            "harmless",
        ]
        home.box.run(words)
        results = read_json(home.shared / "rooted.json")
        assert len(results) > 100
        assert {name: outcome for name, outcome in results.items() if outcome != "done"} == {}
