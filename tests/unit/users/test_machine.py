"""Who gets mail in a system home, by the accounts that the machine lists and by users/assign."""

import os
import pwd

import pytest

from quail.errors import TemporaryError
from quail.users import assign, machine
from quail.users.nss import Entry

UID = os.getuid() or 4321


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    for name in ("joe", "sue", "alias", "Cap", "theirs"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, UID, -1)
    return tmp_path


def entries(home):
    rows = [(name, UID) for name in ("sue", "joe", "gone", "alias", "Cap", "qmailq")]
    rows += [("root", 0), ("theirs", UID + 1)]
    return [Entry(name.encode(), uid, 100, os.fsencode(home / name)) for name, uid in rows]


def assigned(home, text):
    data = text.format(uid=UID, home=home).encode() + b".\n"
    (home / "users/assign").write_bytes(data)
    (home / "users/cdb").write_bytes(assign.compile_cdb(assign.parse(data, "users/assign")))


def names(home):
    return [user.name for user in machine.mail_users(str(home), entries(home))]


def test_accounts_by_name(home):
    (home / "sue/Maildir").mkdir()
    joe, sue = machine.mail_users(str(home), entries(home))
    assert (joe.name, joe.uid, joe.gid, joe.home, joe.maildir) == (
        "joe",
        UID,
        100,
        f"{home}/joe",
        f"{home}/joe/Maildir",
    )
    assert (joe.has_maildir, sue.has_maildir) == (False, True)


def test_what_users_assign_adds_and_takes_away(home):
    assigned(
        home,
        "=joe:sue:{uid}:100:{home}/sue:-:joe:\n=shop:sue:{uid}:100:{home}/sue:::\n+sue-:sue:{uid}:100:{home}/sue:-::\n",
    )
    assert names(home) == ["shop", "sue"]
    assigned(home, "+:alias:{uid}:100:{home}/alias:-::\n=sue:sue:{uid}:100:{home}/sue:::\n")
    assert names(home) == ["sue"]


def test_a_machine_without_alias(home):
    found = machine.mail_users(str(home), [entry for entry in entries(home) if entry.name != b"alias"])
    assert [user.name for user in found] == ["joe", "sue"]


def test_a_maildir_that_cannot_be_seen(home, monkeypatch):
    real = os.stat

    def stat(path, **more):
        if str(path).endswith("/Maildir"):
            raise PermissionError(13, "closed", path)
        return real(path, **more)

    monkeypatch.setattr(machine.os, "stat", stat)
    assert [user.has_maildir for user in machine.mail_users(str(home), entries(home))] == [None, None]


def test_a_damaged_users_cdb(home):
    (home / "users/cdb").write_bytes(b"rubbish")
    with pytest.raises(TemporaryError, match="users/cdb"):
        names(home)


def test_every_account_that_the_machine_lists():
    assert [entry.name for entry in machine.listed()] == [entry.pw_name.encode() for entry in pwd.getpwall()]
    assert [entry.uid for entry in machine.listed()] == [entry.pw_uid for entry in pwd.getpwall()]
