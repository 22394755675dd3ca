"""users/assign of a system home: out of accounts and users/append, only when something changed, never over others' lines."""

import errno
import os

import pytest

from quail.errors import ConfigError, TemporaryError
from quail.storage.calls import SystemCalls
from quail.users import build
from quail.users.lookup import Lookup
from quail.users.nss import Entry

ALIAS = Entry(b"alias", 7790, 2108, b"/var/qmail/alias")
JOE = Entry(b"joe", 1001, 100, b"/home/joe")
SUE = Entry(b"sue", 1002, 100, b"/home/sue")
OTHERS = [
    Entry(b"root", 0, 0, b"/root"),
    Entry(b"qmailq", 7793, 2107, b"/home/qmailq"),
    Entry(b"bin", 2, 2, b"/bin"),
    Entry(b"gone", 1004, 100, b"/home/gone"),
    Entry(b"x:y", 1005, 100, b"/home/odd"),
    Entry(b"odd", 1005, 100, b"/home/odd:x:/"),
    Entry(b"new\nline", 1005, 100, b"/home/odd"),
    Entry(b"relative", 1005, 100, b"home"),
    Entry(b"none", -1, 100, b"/home/odd"),
    Entry(b"Cap", 1005, 100, b"/home/odd"),
]
HOMES = {entry.home: entry.uid for entry in (ALIAS, JOE, SUE, *OTHERS)} | {b"/bin": 0}
del HOMES[b"/home/gone"]
LINES = {
    b"alias": b"+:alias:7790:2108:/var/qmail/alias:-::\n"
    b"=alias:alias:7790:2108:/var/qmail/alias:::\n+alias-:alias:7790:2108:/var/qmail/alias:-::\n",
    b"joe": b"=joe:joe:1001:100:/home/joe:::\n+joe-:joe:1001:100:/home/joe:-::\n",
    b"sue": b"=sue:sue:1002:100:/home/sue:::\n+sue-:sue:1002:100:/home/sue:-::\n",
}
MANUAL = b"=boss:joe:1001:100:/home/joe:-:boss:\n"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    return str(tmp_path)


def write(home, name, data):
    with open(f"{home}/users/{name}", "wb") as file:
        file.write(data)


def read(home, name):
    with open(f"{home}/users/{name}", "rb") as file:
        return file.read()


def state(home):
    """Of each file that counts: content, and which file it is."""
    found = {}
    for name in sorted(os.listdir(f"{home}/users")):
        if name != ".lock":
            status = os.stat(f"{home}/users/{name}")
            found[name] = (read(home, name), status.st_ino, status.st_mtime_ns)
    return found


def rebuild(home, *entries, exists=(), calls=None):
    known = {entry.name: entry for entry in exists}
    more = {"calls": calls} if calls else {}
    return build.rebuild_of_accounts(home, [ALIAS, *entries], known.get, HOMES.get, **more)


def above(home):
    text = read(home, "assign")
    return text[: text.index(b"\n.\n") + 1]


def test_accounts_with_mail_and_users_append(home):
    write(home, "append", MANUAL.rstrip())
    assert rebuild(home, JOE, *OTHERS, SUE) == (8, True)
    assert above(home) == LINES[b"alias"] + LINES[b"joe"] + LINES[b"sue"] + MANUAL
    lookup = Lookup(f"{home}/users/cdb")
    assert lookup.find(b"Joe-X").ext == b"X"
    assert lookup.find(b"boss").dash == b"-"
    assert lookup.find(b"qmailq").user == lookup.find(b"root").user == b"alias"
    assert sorted(state(home)) == ["append", "assign", "cdb"]
    assert os.stat(f"{home}/users/cdb").st_mode & 0o777 == 0o644


def test_the_files_of_qmail_pw2u_have_their_say(home):
    write(home, "exclude", b"joe\n")
    write(home, "mailnames", b"sue:s:susan\n")
    write(home, "subusers", b"shop:sue:shop:\n")
    rebuild(home, JOE, SUE)
    names = [line.split(b":")[0] for line in above(home).splitlines()[3:]]
    assert names == [b"=s", b"+s-", b"=susan", b"+susan-", b"=shop", b"+shop-"]


def test_what_has_not_changed_is_not_touched(home):
    rebuild(home, JOE)
    before = state(home)
    assert rebuild(home, JOE) == (5, False)
    assert state(home) == before


@pytest.mark.parametrize("lost", ["assign", "cdb"])
def test_what_is_lost_is_made_again(home, lost):
    rebuild(home, JOE)
    before = state(home)
    os.unlink(f"{home}/users/{lost}")
    assert rebuild(home, JOE)[1]
    after = state(home)
    assert {name: content for name, (content, *_) in after.items()} == {
        name: content for name, (content, *_) in before.items()
    }
    assert [name for name in after if after[name] == before[name]] == [
        name for name in ("assign", "cdb") if name != lost
    ]


def test_new_and_removed_accounts(home):
    rebuild(home, JOE)
    assert rebuild(home, JOE, SUE) == (7, True)
    assert rebuild(home, SUE) == (5, True)
    assert above(home) == LINES[b"alias"] + LINES[b"sue"]


def test_a_list_that_lacks_an_account_that_exists_forgets_nobody(home):
    rebuild(home, JOE, SUE)
    before = state(home)
    with pytest.raises(TemporaryError, match="the account joe exists, but is missing") as caught:
        rebuild(home, SUE, exists=[JOE])
    assert f"{home}/users/assign" in str(caught.value)
    assert "users/append" in str(caught.value)
    assert state(home) == before
    write(home, "append", LINES[b"joe"])  # as it says
    rebuild(home, SUE, exists=[JOE])
    assert above(home) == LINES[b"alias"] + LINES[b"sue"] + LINES[b"joe"]
    write(home, "append", b"")
    write(home, "exclude", b"joe\n")  # or so
    rebuild(home, SUE, exists=[JOE])
    assert above(home) == LINES[b"alias"] + LINES[b"sue"]


def test_ten_thousand_accounts(home, monkeypatch):
    many = [Entry(b"u%d" % number, 5000 + number, 100, b"/home/u%d" % number) for number in range(10_000)]
    monkeypatch.setattr(f"{__name__}.HOMES", HOMES | {entry.home: entry.uid for entry in many})
    assert rebuild(home, *many, calls=NoSync()) == (20_003, True)
    assert rebuild(home, calls=NoSync()) == (3, True)


def test_a_home_that_is_not_mounted_forgets_nobody(home, monkeypatch):
    rebuild(home, JOE, SUE)
    before = state(home)
    monkeypatch.delitem(HOMES, JOE.home)
    with pytest.raises(TemporaryError, match="/home/joe, the home of joe, is not there") as caught:
        rebuild(home, JOE, SUE)
    assert "users/exclude" in str(caught.value)
    assert state(home) == before
    write(home, "exclude", b"joe\n")  # as it says
    rebuild(home, JOE, SUE)
    assert above(home) == LINES[b"alias"] + LINES[b"sue"]


def test_a_home_that_belongs_to_another_now_and_an_account_left_out_have_no_mail(home, monkeypatch):
    rebuild(home, JOE, SUE)
    monkeypatch.setitem(HOMES, JOE.home, 0)
    monkeypatch.delitem(HOMES, SUE.home)
    write(home, "include", b"alias\njoe\n")
    rebuild(home, JOE, SUE)
    assert above(home) == LINES[b"alias"]


def test_a_name_service_in_trouble_forgets_nobody(home):
    def by_name(_name):
        raise TemporaryError("unable to look up account joe")

    rebuild(home, JOE)
    before = state(home)
    with pytest.raises(TemporaryError, match="look up account joe"):
        build.rebuild_of_accounts(home, [ALIAS], by_name, HOMES.get)
    assert state(home) == before


def test_no_alias_account(home):
    with pytest.raises(TemporaryError, match=r"^unable to find alias user$"):
        build.rebuild_of_accounts(home, [JOE], {}.get, HOMES.get)
    assert state(home) == {}


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (LINES[b"alias"] + LINES[b"joe"] + MANUAL + b".\n", 6),
        (MANUAL, 1),
        (b"rubbish\n.\n", 1),
        (LINES[b"alias"] + LINES[b"sue"] + b".\n", 4),  # qmail-pw2u made it when there was an account sue
    ],
)
def test_lines_of_others_are_not_overwritten(home, made, line):
    write(home, "assign", made)
    before = state(home)
    with pytest.raises(ConfigError) as caught:
        rebuild(home, JOE)
    assert (caught.value.path, caught.value.line) == (f"{home}/users/assign", line)
    assert str(caught.value) == (
        f"{home}/users/assign line {line}: was not made by quail and would be lost; move it to users/append, then try again"
    )
    assert state(home) == before


def test_a_line_added_by_hand_is_found_and_moving_it_helps(home):
    rebuild(home, JOE)
    write(home, "assign", read(home, "assign").replace(b"\n.\n", b"\n" + MANUAL + b".\n", 1))
    with pytest.raises(ConfigError) as caught:
        rebuild(home, JOE)
    assert caught.value.line == 6
    write(home, "append", MANUAL)
    assert rebuild(home, JOE)[1]
    assert above(home) == LINES[b"alias"] + LINES[b"joe"] + MANUAL


def test_a_line_put_at_the_end_of_the_file_is_not_dropped_in_silence(home):
    """Where `echo LINE >> users/assign` puts it nobody reads it."""
    rebuild(home, JOE)
    line = b"=dave:joe:1001:100:/home/joe:::\n"
    with open(f"{home}/users/assign", "ab") as file:
        number = read(home, "assign").count(b"\n") + 1
        file.write(line)
    before = state(home)
    with pytest.raises(ConfigError, match=r"assign line \d+: stands behind the dot, where nobody reads it") as caught:
        rebuild(home, JOE)
    assert caught.value.line == number
    assert state(home) == before
    write(home, "append", line)
    rebuild(home, JOE)
    assert read(home, "assign").count(line) == 1


def test_what_qmail_pw2u_made_is_taken_over(home):
    write(home, "assign", LINES[b"alias"] + LINES[b"joe"] + b".\n")
    assert rebuild(home, JOE)[1]
    assert b"# Made by quail" in read(home, "assign")


@pytest.mark.parametrize(
    ("append", "line", "reason"),
    [
        (b"# boss\n", 1, "colons"),
        (MANUAL + b".\n", 2, "starts with a dot"),
        (MANUAL + b"=x:joe:me:100:/home/joe:::\n", 2, "no number"),
        (MANUAL + b"=root:root:0:0:/root:::\n", 2, "no delivery runs as"),
        (b"=q:qmailq:7793:2107:/x:::\n", 1, "no delivery runs as"),
    ],
)
def test_malformed_users_append_changes_nothing(home, append, line, reason):
    rebuild(home, JOE)
    write(home, "append", append)
    before = state(home)
    with pytest.raises(ConfigError) as caught:
        rebuild(home, JOE)
    assert (caught.value.path, caught.value.line) == (f"{home}/users/append", line)
    assert reason in caught.value.reason
    assert state(home) == before


class Failing(SystemCalls):
    """The n-th call that changes or syncs something fails."""

    def __init__(self, at):
        self.left = at

    def __getattribute__(self, name):
        real = super().__getattribute__(name)
        if name not in ("open", "write", "fsync", "rename"):
            return real

        def call(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "failed", args[0] if name in ("open", "rename") else None)
            return real(*args, **kwargs)

        return call


class NoSync(SystemCalls):
    """These files need not outlive the machine."""

    @staticmethod
    def fsync(fd):
        pass


def test_any_failing_call_leaves_the_old_or_the_new_and_the_next_call_mends_it(home):
    failed = 0
    for at in range(1, 100):
        rebuild(home, JOE)
        try:
            rebuild(home, JOE, SUE, calls=Failing(at))
        except TemporaryError:
            failed += 1
        else:
            break
        assert Lookup(f"{home}/users/cdb").find(b"joe").user == b"joe"
        assert above(home) in (LINES[b"alias"] + LINES[b"joe"], LINES[b"alias"] + LINES[b"joe"] + LINES[b"sue"])
        rebuild(home, JOE, SUE)
        assert Lookup(f"{home}/users/cdb").find(b"sue").user == b"sue"
    assert failed > 8
