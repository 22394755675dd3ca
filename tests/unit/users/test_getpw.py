"""qmail-getpw's rules (facts 6.3): which account a local part belongs to, and what is told when that can't be seen."""

import errno
import os

import pytest

from quail.errors import TemporaryError
from quail.users import accounts, getpw
from quail.users.nss import Entry

HOMES = {b"/home/joe": 1001, b"/home/joe-list": 1002, b"/home/cap": 1003, b"/root": 0, b"/bin": 0, b"/x": 1009}
ACCOUNTS = {
    name: Entry(name, uid, 100, home)
    for name, uid, home in [
        (b"root", 0, b"/root"),
        (b"joe", 1001, b"/home/joe"),
        (b"joe-list", 1002, b"/home/joe-list"),
        (b"Cap", 1003, b"/home/cap"),
        (b"bin", 2, b"/bin"),
        (b"gone", 1004, b"/home/gone"),
        (b"nowhere", 1005, b""),
        (b"here", 1009, b"x"),
        (b"a" * 31, 1001, b"/home/joe"),
        (b"b" * 32, 1001, b"/home/joe"),
        (b"alias", 7790, b"/var/qmail/alias"),
    ]
}
ALIAS = (b"alias", 7790, 100, b"/var/qmail/alias", b"-")


@pytest.fixture(autouse=True)
def _homes(monkeypatch):
    real = os.stat

    def stat(path, **more):
        if not isinstance(path, bytes):
            return real(path, **more)  # pytest's own
        if path not in HOMES:
            raise FileNotFoundError(errno.ENOENT, "none", path)
        return os.stat_result((0o40755, 1, 1, 2, HOMES[path], 100, 0, 0, 0, 0))

    monkeypatch.setattr(getpw.os, "stat", stat)


def found(local, by_name=ACCOUNTS.get):
    owner = getpw.find(local, by_name)
    return (owner.user, owner.uid, owner.gid, owner.home, owner.dash, owner.ext)


JOE = (b"joe", 1001, 100, b"/home/joe")
LIST = (b"joe-list", 1002, 100, b"/home/joe-list")


@pytest.mark.parametrize(
    ("local", "owner"),
    [
        (b"joe", (*JOE, b"", b"")),
        (b"JOE", (*JOE, b"", b"")),
        (b"joe-", (*JOE, b"-", b"")),
        (b"joe-x", (*JOE, b"-", b"x")),
        (b"Joe-X.Y-Z", (*JOE, b"-", b"X.Y-Z")),
        (b"joe--x", (*JOE, b"-", b"-x")),
        (b"joe-list", (*LIST, b"", b"")),
        (b"joe-LIST-Owner", (*LIST, b"-", b"Owner")),
        (b"joe-lists", (*JOE, b"-", b"lists")),
        (b"joe-list-a-b", (*LIST, b"-", b"a-b")),
        (b"a" * 31, (b"a" * 31, 1001, 100, b"/home/joe", b"", b"")),
        (b"a" * 31 + b"-x", (b"a" * 31, 1001, 100, b"/home/joe", b"-", b"x")),
        (b"joe-" + b"y" * 900, (*JOE, b"-", b"y" * 900)),
    ],
)
def test_the_longest_account_before_a_dash(local, owner):
    assert found(local) == owner


@pytest.mark.parametrize(
    "local",
    [
        b"nobody",
        b"joel",
        b"-joe",
        b"-",
        b"",
        b"joe+x",
        b"root",  # uid 0
        b"root-x",
        b"Cap",  # the account's name has a capital
        b"cap",
        b"bin",  # its home is root's
        b"gone",  # its home is not there
        b"nowhere",
        b"here",  # its home is no whole path
        b"b" * 32,  # too long
        b"b" * 32 + b"-x",
        b"joe\0",
        b"joe-\0",
        b"qmailq",
        b"qmaild-x",
        b"NoBody-X",
    ],
)
def test_what_belongs_to_nobody_is_aliass_whole_and_in_its_own_letters(local):
    assert found(local) == (*ALIAS, local)


def test_the_account_alias_is_an_account_too(monkeypatch):
    monkeypatch.setitem(HOMES, b"/var/qmail/alias", 7790)
    assert found(b"alias") == (b"alias", 7790, 100, b"/var/qmail/alias", b"", b"")
    assert found(b"Alias-X") == (b"alias", 7790, 100, b"/var/qmail/alias", b"-", b"X")


def test_what_is_asked_for():
    asked = []

    def by_name(name):
        asked.append(name)
        return ACCOUNTS[b"alias"] if name == b"alias" else None

    found(b"A-b--C", by_name)
    assert asked == [b"a-b--c", b"a-b-", b"a-b", b"a", b"alias"]
    asked.clear()
    found(b"x" * 1000 + b"-" * 1000, by_name)
    assert asked == [b"alias"]
    found(b"-" * 1000, by_name)
    assert len(asked) < 40  # nobody makes the name service work long


def test_the_services_are_those_of_a_system_home_but_alias():
    assert {name.encode() for name in accounts.NAMES} - {b"alias"} == getpw.SERVICES


def test_services_get_no_mail_under_another_spelling_either():
    service = Entry(b"qmailq", 1001, 100, b"/home/joe")
    assert found(b"queue", {b"queue": service, b"alias": ACCOUNTS[b"alias"]}.get) == (*ALIAS, b"queue")


def test_the_user_is_called_as_the_name_service_has_it():
    assert found(b"JOE", lambda _name: Entry(b"Joe", 1001, 5, b"/home/joe"))[:3] == (b"Joe", 1001, 5)


@pytest.mark.parametrize("local", [b"joe", b"nobody"])
def test_a_name_service_in_trouble_is_no_answer(local):
    def by_name(name):
        if name == local:
            raise TemporaryError("server down")
        return ACCOUNTS.get(name)

    with pytest.raises(TemporaryError, match="server down"):
        found(local, by_name)
    with pytest.raises(TemporaryError, match="server down"):
        found(local + b"-ext", by_name)


def test_trouble_with_alias_alone_costs_no_user_his_mail():
    def by_name(name):
        if name == b"alias":
            raise TemporaryError("server down")
        return ACCOUNTS.get(name)

    assert found(b"joe", by_name) == (*JOE, b"", b"")
    with pytest.raises(TemporaryError, match="server down"):
        found(b"nobody", by_name)


def test_no_alias_user():
    with pytest.raises(getpw.NoAliasError, match=r"^unable to find alias user$"):
        found(b"nobody", {}.get)
    for entry in (Entry(b"alias", 0, 0, b"/a"), Entry(b"alias", 5, 5, b""), Entry(b"alias", 5, 5, b"alias")):
        with pytest.raises(getpw.NoAliasError, match="must not have uid 0"):
            found(b"nobody", {b"alias": entry}.get)


def stat_fails(monkeypatch, code):
    real = os.stat

    def stat(path, **more):
        if not isinstance(path, bytes):
            return real(path, **more)
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(getpw.os, "stat", stat)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EINTR, errno.ENODEV])
def test_a_home_that_cannot_be_looked_at_is_trouble(monkeypatch, code):
    stat_fails(monkeypatch, code)
    with pytest.raises(getpw.HomeError, match=r"^unable to look at home directory /home/joe of user joe: "):
        found(b"joe-x")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_home_behind_a_closed_door_is_the_users_own(monkeypatch, code):
    stat_fails(monkeypatch, code)
    assert found(b"joe-x") == (*JOE, b"-", b"x")


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP])
def test_a_home_that_is_not_there_makes_no_mail_user(monkeypatch, code):
    stat_fails(monkeypatch, code)
    assert found(b"joe-x") == (*ALIAS, b"joe-x")
