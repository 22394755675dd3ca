"""quail user: what is said, what is asked, what is refused."""

import json
import os
import subprocess
import sys
import tempfile

import pytest
from click.testing import CliRunner

from quail.cli.user import user
from quail.errors import ConfigError, PermanentError, UsageError

pytestmark = pytest.mark.usefixtures("_own_umask")


@pytest.fixture
def _own_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path):
    for folder in ("users", "control"):
        (tmp_path / folder).mkdir()
    (tmp_path / "control" / "mode").write_text("single\n")
    return str(tmp_path)


def call(*args, stdin=None, env=None, obj=None):
    return CliRunner().invoke(user, args, input=stdin, env=env, obj=obj, catch_exceptions=False)


def listed(home):
    return {about["name"]: about for about in json.loads(call("list", "--json", "--home", home).stdout)}


def test_add_says_where_the_mail_will_be(home):
    done = call("add", "nina", "--home", home)
    assert (done.exit_code, done.stdout) == (0, f"nina is a mailbox now: {home}/mail/nina/Maildir\n")
    assert os.path.isdir(f"{home}/mail/nina/Maildir/new")
    again = call("add", "Nina", "--home", home)
    assert again.exit_code == 0
    assert "lower case: nina." in again.stderr
    assert "was a mailbox already" in again.stdout


def test_the_owner_of_the_home_gets_the_deliveries(home):
    call("add", "nina", "--home", home)
    about = listed(home)["nina"]
    assert (about["uid"], about["gid"]) == (os.stat(home).st_uid, os.stat(home).st_gid)


def test_files_are_readable_whatever_the_umask_of_the_caller(home):
    os.umask(0o077)
    call("add", "nina", "--home", home)
    assert os.stat(f"{home}/users/cdb").st_mode & 0o777 == 0o644
    assert os.stat(f"{home}/mail/nina").st_mode & 0o777 == 0o700


@pytest.mark.parametrize("way", ["option", "environment", "outer command"])
def test_ways_to_name_the_home(home, way):
    if way == "option":
        done = call("add", "nina", "--home", home, env={"QMAILHOME": "/nonexistent"})
    elif way == "environment":
        done = call("add", "nina", env={"QMAILHOME": home})
    else:
        done = call("add", "nina", env={"QMAILHOME": "/nonexistent"}, obj=home)
    assert done.exit_code == 0
    assert list(listed(home)) == ["nina"]


def test_list(home):
    assert "quail user add NAME" in call("list", "--home", home).stdout
    assert call("list", "--json", "--home", home).stdout == "[]\n"
    call("add", "nina", "--home", home)
    with open(f"{home}/mail/nina/Maildir/new/1.2.3", "w", encoding="ascii"):
        pass
    with open(f"{home}/users/append", "a", encoding="ascii") as file:
        file.write(f"=root:alias:1:1:{home}/alias:-:root:\n")
    call("rebuild", "--home", home)
    assert listed(home)["nina"]["new"] == 1
    assert listed(home)["nina"]["kind"] == "mailbox"
    assert listed(home)["root"]["kind"] == "alias"
    table = [line.split() for line in call("list", "--home", home).stdout.splitlines()]
    assert table == [
        ["Name", "New", "Read", "Where", "it", "goes"],
        ["nina", "1", "0", f"{home}/mail/nina/Maildir"],
        ["root", f"{home}/alias/.qmail-root"],
    ]


def test_remove_keeps_mail_unless_told(home):
    call("add", "nina", "--home", home)
    assert "its mail stays in" in call("remove", "nina", "--home", home).stdout
    assert os.path.isdir(f"{home}/mail/nina/Maildir")
    assert listed(home) == {}


@pytest.mark.parametrize(("said", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_deleting_mail_asks(home, said, gone):
    call("add", "nina", "--home", home)
    done = call("remove", "nina", "--delete-mail", "--home", home, stdin=said)
    assert "with 0 new and 0 read messages?" in done.stderr
    assert (done.exit_code == 0) == gone
    assert os.path.exists(f"{home}/mail/nina") != gone
    assert (listed(home) == {}) == gone


def test_deleting_mail_with_yes_asks_nothing(home):
    call("add", "nina", "--home", home)
    done = call("remove", "nina", "--delete-mail", "--yes", "--home", home)
    assert (done.exit_code, done.stderr) == (0, "")
    assert not os.path.exists(f"{home}/mail/nina")


def test_rebuild_takes_what_was_edited(home):
    with open(f"{home}/users/append", "w", encoding="ascii") as file:
        file.write("=bob:bob:1:1:/home/bob:::\n")
    assert "the 1 lines" in call("rebuild", "--home", home).stdout
    assert listed(home)["bob"]["maildir"] == "/home/bob/Maildir"
    with open(f"{home}/users/append", "a", encoding="ascii") as file:
        file.write("oops\n")
    with pytest.raises(ConfigError, match="users/append line 2"):
        call("rebuild", "--home", home)


def test_bad_names_are_refused_before_anything_is_made(home):
    with pytest.raises(UsageError):
        call("add", "a:b", "--home", home)
    assert sorted(os.listdir(home)) == ["control", "users"]


@pytest.mark.parametrize("args", [("add", "x"), ("remove", "x"), ("list",), ("rebuild",)])
def test_only_in_a_single_home(home, args):
    os.unlink(f"{home}/control/mode")
    with pytest.raises(PermanentError, match="adduser"):
        call(*args, "--home", home)
    with pytest.raises(PermanentError, match="quail init"):
        call(*args, "--home", f"{home}/users")


def test_only_the_owner_or_root_may_change_a_home(home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(home).st_uid + 1)
    for args in (("add", "x"), ("remove", "x"), ("rebuild",)):
        with pytest.raises(PermanentError, match="belongs to uid"):
            call(*args, "--home", home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets homes that it enters as somebody else")
def test_root_works_as_the_owner_of_the_home():
    with tempfile.TemporaryDirectory() as home:  # tmp_path is closed to everybody else
        for folder in ("users", "control"):
            os.mkdir(f"{home}/{folder}")
            os.chown(f"{home}/{folder}", 4321, 4322)
        os.chown(home, 4321, 4322)
        with open(f"{home}/control/mode", "w", encoding="ascii") as file:
            file.write("single\n")
        code = "from quail.cli.user import user; user()"
        subprocess.run(
            [sys.executable, "-c", code, "add", "nina", "--home", home], check=True, stdout=subprocess.DEVNULL
        )
        for name in ("users/.lock", "users/append", "users/assign", "users/cdb", "mail/nina", "mail/nina/Maildir/cur"):
            status = os.stat(f"{home}/{name}")
            assert (status.st_uid, status.st_gid) == (4321, 4322)
        assert listed(home)["nina"]["uid"] == 4321
