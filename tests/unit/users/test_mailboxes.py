"""Mailboxes and aliases of a single home, as init and `quail user` make them."""

import os
import stat

import pytest

from quail.errors import PermanentError, TemporaryError, UsageError
from quail.users import mailboxes, rcpt
from quail.users.lookup import Lookup

UID, GID = 1001, 100


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    return str(tmp_path)


def lines(home, name="append"):
    with open(f"{home}/users/{name}", encoding="ascii") as file:
        return file.read().splitlines()


def answer(home, local):
    return rcpt.check(local, Lookup(f"{home}/users/cdb").find)[0]


@pytest.mark.parametrize("name", ["nina", "a", "x1", "7", "first.last", "a_b", "a-b", "list+tag", "n" * 64])
def test_fit_names(name):
    assert mailboxes.fit_name(name) == name


def test_names_are_kept_in_lower_case():
    assert mailboxes.fit_name("Nina.M") == "nina.m"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a:b",
        "a/b",
        "a\0b",
        "a\nb",
        "a b",
        "a@b",
        ".",
        "..",
        ".a",
        "a.",
        "a-",
        "-a",
        "_a",
        "+a",
        "a..b",
        "a&b",
        "n" * 65,
        "jürgen",
        "dotless \u0131",
        "\u212aelvin",
        "²",
    ],
)
def test_unfit_names_are_refused_with_a_reason(name):
    with pytest.raises(UsageError):
        mailboxes.fit_name(name)


def test_add_user(home):
    assert mailboxes.add_user(home, "Nina", UID, GID) is True
    folder = f"{home}/mail/nina"
    assert lines(home) == [f"=nina:nina:{UID}:{GID}:{folder}:::", f"+nina-:nina:{UID}:{GID}:{folder}:-::"]
    for part in ("", "/Maildir", "/Maildir/tmp", "/Maildir/new", "/Maildir/cur"):
        assert stat.S_IMODE(os.stat(folder + part).st_mode) == 0o700
    owner = Lookup(f"{home}/users/cdb").find(b"NINA-Shop")
    assert (owner.user, owner.uid, owner.gid, owner.dash, owner.ext) == (b"nina", UID, GID, b"-", b"Shop")
    assert owner.home == os.fsencode(folder)
    assert answer(home, b"nina") == b"K"
    assert answer(home, b"nina-shop") == b"N"
    assert answer(home, b"ninas") == b"N"


def test_adding_again_mends_what_is_missing(home):
    mailboxes.add_user(home, "nina", UID, GID)
    os.rmdir(f"{home}/mail/nina/Maildir/cur")
    os.unlink(f"{home}/users/cdb")
    assert mailboxes.add_user(home, "nina", UID, GID) is False
    assert len(lines(home)) == 2
    assert os.path.isdir(f"{home}/mail/nina/Maildir/cur")
    assert answer(home, b"nina") == b"K"


def test_a_relative_home_is_written_whole(home, monkeypatch):
    monkeypatch.chdir(home)
    mailboxes.add_user(".", "nina", UID, GID)
    mailboxes.add_alias(".", "root", "nina")
    assert all(f":{home}/" in line for line in lines(home))


def test_a_home_that_no_line_can_hold(tmp_path):
    place = tmp_path / "a:b"
    (place / "users").mkdir(parents=True)
    with pytest.raises(PermanentError, match="colon"):
        mailboxes.add_user(str(place), "nina", UID, GID)


def test_aliases(home):
    mailboxes.add_user(home, "nina", UID, GID)
    for alias in mailboxes.ALIASES:
        assert mailboxes.add_alias(home, alias, "nina") is True
        assert mailboxes.add_alias(home, alias, "nina") is False
        with open(f"{home}/alias/.qmail-{alias}", encoding="ascii") as file:
            assert file.read() == "&nina\n"
        assert answer(home, alias.upper().encode()) == b"K"
    uid, gid = os.stat(home).st_uid, os.stat(home).st_gid
    assert lines(home)[2] == f"=postmaster:alias:{uid}:{gid}:{home}/alias:-:postmaster:"
    assert answer(home, b"postmaster-x") == b"N"


def test_an_alias_with_a_dot_has_its_file_where_delivery_looks(home):
    mailboxes.add_user(home, "nina", UID, GID)
    mailboxes.add_alias(home, "first.last", "nina")
    assert os.listdir(f"{home}/alias") == [".qmail-first:last"]
    assert answer(home, b"First.Last") == b"K"


def test_an_alias_file_that_is_there_stays(home):
    mailboxes.add_user(home, "nina", UID, GID)
    os.mkdir(f"{home}/alias")
    with open(f"{home}/alias/.qmail-root", "w", encoding="ascii") as file:
        file.write("&nina\n&bob@elsewhere.example\n")
    mailboxes.add_alias(home, "root", "nina")
    with open(f"{home}/alias/.qmail-root", encoding="ascii") as file:
        assert file.read().endswith("elsewhere.example\n")


def test_an_address_is_given_away_once(home):
    mailboxes.add_user(home, "nina", UID, GID)
    mailboxes.add_alias(home, "root", "nina")
    with pytest.raises(PermanentError, match=r"root is an alias already: .*users/append line 3"):
        mailboxes.add_user(home, "Root", UID, GID)
    with pytest.raises(PermanentError, match=r"nina is another mailbox already: .*users/append line 1"):
        mailboxes.add_alias(home, "nina", "root")
    with pytest.raises(PermanentError, match="line 1"):
        mailboxes.add_user(home, "nina", UID + 1, GID)
    assert not os.path.exists(f"{home}/mail/root")
    assert not os.path.exists(f"{home}/alias/.qmail-nina")


def test_a_name_with_a_hyphen_is_its_own_mailbox(home):
    mailboxes.add_user(home, "nina", UID, GID)
    mailboxes.add_user(home, "nina-shop", UID, GID)
    assert Lookup(f"{home}/users/cdb").find(b"nina-shop").home.endswith(b"/mail/nina-shop")
    mailboxes.remove_user(home, "nina")
    assert answer(home, b"nina-shop") == b"K"
    assert answer(home, b"nina") == b"N"


def test_remove_keeps_the_mail(home):
    mailboxes.add_user(home, "nina", UID, GID)
    mailboxes.add_user(home, "bob", UID, GID)
    with open(f"{home}/mail/bob/Maildir/new/1.2.3", "w", encoding="ascii") as file:
        file.write("hello\n")
    folder = mailboxes.remove_user(home, "Bob")
    assert folder == f"{home}/mail/bob"
    assert os.path.exists(f"{folder}/Maildir/new/1.2.3")
    assert answer(home, b"bob") == b"N"
    assert answer(home, b"nina") == b"K"
    mailboxes.delete_mail(folder)
    assert os.listdir(f"{home}/mail") == ["nina"]
    mailboxes.delete_mail(folder)


def test_delete_follows_no_link(home, tmp_path):
    mailboxes.add_user(home, "bob", UID, GID)
    other = tmp_path / "precious"
    other.mkdir()
    (other / "file").touch()
    os.symlink(other, f"{home}/mail/bob/Maildir/new/link")
    mailboxes.delete_mail(f"{home}/mail/bob")
    assert (other / "file").exists()
    os.symlink(other, f"{home}/mail/bob")
    with pytest.raises(TemporaryError, match="unable to delete"):
        mailboxes.delete_mail(f"{home}/mail/bob")
    assert (other / "file").exists()


def test_remove_what_is_not_there_or_not_ours(home):
    mailboxes.add_user(home, "nina", UID, GID)
    with open(f"{home}/users/append", "a", encoding="ascii") as file:
        file.write("=bob:bob:1:1:/home/bob:::\n")
    before = lines(home)
    with pytest.raises(PermanentError, match="there is no mailbox sue"):
        mailboxes.remove_user(home, "sue")
    with pytest.raises(PermanentError, match=r"line 3 was not made by.*quail user rebuild"):
        mailboxes.remove_user(home, "bob")
    assert lines(home) == before


@pytest.mark.parametrize("content", ["&nina\n", "nina\n", "# x\n&bob\n&Nina@localhost\n"])
def test_a_mailbox_that_an_alias_needs_stays(home, content):
    mailboxes.add_user(home, "nina", UID, GID)
    mailboxes.add_alias(home, "postmaster", "nina")
    with open(f"{home}/alias/.qmail-postmaster", "w", encoding="ascii") as file:
        file.write(content)
    with pytest.raises(PermanentError, match=r"alias/\.qmail-postmaster"):
        mailboxes.remove_user(home, "nina")
    with open(f"{home}/alias/.qmail-postmaster", "w", encoding="ascii") as file:
        file.write("&bob\n# &nina\n|nina\n./nina\n")
    mailboxes.remove_user(home, "nina")


def test_rows(home):
    assert mailboxes.rows(home) == []
    mailboxes.add_user(home, "nina", UID, GID)
    mailboxes.add_alias(home, "root", "nina")
    nina, root = mailboxes.rows(home)
    assert (nina.name, nina.uid, nina.gid, nina.maildir) == ("nina", UID, GID, f"{home}/mail/nina/Maildir")
    assert nina.targets() == []
    assert (root.name, root.maildir, root.file) == ("root", None, f"{home}/alias/.qmail-root")
    assert root.targets() == ["nina"]
    os.unlink(root.file)
    os.mkfifo(root.file)
    assert root.targets() == []


def test_counts(home):
    mailboxes.add_user(home, "nina", UID, GID)
    maildir = f"{home}/mail/nina/Maildir"
    for place in ("new/1", "new/2", "new/.hidden", "cur/3:2,S", "tmp/4"):
        with open(f"{maildir}/{place}", "w", encoding="ascii"):
            pass
    assert mailboxes.count_mail(maildir) == (2, 1)
    assert mailboxes.count_mail(f"{home}/nowhere") == (0, 0)
