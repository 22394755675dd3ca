"""A user of the machine who means harm: whatever mallory does, mail of others goes on, no file of theirs changes, no service
restarts, and their memory stays small.
"""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import threading

import pytest
from tests.system.harness import PATIENCE
from tests.system_root.harness_root import DOMAIN, QMAIL, SENDMAIL, SERVICES, status_of, uid

from quail.queue.handover import encode_envelope

CONTROL = {"concurrencylocal": "8", "programtimeout": "2"}
PYTHON = "/usr/bin/python3 -I -S"
MOST_MEMORY = 150_000  # kB of a service, at its height
RACES = 30  # deliveries in each race
TOKENS = itertools.count(1)


class Others:
    """Mail to alice and bob, sent all the while; each message is owed to both of them, once."""

    def __init__(self, home):
        self.home = home
        self.owed = []
        self._stopping = threading.Event()
        self._trouble = []
        self._found = {user: [] for user in ("alice", "bob")}
        self._seen = {user: set() for user in self._found}
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self):
        try:
            while not self._stopping.is_set() and len(self.owed) < 400:
                self.send()
                self._stopping.wait(0.1)
        except Exception as error:
            self._trouble.append(error)

    def send(self):
        token = f"token{next(TOKENS):06d}"
        with self.home.smtp() as client:
            text = f"Subject: x\r\nX-Token: {token}\r\n\r\nhello\r\n".encode()
            client.send("s@elsewhere.test", [f"alice@{DOMAIN}", f"bob@{DOMAIN}"], text)
        self.owed.append(token)

    def _look(self):
        for user, found in self._found.items():
            for path in self.home.mail_paths(user):
                if path.name not in self._seen[user]:
                    self._seen[user].add(path.name)
                    if match := re.search(rb"^X-Token: (\w+)$", path.read_bytes(), re.MULTILINE):
                        found.append(match[1].decode())
        return all(set(self.owed) <= set(found) for found in self._found.values())

    def stop(self):
        """The last one is sent now: everything arrives, and nothing twice."""
        self._stopping.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert not self._trouble
        self.send()
        self.home.until(self._look, "mail for others")
        for found in self._found.values():
            mine = [token for token in found if token in set(self.owed)]
            assert sorted(mine) == sorted(self.owed)


def belongings(home):
    """What bob and carol have, but for the mail that comes in: path to all that could be changed."""
    found = {}
    for user in ("bob", "carol"):
        for folder, folders, files in os.walk(home.home_of(user)):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                status = os.lstat(path)
                kind = (status.st_mode, status.st_uid, status.st_gid)
                if name in files and not folder.endswith("/new"):
                    with open(path, "rb") as file:
                        found[path] = (*kind, file.read())
                elif not folder.endswith(("/new", "/tmp")):
                    found[path] = kind
    return found


@contextlib.contextmanager
def undisturbed(home):
    """Meanwhile others get their mail, and afterwards everything of theirs is as it was."""
    for user in ("alice", "bob", "carol"):
        if not home.mail(user):
            home.deliver(f"{user}@{DOMAIN}")
    home.write("bob", "secret", "bob's own\n")
    home.write("carol", "secret", "carol's own\n")
    before, pids, first = belongings(home), home.told_pids, len(home.log.lines)
    strangers = {user: len(home.mail(user)) for user in ("bob", "carol")}
    for pid in services(home):
        with open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")  # the height of its memory is measured from here
    others = Others(home)
    try:
        yield others
    finally:
        others.stop()
    assert belongings(home) == before
    assert len(home.mail("bob")) == strangers["bob"] + len(others.owed)
    assert len(home.mail("carol")) == strangers["carol"]
    assert home.told_pids == pids, home.log.lines[-40:]
    grown = {status_of(pid)["Name"]: int(status_of(pid)["VmHWM"].split()[0]) for pid in services(home)}
    assert max(grown.values()) < MOST_MEMORY, grown
    bugs = [line for line in home.log.lines[first:] if "Traceback" in line or "starting it again" in line]
    assert bugs == [], bugs


def states(home):
    """One letter for each delivery worker."""
    return [status_of(pid)["State"][0] for pid in home.workers()]


def services(home):
    return [pid for service in (*SERVICES, "serve") for pid in home.pids[service]]


def remove(home, numbers):
    """Messages that would be tried again and again."""
    home.ask({"do": "remove", "numbers": numbers})


class TestPrograms:
    def rude(self, home, what, more=""):
        """The report of a delivery to a program that behaves as told, and the message's number."""
        home.dot_qmail("mallory", what, f"|{PYTHON} /srv/tools/rude.py {what}\n{more}")
        number = home.send(f"mallory-{what}@{DOMAIN}")
        return home.settled(number), number

    def test_closing_everything(self, home):
        with undisturbed(home):
            line, _ = self.rude(home, "close")
            assert "success" in line

    def test_a_process_that_stays_behind_is_not_waited_for(self, home):
        with undisturbed(home):
            line, _ = self.rude(home, "daemon")
            assert "success: did_0+0+1/" in line

    def test_one_that_does_not_end_is_ended(self, home):
        with undisturbed(home):
            for what in ("hang", "stubborn"):
                line, number = self.rude(home, what)
                assert "deferral" in line
                assert "programtimeout" in line
                remove(home, [number])
        left = [pid for pid in home.descendants() if status_of(pid)["Name"].startswith("python")]
        assert left == []

    def test_as_many_processes_as_a_user_may_have(self, home):
        with undisturbed(home):
            line, number = self.rude(home, "fork")
            assert "delivery" in line
            remove(home, [number])

    def test_hundred_megabytes_on_each_descriptor(self, home):
        with undisturbed(home):
            line, number = self.rude(home, "flood")
            home.end(number)
            assert "failure: xxxxxx" in line
            assert line.endswith("/Error_report_too_long,_sorry./")
            assert len(line) < 3200
        assert b"Error report too long, sorry.\n" not in b"".join(home.mail("alice"))

    @pytest.mark.parametrize("what", ["worker", "group", "crowd"])
    def test_killing_what_one_may(self, home, what):
        """Its worker, its group, everything of its uid: that is its own, and only its own delivery is put off."""
        with undisturbed(home):
            line, number = self.rude(home, what)
            assert "deferral" in line
            remove(home, [number])
            home.dot_qmail("mallory", "fine", "|exit 0\n")
            assert "success" in home.settled(home.send(f"mallory-fine@{DOMAIN}"))

    def test_stopping_ones_worker(self, home):
        """What was given to it waits until it goes on; after ten minutes more than programs have, lspawn would end it."""
        home.dot_qmail("mallory", "stop", f"|{PYTHON} /srv/tools/rude.py stop\n")
        with undisturbed(home):
            number = home.send(f"mallory-stop@{DOMAIN}")
            home.until(lambda: any(state == "T" for state in states(home)), "the worker to be stopped")
        home.run_as("mallory", ["sh", "-c", "kill -CONT -1"])
        assert "success" in home.settled(number)

    def test_thousands_of_program_lines(self, home):
        home.dot_qmail("mallory", "many", "|:\n" * 2000)
        with undisturbed(home):
            line = home.settled(home.send(f"mallory-many@{DOMAIN}"))
            assert "success: did_0+0+2000/" in line

    def test_a_crowd_of_hanging_deliveries(self, home):
        """They have their share of the deliveries, and no more."""
        home.dot_qmail("mallory", "crowd", "|exec sleep 50\n")
        with undisturbed(home):
            numbers = [home.send(f"mallory-crowd@{DOMAIN}") for _ in range(40)]
            home.settled(numbers[0])
            remove(home, numbers)

    def test_mail_to_oneself_without_end(self, home):
        """A program that sends two messages to its own address for each one."""
        line = f"|{SENDMAIL} -f '' mallory-loop@{DOMAIN} mallory-loop@{DOMAIN} < /dev/null\n"
        home.dot_qmail("mallory", "loop", line)
        first = home.send(f"mallory-loop@{DOMAIN}")
        with undisturbed(home):
            home.line(r"starting delivery \d+: msg \d+ to local mallory-loop@", 100)
            home.dot_qmail("mallory", "loop", "#\n")
            home.end(first)

            def over():
                return home.ask({"do": "status"})["channels"]["local"]["running"] == 0

            home.until(over, "the end of the loop")


FILES = {
    "zero": ("link", "/dev/zero"),
    "terminal": ("link", "/dev/tty"),
    "nowhere": ("link", "nothing-here"),
    "circle": ("link", ".qmail-circle"),
    "shadow": ("link", "/etc/shadow"),
    "bobs": ("link", "/home/bob/secret"),
    "memory": ("link", "/proc/self/mem"),
    "environment": ("link", "/proc/self/environ"),
    "message": ("link", "/proc/self/fd/0"),
    "folder": ("folder",),
    "pipe": ("pipe",),
    "socket": ("socket",),
}


class TestDotQmailFiles:
    def make(self, home, name, kind, target=None):
        path = home.home_of("mallory") / f".qmail-{name}"
        path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
        if kind == "link":
            os.symlink(target, path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            code = f"import socket; socket.socket(socket.AF_UNIX).bind('/home/mallory/{path.name}')"
            home.run_as("mallory", ["python3", "-c", code])
        os.lchown(path, uid("mallory"), uid("mallory"))

    def test_what_is_no_file_of_ones_own(self, home):
        with undisturbed(home):
            numbers = {}
            for name, what in FILES.items():
                self.make(home, name, *what)
                numbers[name] = home.send(f"mallory-{name}@{DOMAIN}", sender="")
            reports = {name: home.settled(number) for name, number in numbers.items()}
            remove(home, [*numbers.values()])
        print(reports)
        for name, report in reports.items():
            if name in ("shadow", "bobs", "memory", "environment"):
                assert "deferral: Unable_to_open_" in report, (name, report)
            else:
                assert re.search(r"failure: Sorry,_no_mailbox|deferral: Unable_to_open_", report), (name, report)

    def test_mboxes_that_are_none(self, home):
        targets = {
            "full": "/dev/full",
            "tty": "/dev/tty",
            "bob": "/home/bob/secret",
            "carol": "/home/carol/secret",
            "sock": f"{QMAIL}/run/queue.sock",
        }
        for name, target in targets.items():
            path = home.home_of("mallory") / f"mbox-{name}"
            os.symlink(target, path)
            home.dot_qmail("mallory", f"mbox-{name}", f"./mbox-{name}\n")
        os.mkfifo(home.home_of("mallory") / "mbox-pipe")
        home.dot_qmail("mallory", "mbox-pipe", "./mbox-pipe\n")
        with undisturbed(home):
            numbers = [home.send(f"mallory-mbox-{name}@{DOMAIN}") for name in (*targets, "pipe")]
            for number in numbers:
                print(home.settled(number))
                assert "deferral" in home.settled(number)
            remove(home, numbers)

    @pytest.mark.parametrize(
        "text",
        [
            b"&" + b"a" * 100_000_000 + b"\n",
            b"#" * 100_000_000,
            b"|" + b"x" * 100_000_000,
            b"./" + b"m" * 100_000_000 + b"/\n",
            b"#\n" * 1_000_000,
            b"./Maildir-that-is-not-there/\n" * 1_000_000,
            b"&mallory-void@example.test\n" * 1_000_000,
            b"\0" * 50_000_000,
        ],
        ids=["address", "comment", "program", "maildir", "comments", "maildirs", "addresses", "zeroes"],
    )
    def test_too_much(self, home, text):
        home.dot_qmail("mallory", "large", text)
        with undisturbed(home):
            number = home.send(f"mallory-large@{DOMAIN}", sender="")
            report = home.settled(number)
            remove(home, [number])
        print(report)
        assert len(report) < 4000
        (home.home_of("mallory") / ".qmail-large").unlink()

    def test_one_that_changes_while_it_is_read(self, home):
        home.maildir("mallory", "Maildir") if not (home.home_of("mallory") / "Maildir").exists() else None
        home.dot_qmail("mallory", "flux", "#\n")
        with undisturbed(home), acting(home, "swap.py", "rewrite", "/home/mallory/.qmail-flux"):
            numbers = [home.send(f"mallory-flux@{DOMAIN}", sender="") for _ in range(30)]
            for number in numbers:
                home.settled(number)
            remove(home, numbers)


@contextlib.contextmanager
def acting(home, *words):
    """A program of inside/, run by mallory meanwhile."""
    command = [*PYTHON.split(), f"/srv/tools/{words[0]}", *words[1:]]
    actor = home.box.popen(command, user=uid("mallory"), cwd="/home/mallory", stdout=subprocess.PIPE)
    try:
        assert actor.stdout.readline() == b"going\n"
        yield
        assert actor.poll() is None
    finally:
        actor.send_signal(signal.SIGKILL)
        actor.wait(PATIENCE)


class TestRaces:
    @pytest.fixture
    def moving(self, home):
        """A folder of mallory's in which a link can be renamed at will."""
        path = home.shared / "moving"
        if not path.exists():
            path.mkdir(mode=0o755)
            os.chown(path, uid("mallory"), uid("mallory"))
        yield path
        for each in path.iterdir():
            each.unlink()

    @pytest.mark.parametrize("victim", ["bob", "carol"])
    @pytest.mark.parametrize("how", ["assigned", "of the account"])
    def test_a_home_that_becomes_anothers(self, home, moving, victim, how):
        os.symlink("/home/mallory", moving / "home")
        if not (home.home_of("mallory") / "Maildir").exists():
            home.deliver(f"mallory@{DOMAIN}")
        name = "mover" if how == "assigned" else "mallory"
        place = "/srv/shared/moving/home"
        with contextlib.ExitStack() as undo:
            if how == "assigned":
                number = uid("mallory")
                (home.path / "users/assign").write_text(f"=mover:mallory:{number}:{number}:{place}:::\n.\n")
                home.box.run([f"{QMAIL}/bin/qmail-newu"])
                undo.callback((home.path / "users/assign").unlink)
                undo.callback((home.path / "users/cdb").unlink)
            else:
                home.box.run(["sed", "-i", f"s,:/home/mallory:,:{place}:,", "/etc/passwd"])
                undo.callback(home.box.run, ["sed", "-i", f"s,:{place}:,:/home/mallory:,", "/etc/passwd"])
            with undisturbed(home), acting(home, "swap.py", "link", place, "/home/mallory", f"/home/{victim}"):
                # Past the check at RCPT, which is part of the race.
                numbers = [home.queue(b"", f"{name}@{DOMAIN}".encode()) for _ in range(RACES)]
                for number in numbers:
                    home.settled(number)
                remove(home, numbers)
            arrived(home, numbers, home.mail("mallory"))

    @pytest.mark.parametrize("victim", ["bob", "carol"])
    def test_a_maildir_that_becomes_anothers(self, home, moving, victim):
        home.maildir("mallory", f"Mine-{victim}")
        os.symlink(f"/home/mallory/Mine-{victim}", moving / "Maildir")
        home.dot_qmail("mallory", "moving", "/srv/shared/moving/Maildir/\n")
        theirs = f"/home/{victim}/Maildir"
        with (
            undisturbed(home),
            acting(home, "swap.py", "link", "/srv/shared/moving/Maildir", f"/home/mallory/Mine-{victim}", theirs),
        ):
            numbers = [home.queue(b"s@example.org", b"mallory-moving@example.test") for _ in range(RACES)]
            reports = [home.settled(number) for number in numbers]
            remove(home, numbers)
        assert all(" success: " in report or " deferral: " in report for report in reports)
        arrived(home, numbers, home.mail("mallory", f"Mine-{victim}"))


def arrived(home, numbers, mail):
    """What was told to be delivered has been; a part of the rest too, maybe: it would be tried again."""
    successes = {number for number in numbers if any(" success: " in line for line in home.story(number))}
    print(f"{len(successes)} of {len(numbers)} succeeded")
    there = {int(number) for text in mail for number in re.findall(rb"^Received: \(qmail (\d+) ", text, re.MULTILINE)}
    assert successes <= there


# The last in the order of names, but for a crowd that is more than one user's share of a scan: the others have been looked at.
LAST = r"new\.twice again is not a message"


class TestTheQueuesSocket:
    def test_connections_that_stand_still(self, home):
        """As many as one is allowed, with as much of a message as one is allowed; others have their own share."""
        (home.shared / "envelope").write_bytes(encode_envelope(b"", [b"mallory-void@example.test"]))
        with undisturbed(home), acting(home, "clog.py", "/srv/shared/envelope"):
            for number in range(10):
                home.run_as("carol", [SENDMAIL, f"dave@{DOMAIN}"], f"Subject: {number}\n\n")
        home.until(lambda: len(home.mail("dave")) == 10, "mail by sendmail")
        home.line(rf"warning: uid {uid('mallory')} .*has \d+ (connections already|bytes on their way)")


class TestTheDrop:
    """queue/drop is for everybody to write to: what is no message there is left alone, and real ones get through."""

    def test_rubbish_and_real_ones(self, own_home):
        """Both were left there while the queue was down, and there is more when it comes back again."""
        own_home.write("bob", "secret", "bob's own\n")
        message = encode_envelope(b"", [b"alice@example.test"]) + b"Subject: where it must not be\n\n"
        (own_home.shared / "message").write_bytes(message)
        own_home.run_as("mallory", [*PYTHON.split(), "/srv/tools/litter.py", "3000", "/srv/shared/message"])
        for user in ("alice", "mallory"):
            own_home.run_as(user, [SENDMAIL, f"bob@{DOMAIN}"], f"Subject: from {user}\n\n")
        own_home.start()
        for number in (1, 2):
            own_home.end(number)
        assert len(own_home.mail("bob")) == 2
        own_home.line(LAST)
        assert all("\x1b" not in line for line in own_home.log.lines)
        assert max(len(line) for line in own_home.log.lines) < 1000
        before = own_home.pid("queue")
        os.kill(before, signal.SIGKILL)
        own_home.until(lambda: own_home.pids.get("queue", [0])[0] not in (0, before), "another queue")
        own_home.run_as("alice", [SENDMAIL, f"bob@{DOMAIN}"], "Subject: again\n\n")
        own_home.until(lambda: len(own_home.mail("bob")) == 3, "the third message")
        own_home.line(LAST, 2)
        assert own_home.mail("alice") == []
        assert int(status_of(own_home.pid("queue"))["VmHWM"].split()[0]) < MOST_MEMORY
        assert own_home.stop() == 0

    def test_one_large_message_of_nothing(self, own_home):
        """A file with a hole costs its owner nothing. It is copied bit by bit, and one that is too large not at all."""
        envelope = encode_envelope(b"", [b"mallory-void@example.test"])
        for name, size in (("large", 200 << 20), ("huge", 1 << 38)):
            path = own_home.path / f"queue/drop/new.{name}"
            path.write_bytes(envelope)
            os.truncate(path, size)
            os.chown(path, uid("mallory"), path.parent.stat().st_gid)
        own_home.dot_qmail("mallory", "void", "#\n")
        own_home.start()
        for _ in range(5):
            own_home.deliver(f"bob@{DOMAIN}")
        assert not any(f" uid {uid('mallory')}" in line for line in own_home.log.lines)
        own_home.line(rf"info msg \d+: bytes \d{{9}} from <> qp \d+ uid {uid('mallory')}$")
        own_home.line(r"new\.huge is not a message \(")
        assert int(status_of(own_home.pid("queue"))["VmHWM"].split()[0]) < MOST_MEMORY
        assert own_home.stop() == 0

    def test_a_message_says_whose_it_was(self, own_home):
        """Not what it claims: the uid of the file counts."""
        own_home.run_as("mallory", [SENDMAIL, "-f", f"alice@{DOMAIN}", f"bob@{DOMAIN}"], "From: alice\n\n")
        (path,) = (own_home.path / "queue/drop").glob("new.*")
        assert path.stat().st_uid == uid("mallory")
        own_home.start()
        own_home.until(lambda: own_home.mail("bob"), "the message")
        assert b" invoked by uid %d); " % uid("mallory") in own_home.mail("bob")[0]
        assert not list((own_home.path / "queue/drop").iterdir())
        assert own_home.stop() == 0
