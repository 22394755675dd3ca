"""Whose is a local part? Order of the entries, letter case, replaced files, and files of an enemy or of a bad disk."""

import os

import pytest

from quail.cdb.maker import Maker
from quail.errors import ConfigError, QuailError, TemporaryError
from quail.users import assign
from quail.users.lookup import Lookup

TEXT = b"""\
=joe:joe:1001:100:/home/joe:::
+joe-:joe:1001:100:/home/joe:-::
+joe-list-:joe:1001:100:/home/joe:-:lists-:
=Joe-Exact:other:1002:100:/home/other:-:ex:
=joe:late:1:1:/late:::
+Sue:sue:1003:100:/home/sue:-::
+bob+:bob:1004:100:/home/bob:-::
+kim:kim:1005:100:/home/kim:-::
.
"""


def place(path, data):
    """As qmail-newu does: replaced, never written in place."""
    tmp = f"{path}.tmp"
    with open(tmp, "wb") as file:
        file.write(data)
    os.rename(tmp, path)


@pytest.fixture
def cdb(tmp_path):
    return str(tmp_path / "cdb")


def compiled(text):
    return assign.compile_cdb(assign.parse(text, "users/assign"))


def found(lookup, local):
    owner = lookup.find(local)
    return owner and (owner.user, owner.home, owner.dash, owner.ext)


@pytest.mark.parametrize(
    ("local", "owner"),
    [
        (b"joe", (b"joe", b"/home/joe", b"", b"")),
        (b"JOE", (b"joe", b"/home/joe", b"", b"")),
        (b"joe-", (b"joe", b"/home/joe", b"-", b"")),
        (b"joe-Any.Thing", (b"joe", b"/home/joe", b"-", b"Any.Thing")),
        (b"Joe-LIST-Quail", (b"joe", b"/home/joe", b"-", b"lists-Quail")),
        (b"joe-list", (b"joe", b"/home/joe", b"-", b"list")),
        (b"joe-exact", (b"other", b"/home/other", b"-", b"ex")),
        (b"joe-exact-more", (b"joe", b"/home/joe", b"-", b"exact-more")),
        (b"bob+tag", (b"bob", b"/home/bob", b"-", b"tag")),
        (b"bob", None),
        (b"joel", None),
        (b"sue", None),  # the wildcard is the "e" of +Sue as written; see next
        (b"kim", (b"kim", b"/home/kim", b"-", b"")),
        (b"kimono", (b"kim", b"/home/kim", b"-", b"ono")),
        (b"nobody", None),
        (b"", None),
    ],
)
def test_exact_then_the_longest_prefix(cdb, local, owner):
    place(cdb, compiled(TEXT.replace(b"+Sue:", b"+suE:")))
    assert found(Lookup(cdb), local) == owner


def test_the_wildcard_of_a_prefix_in_small_letters(cdb):
    place(cdb, compiled(TEXT))
    assert found(Lookup(cdb), b"sue") == (b"sue", b"/home/sue", b"-", b"")
    assert found(Lookup(cdb), b"SuetY") == (b"sue", b"/home/sue", b"-", b"tY")


def test_catch_all_comes_last(cdb):
    place(cdb, compiled(b"+:alias:7:8:/alias:-::\n" + TEXT))
    lookup = Lookup(cdb)
    assert found(lookup, b"NoBody-x") == (b"alias", b"/alias", b"-", b"NoBody-x")
    assert found(lookup, b"") == (b"alias", b"/alias", b"-", b"")
    assert found(lookup, b"joe-x") == (b"joe", b"/home/joe", b"-", b"x")
    owner = lookup.find(b"x")
    assert (owner.uid, owner.gid) == (7, 8)


def test_a_service_follows_its_file(cdb):
    lookup = Lookup(cdb)
    assert lookup.find(b"joe") is None
    place(cdb, compiled(TEXT))
    assert found(lookup, b"joe-x") == (b"joe", b"/home/joe", b"-", b"x")
    place(cdb, compiled(b"=sam:sam:1:2:/sam:::\n+sam_:sam:1:2:/sam:-::\n.\n"))
    assert lookup.find(b"joe") is None
    assert found(lookup, b"sam_x") == (b"sam", b"/sam", b"-", b"x")
    os.unlink(cdb)
    assert lookup.find(b"sam") is None


def record(key, data, wildcards=b"-"):
    maker = Maker()
    maker.add(key, data)
    if wildcards is not None:
        maker.add(b"", wildcards)
    return maker.to_bytes()


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", TemporaryError, "not a whole cdb"),
        (b"x" * 4096, TemporaryError, "not a whole cdb"),
        (record(b"!joe\0", b"", None), ConfigError, "run qmail-newu"),
        (record(b"!joe\0", b"joe\x001\x002\0/h\0"), ConfigError, "the entry for joe is not user, uid"),
        (record(b"!joe\0", b"joe\x001\x002\0/h\0\0\0"), ConfigError, "the entry for joe is not user, uid"),
        (record(b"!joe\0", b"joe\x001x\x002\0/h\0\0"), ConfigError, "the entry for joe has a uid or gid that is no"),
        (record(b"!joe\0", b"joe\x00-1\x002\0/h\0\0"), ConfigError, "the entry for joe has a uid or gid that is no"),
        (record(b"!joe\0", b"joe\x001\x00\0/h\0\0"), ConfigError, "the entry for joe has a uid or gid that is no"),
        (record(b"!joe\0", b"joe\x001\x002\0h\0\0"), ConfigError, "the entry for joe has a home that does not"),
        (record(b"!joe\0", b"joe\x001\x00\xb2\0/h\0\0"), ConfigError, "the entry for joe has a uid or gid that is no"),
    ],
)
def test_a_damaged_file_is_trouble_and_not_nobody(cdb, data, error, words):
    place(cdb, data)
    lookup = Lookup(cdb)
    for _ in range(2):
        with pytest.raises(error) as caught:
            lookup.find(b"joe")
        assert words in str(caught.value)
        assert cdb in str(caught.value)
    place(cdb, compiled(TEXT))
    assert lookup.find(b"joe") is not None


def test_every_cut_and_every_changed_byte_gives_an_answer_or_its_own_error(cdb):
    whole = compiled(b"=joe:joe:1:2:/h:::\n+joe-:joe:1:2:/h:-::\n.\n")
    broken = [whole[:size] for size in range(0, len(whole), 7)]
    broken += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(2000, len(whole))]
    troubles = 0
    for data in broken:
        place(cdb, data)
        for local in (b"joe", b"joe-x", b"else"):
            try:
                Lookup(cdb).find(local)
            except QuailError:
                troubles += 1
    assert troubles > len(broken)
