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
from quail.users import machine
from quail.users.nss import Entry

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
def test_only_in_a_home(home, args):
    with pytest.raises(PermanentError, match="quail init"):
        call(*args, "--home", f"{home}/users")


@pytest.mark.parametrize(("command", "instead"), [("add", "useradd -m NAME"), ("remove", "userdel NAME")])
def test_a_system_home_says_what_to_do_instead(home, command, instead):
    os.unlink(f"{home}/control/mode")
    with pytest.raises(PermanentError, match=f"system home.*{instead}") as caught:
        call(command, "x", "--home", home)
    assert "rebuild" not in str(caught.value)
    with open(f"{home}/users/cdb", "w", encoding="ascii"):
        pass
    with pytest.raises(PermanentError, match="then call `quail user rebuild`"):
        call(command, "x", "--home", home)
    assert sorted(os.listdir(home)) == ["control", "users"]


def test_a_system_home_says_that_the_password_is_to_be_removed_too(home):
    """Else it opens the mail of the next who gets the name."""
    os.unlink(f"{home}/control/mode")
    with pytest.raises(PermanentError, match="`quail user passwd NAME --remove`"):
        call("remove", "x", "--home", home)


@pytest.fixture
def system_home(home, monkeypatch):
    """With the accounts joe and alias, whose homes are in it."""
    os.unlink(f"{home}/control/mode")
    uid = os.getuid() or 4321
    found = []
    for name in ("joe", "alias"):
        os.mkdir(f"{home}/{name}")
        os.chown(f"{home}/{name}", uid, -1)
        found.append(Entry(name.encode(), uid, 100, os.fsencode(f"{home}/{name}")))
    monkeypatch.setattr(machine, "listed", lambda: found)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return home


def test_the_list_of_a_system_home(system_home):
    uid = os.getuid() or 4321
    about = {"name": "joe", "uid": uid, "gid": 100, "kind": "account", "home": f"{system_home}/joe"}
    about |= {"maildir": f"{system_home}/joe/Maildir", "has_maildir": False}
    assert json.loads(call("list", "--json", "--home", system_home).stdout) == [about]
    table = [line.split() for line in call("list", "--home", system_home).stdout.splitlines()]
    assert table == [["Name", "Uid", "Home", "Maildir"], ["joe", str(uid), f"{system_home}/joe", "not", "yet"]]
    os.mkdir(f"{system_home}/joe/Maildir")
    assert call("list", "--home", system_home).stdout.split()[-1] == "yes"


def test_a_system_home_without_users(system_home, monkeypatch):
    monkeypatch.setattr(machine, "listed", list)
    assert call("list", "--home", system_home).stdout == "There is no mailbox yet. To make one: useradd -m NAME\n"


def test_rebuild_of_a_system_home(system_home):
    assert call("rebuild", "--home", system_home).stdout == (
        "users/assign and users/cdb are made anew: 5 lines, from the machine's accounts and users/append\n"
    )
    assert "are up to date: 5 lines" in call("rebuild", "--home", system_home).stdout
    done = call("rebuild", "--quiet", "--home", system_home)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    with open(f"{system_home}/users/append", "w", encoding="ascii") as file:
        file.write("=x:joe:1001:100:/home/joe:::\n")
    assert call("rebuild", "-q", "--home", system_home).stdout == ""
    with open(f"{system_home}/users/assign", encoding="ascii") as file:
        assert "=x:joe:" in file.read()
    with open(f"{system_home}/users/append", "w", encoding="ascii") as file:
        file.write("oops\n")
    with pytest.raises(ConfigError, match="users/append line 1"):
        call("rebuild", "-q", "--home", system_home)


def test_rebuild_of_a_system_home_is_for_root(system_home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    with pytest.raises(PermanentError, match="root"):
        call("rebuild", "--home", system_home)
    assert not os.path.exists(f"{system_home}/users/assign")


def test_exit_codes(system_home):
    run = [sys.executable, "-m", "quail.cli.main", "--home", system_home, "user"]
    done = subprocess.run([*run, "add", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (100, "")
    assert done.stderr.startswith(f"quail: {system_home} is a system home")
    with open(f"{system_home}/users/append", "w", encoding="ascii") as file:
        file.write("oops\n")
    done = subprocess.run([*run, "rebuild", "-q"], capture_output=True, text=True, check=False)
    wanted = 111 if os.getuid() == 0 else 100
    assert (done.returncode, done.stdout) == (wanted, "")


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
