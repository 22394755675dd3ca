"""Which addresses a dot-qmail file of alias refuses because the forwarding database, to which it leaves all, lacks them."""

import os

import pytest

from quail.cdb.maker import Maker
from quail.net.users_protocol import KNOWN, TROUBLE, UNKNOWN, Owner
from quail.users import rcpt
from quail.users.forwarded import Forwarded


@pytest.fixture
def database(tmp_path):
    def make(*keys):
        maker = Maker()
        for key in keys:
            maker.add(key, b"&x@y\0")
        (tmp_path / "new").write_bytes(maker.to_bytes())
        os.rename(tmp_path / "new", tmp_path / "aliases.cdb")
        return tmp_path / "aliases.cdb"

    make(b":root@", b":@virtual.example", b":one@here.example", b"?other@")
    return make


class Alias:
    """The account, and what smtpd asks of it."""

    def __init__(self, home):
        self.home = home
        self.forwarded = Forwarded()

    def write(self, text, name=".qmail-default", mode=0o644):
        (self.home / name).write_text(text)
        (self.home / name).chmod(mode)

    def ask(self, local, host=b"here.example", user=b"alias", ext=None):
        owner = Owner(user, 7790, 2108, os.fsencode(self.home), b"-", local if ext is None else ext)
        return rcpt.check(local, lambda _: owner, host=host, forwarded=self.forwarded)[0]


@pytest.fixture
def alias(tmp_path, database):
    (tmp_path / "alias").mkdir()
    return Alias(tmp_path / "alias")


@pytest.fixture
def line(tmp_path):
    return f"fastforward -d {tmp_path}/aliases.cdb"


def test_the_database_is_asked(alias, line):
    alias.write(f"| {line}\n")
    assert alias.ask(b"root") == alias.ask(b"RooT") == alias.ask(b"one") == KNOWN
    assert alias.ask(b"one", b"HERE.Example") == alias.ask(b"anybody", b"virtual.example") == KNOWN
    assert alias.ask(b"nobody") == alias.ask(b"one", b"elsewhere.example") == alias.ask(b"other") == UNKNOWN


def test_each_answer_is_of_the_database_as_it_is_then(alias, line, database):
    alias.write(f"|{line}")
    assert alias.ask(b"late") == UNKNOWN
    database(b":late@")
    assert (alias.ask(b"late"), alias.ask(b"root")) == (KNOWN, UNKNOWN)


@pytest.mark.parametrize(
    "form",
    ["|{}", "| {}\n", "|\t{}  \t\n", "# all of it\n\n|/usr/local/bin/{}\n\n# end", "| ./{}\n", "|bin/{}"],
)
def test_forms_of_the_line(alias, line, form):
    alias.write(form.format(line))
    assert (alias.ask(b"root"), alias.ask(b"nobody")) == (KNOWN, UNKNOWN)


@pytest.mark.parametrize(
    "text",
    [
        "", "./Maildir/\n", "| {} \n./Maildir/\n", "&a@b\n|{}\n", "|{} || true\n", "|{};exit\n", "|{} x\n", "|$HOME/{}\n",
        "\n|{}\n",
        "|x{}\n", "|fast{}\n", "+list\n|{}\n", "# {}\n", "{}\n", " |{}\n", "|{}\n" + "#" * 5000,
    ],
    ids=range(16),
)  # fmt: skip
def test_whatever_else_it_says_it_takes_the_mail(alias, line, text):
    alias.write(text.format(line))
    assert alias.ask(b"nobody") == KNOWN


@pytest.mark.parametrize("options", ["-dp", "-d -p", "-p", "-D", "", "-nd"])
def test_other_options_are_not_known_here(alias, line, options):
    alias.write("|" + line.replace("-d", options))
    assert alias.ask(b"nobody") == KNOWN


def test_a_database_that_cannot_be_read_refuses_nobody(alias, line, tmp_path):
    alias.write(f"|{line}")
    (tmp_path / "aliases.cdb").write_bytes(b"rubbish")
    assert alias.ask(b"nobody") == KNOWN
    (tmp_path / "aliases.cdb").unlink()
    assert alias.ask(b"nobody") == KNOWN
    (tmp_path / "aliases.cdb").mkdir()
    assert alias.ask(b"nobody") == KNOWN
    alias.write("|fastforward -d aliases.cdb")
    assert alias.ask(b"nobody") == KNOWN


@pytest.mark.parametrize("mode", [0o646, 0o744])
def test_a_file_whose_delivery_is_put_off_refuses_nobody(alias, line, mode):
    alias.write(f"|{line}", mode=mode)
    assert alias.ask(b"nobody") == KNOWN


def test_only_for_alias(alias, line):
    """Whose programs run as somebody who may not read what this process can."""
    alias.write(f"|{line}")
    assert alias.ask(b"nobody", user=b"joe") == KNOWN


def test_files_for_some_addresses(alias, line):
    """What the name leaves open is looked up: -default's rest, or else the whole extension."""
    alias.write(f"|{line}", ".qmail-x-default")
    assert (alias.ask(b"x-root"), alias.ask(b"x-nobody")) == (KNOWN, UNKNOWN)
    alias.write(f"|{line}", ".qmail-root")
    alias.write(f"|{line}", ".qmail-nobody")
    assert (alias.ask(b"root"), alias.ask(b"nobody")) == (KNOWN, UNKNOWN)
    alias.write("", ".qmail-nobody")
    assert alias.ask(b"nobody") == KNOWN


def test_a_file_that_cannot_be_read(alias, line, monkeypatch):
    alias.write(f"|{line}")
    really = os.open

    def closed(path, flags, *args):
        if os.fsencode(path).endswith(b"default"):
            raise OSError(number, "x")
        return really(path, flags, *args)

    monkeypatch.setattr(os, "open", closed)
    number = 13
    assert alias.ask(b"nobody") == KNOWN
    number = 5
    assert alias.ask(b"nobody") == TROUBLE


def test_many_databases_are_not_all_kept(alias, tmp_path, database):
    for number in range(40):
        os.link(database(b":root@"), tmp_path / f"{number}.cdb")
        alias.write(f"|fastforward -d {tmp_path}/{number}.cdb")
        assert (alias.ask(b"root"), alias.ask(b"nobody")) == (KNOWN, UNKNOWN)
        assert len(alias.forwarded._followers) <= 16
