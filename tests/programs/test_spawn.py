"""qmail-lspawn, qmail-rspawn and qmail-clean as processes, with a single home behind them."""

import os
import subprocess
import sys

import pytest
from tests.programs.launch import launch, module
from tests.programs.spawn_process import PATIENCE, Spawn

from quail.cli.init_single import init_single
from quail.storage import tcpto

MESSAGE = b"Subject: hello\n\nhello\n"


@pytest.fixture
def home(tmp_path):
    """A home with message 3/26."""
    path = tmp_path / "home"
    init_single(str(path), name="joe")
    (path / "queue/mess/3").mkdir()
    (path / "queue/mess/3/26").write_bytes(MESSAGE)
    return path


@pytest.fixture
def local(home):
    with Spawn.launched("qmail-lspawn", "./Mailbox\n", home=home) as spawn:
        yield spawn


def remote(home, text, **environment):
    """qmail-rspawn, with a shell script in the place of qmail-remote."""
    path = home / "remote"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Spawn.launched("qmail-rspawn", home=home, QMAILREMOTE=str(path), **environment)


class TestLocal:
    def test_a_delivery(self, home, local):
        assert local.limit == bytes((120,))
        assert local.ask("3/26", b"joe@ex.org", 0) == (b"K", b"did 1+0+0\n")
        data = (home / "mail/joe/Mailbox").read_bytes()
        assert data.startswith(b"From s@ex.org ")
        assert data.endswith(b"Return-Path: <s@ex.org>\nDelivered-To: joe@ex.org\n" + MESSAGE + b"\n")

    def test_what_the_dot_qmail_file_says(self, home, local):
        (home / "mail/joe/.qmail").write_text("./Maildir/\n./box\n")
        assert local.ask("3/26", b"joe@ex.org") == (b"K", b"did 2+0+0\n")
        assert (home / "mail/joe/box").exists()

    def test_what_is_forwarded_goes_to_the_queue(self, home, local):
        (home / "mail/joe/.qmail-x").write_text("&a@b\n")
        letter, text = local.ask("3/26", b"joe-x@ex.org")
        assert letter == b"K"
        assert text.startswith(b"did 0+1+0\nqp ")
        assert len(os.listdir(home / "queue/drop")) == 1

    def test_nobody(self, local):
        assert local.ask("3/26", b"nobody@ex.org") == (b"D", b"Sorry, no mailbox here by that name. (#5.1.1)\n")

    def test_nothing_but_a_host_is_thrown_away(self, local):
        assert local.ask("3/26", b"@ex.org") == (b"K", b"")

    def test_what_is_put_off(self, home, local):
        (home / "mail/joe").chmod(0o1700)
        letter, text = local.ask("3/26", b"joe@ex.org")
        assert (letter, text[:24]) == (b"Z", b"Home directory is sticky")

    def test_users_that_cannot_be_read(self, home, local):
        (home / "users/cdb").write_bytes(b"x")
        assert local.ask("3/26", b"joe@ex.org") == (b"Z", b"Trouble reading users/cdb in qmail-lspawn.\n")

    def test_wrong_commands(self, local):
        assert local.ask("3/26", b"joe@ex.org", 120)[1].startswith(b"Internal error: delnum too big")
        assert local.ask("3/2x", b"joe@ex.org")[1].startswith(b"Internal error: messid has nonnumerics")
        assert local.ask("3/26", b"joe") == (b"D", b"Sorry, address must include host name. (#5.1.3)\n")

    def test_messages_that_are_none(self, home, local):
        folder = home / "queue/mess/3"
        os.mkfifo(folder / "27")
        (folder / "28").symlink_to("26")
        for path in ("3/1", "3/28"):
            assert local.ask(path, b"joe@ex.org") == (b"Z", b"qmail-spawn unable to open message. (#4.3.0)\n")
        for path in ("3", "3/27"):
            assert local.ask(path, b"joe@ex.org") == (b"Z", b"Sorry, message has wrong type. (#4.3.5)\n")

    def test_as_many_as_it_takes(self, home, local):
        (home / "mail/joe/.qmail").write_text("./Maildir/\n")
        for number in range(120):
            local.say(number, "3/26", b"joe@ex.org")
        reports = [local.report() for _ in range(120)]
        assert sorted(number for number, _, _ in reports) == list(range(120))
        assert {letter for _, letter, _ in reports} == {b"K"}
        assert len(os.listdir(home / "mail/joe/Maildir/new")) == 120
        assert local.ended() == 0

    def test_wrong_calls(self, home):
        done = launch("qmail-lspawn", env={"QMAILHOME": str(home)})
        assert (done.returncode, done.stdout) == (100, b"")
        (home / "queue/mess/3/26").unlink()
        (home / "queue/mess/3").rmdir()
        (home / "queue/mess").rmdir()
        done = launch("qmail-lspawn", "./Mailbox", env={"QMAILHOME": str(home)})
        assert (done.returncode, done.stdout) == (111, b"")


class TestRemote:
    def test_nobody_has_anything_to_say(self, home):
        done = launch("qmail-rspawn", env={"QMAILHOME": str(home)})
        assert (done.returncode, done.stdout, done.stderr) == (0, b"x", b"")
        assert launch("qmail-rspawn", env={"QMAILHOME": str(home / "gone")}).returncode == 111

    def test_how_it_is_called(self, home):
        code = 'printf "K%s|" "$#" "$@"; cat; ls /proc/$$/fd | tr "\\n" " "; printf "\\0"'
        with remote(home, code) as spawn:
            assert spawn.limit == bytes((120,))
            letter, text = spawn.ask("3/26", b"u@v@host.example", 5, b"")
        assert letter == b"K"
        assert text.startswith(b"3|Khost.example|K|Ku@v@host.example|" + MESSAGE)
        descriptors = text.removeprefix(b"3|Khost.example|K|Ku@v@host.example|" + MESSAGE)
        assert set(descriptors.split()) <= {b"0", b"1", b"2", b"10", b"255"}  # the last two are the shell's own

    @pytest.mark.parametrize(
        ("output", "report"),
        [
            (r"r\0Kok\n\0", (b"K", b"ok\n")),
            (r"hno\n\0DGiving up\n\0", (b"D", b"no\nGiving up\n")),
            (r"slater\n\0DGiving up\n\0", (b"Z", b"later\nGiving up\n")),
            (r"Zbusy\n\0", (b"Z", b"busy\n")),
            (r"", (b"Z", b"qmail-remote produced no output.\n")),
        ],
        ids=["accepted", "refused", "later", "message", "silent"],
    )
    def test_reports_become_one(self, home, output, report):
        with remote(home, f"printf '{output}'") as spawn:
            assert spawn.ask("3/26", b"u@host.example") == report

    @pytest.mark.parametrize(
        ("end", "report"),
        [
            ("kill -9 $$", (b"Z", b"qmail-remote crashed.\n")),
            ("exit 111", (b"Z", b"Unable to run qmail-remote.\n")),
            ("exit 1", (b"D", b"Unable to run qmail-remote.\n")),
        ],
        ids=["killed", "temporary", "permanent"],
    )
    def test_how_it_ends(self, home, end, report):
        with remote(home, end) as spawn:
            assert spawn.ask("3/26", b"u@host.example") == report

    def test_by_path_without_the_variable(self, home):
        (home / "programs").mkdir()
        with remote(home, r"printf 'Kfound\0'") as spawn:
            assert spawn.ask("3/26", b"u@host.example") == (b"K", b"found")
        (home / "remote").rename(home / "programs/qmail-remote")
        with Spawn.launched("qmail-rspawn", home=home, PATH=f"{home}/programs:/usr/bin:/bin") as spawn:
            assert spawn.ask("3/26", b"u@host.example") == (b"K", b"found")

    def test_one_that_is_not_there(self, home):
        with Spawn.launched("qmail-rspawn", home=home, QMAILREMOTE="/nonexistent") as spawn:
            assert spawn.ask("3/26", b"u@host.example") == (b"Z", b"Unable to run qmail-remote.\n")
            assert spawn.ended() == 0

    def test_numbers_in_use_and_the_end_of_commands(self, home):
        """What has begun is reported, although nobody has more to say."""
        os.mkfifo(home / "gate")
        with remote(home, rf"read word < {home}/gate; printf 'K%s\0' $word") as spawn:
            spawn.say(7, "3/26", b"u@host.example")
            assert spawn.ask("3/26", b"u@host.example", 7) == (b"Z", b"Internal error: delnum in use. (#4.3.5)\n")
            spawn.process.stdin.close()
            (home / "gate").write_text("done\n")
            assert spawn.report() == (7, b"K", b"done")
            assert spawn.process.wait(PATIENCE) == 0

    def test_what_goes_on_in_the_background_is_not_waited_for(self, home):
        os.mkfifo(home / "gate")
        with remote(home, rf"printf 'Kdone\0'; (read word < {home}/gate) & exit 0") as spawn:
            assert spawn.ask("3/26", b"u@host.example") == (b"K", b"done")
            (home / "gate").write_text("x\n")

    def test_slow_hosts_are_forgotten(self, home):
        table = tcpto.Tcpto.open(str(home / tcpto.PATH))
        table.timed_out("192.0.2.1", 1000.0)
        assert list(table.entries(1000.0))
        with remote(home, "exit 0"):
            assert list(table.entries(1000.0)) == []
        table.close()


def test_a_qmail_send_that_is_gone(home):
    """Deliveries come to their end."""
    with remote(home, rf"read word < {home}/gate; touch {home}/done; printf 'K\0'") as spawn:
        os.mkfifo(home / "gate")
        spawn.say(1, "3/26", b"u@host.example")
        spawn.process.stdout.close()
        spawn.process.stdin.close()
        (home / "gate").write_text("x\n")
        assert spawn.process.wait(PATIENCE) == 0
        assert (home / "done").exists()


class TestClean:
    def run(self, home, data):
        return launch("qmail-clean", stdin=data, env={"QMAILHOME": str(home)})

    def test_commands(self, home):
        done = self.run(home, b"foop/26\0todo/1\0rm -rf\0")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"++x", b"")
        assert not (home / "queue/mess/3/26").exists()

    def test_answers_that_cannot_be_written(self, home):
        read, write = os.pipe()
        os.close(read)
        words = [sys.executable, "-m", module("qmail-clean")]
        env = {"QMAILHOME": str(home)}
        done = subprocess.run(words, input=b"foop/1\0", stdout=write, env=env, timeout=PATIENCE, check=False)
        os.close(write)
        assert done.returncode == 100

    def test_no_queue(self, tmp_path):
        assert self.run(tmp_path, b"").returncode == 111
        assert self.run(tmp_path / "gone", b"").returncode == 111
