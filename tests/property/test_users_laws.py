"""Laws of users/: the cdb says what a plain reading of the lines says; hostile files and names get an answer or an error."""

import os
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from quail.cdb.layout import cdb_hash, prefix_hashes
from quail.cdb.reader import Reader
from quail.errors import ConfigError, QuailError
from quail.net.users_protocol import KNOWN, TROUBLE, UNKNOWN, Owner
from quail.users import assign, passwd, qmailfile, rcpt
from quail.users.lookup import Lookup

words = st.text("aB-+. ", max_size=6).map(str.encode)
kinds = st.sampled_from([b"=", b"+"])
lines = st.lists(st.tuples(kinds, words, words, words), max_size=8)


def find(data, local):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/cdb", "wb") as file:
            file.write(data)
        return Lookup(f"{folder}/cdb").find(local)


def plain_reading(found, local):
    """qmail-users(5) without any cdb: first exact line, else the longest prefix that ends as some prefix does."""
    low = local.lower()
    ends = {name[-1] for kind, name, _, _ in found if kind == b"+" and name}
    for kind, name, dash, ext in found:
        if kind == b"=" and name.lower() == low:
            return dash, ext
    for size in range(len(low), -1, -1):
        if size and low[size - 1] not in ends:
            continue
        for kind, name, dash, ext in found:
            if kind == b"+" and name.lower() == low[:size]:
                return dash, ext + local[size:]
    return None


@given(lines, words)
def test_look_up_is_a_plain_reading_of_the_lines(found, local):
    text = b"".join(b"%b%b:u:1:2:/h:%b:%b:\n" % line for line in found) + b".\n"
    owner = find(assign.compile_cdb(assign.parse(text, "users/assign")), local)
    assert (owner and (owner.dash, owner.ext)) == plain_reading(found, local)


@given(st.binary(max_size=100))
def test_hashes_of_all_prefixes_are_their_hashes(key):
    assert prefix_hashes(key) == [cdb_hash(key[:size]) for size in range(len(key) + 1)]


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=30)).map(lambda parts: b":".join(parts) + b"\n.\n"))
def test_any_bytes_are_assignments_or_a_named_mistake(text):
    try:
        found = assign.parse(text, "users/assign")
    except ConfigError as error:
        line = error.line
    else:
        line = len(found)
        assert [item.line for item in found] == list(range(1, len(found) + 1))
        assert len(list(Reader(assign.compile_cdb(found)).items())) == len(found) + 1
    assert 0 <= line <= text.count(b"\n") + 1


@given(st.integers(2048, 2200), st.binary(min_size=1, max_size=40), st.binary(max_size=12))
def test_hostile_cdb_files_get_an_answer_or_an_error(at, splinter, local):
    whole = assign.compile_cdb(assign.parse(b"=joe:joe:1:2:/h:::\n+joe-:joe:1:2:/h:-::\n+:a:1:2:/a:-::\n.\n", "x"))
    data = whole[:at] + splinter + whole[at + len(splinter) :]
    try:
        owner = find(data, local)
    except QuailError:
        return
    assert owner is None or owner.home.startswith(b"/")


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_no_file_outside_of_the_home(dash, ext):
    for name, default in qmailfile.candidates(b"-" + dash.replace(b".", b""), ext):
        assert name.startswith(b".qmail-")
        assert b".." not in name
        assert default is None or ext.endswith(default)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_every_name_gets_one_of_three_answers(dash, ext):
    with tempfile.TemporaryDirectory() as home:
        owner = Owner(b"u", 1, 1, os.fsencode(home), dash.replace(b"\0", b""), ext.replace(b"\0", b""))
        letter, text = rcpt.check(b"x", lambda _local: owner)
        assert letter in (KNOWN, UNKNOWN, TROUBLE)
        assert bool(text) == (letter == TROUBLE)
        assert (letter == KNOWN) == (not owner.dash)


fields = st.binary(max_size=6) | st.sampled_from([b"0", b"1", b"77", b"x", b"/home", b"Joe", b"joe"])


@given(st.lists(st.lists(fields, min_size=6, max_size=8).map(b":".join), max_size=5).map(b"\n".join))
def test_any_passwd_file_makes_a_list_that_qmail_newu_takes(text):
    out = passwd.assign(text, passwd.Options(), passwd.Files(lambda _path: None), lambda _home: 77, need_alias=False)
    found = assign.parse(out, "users/assign")
    assert len(found) == out.count(b"\n") - 1
    assert all(item.uid.lstrip(b"0") == b"77" and assign.is_id(item.gid) for item in found)
