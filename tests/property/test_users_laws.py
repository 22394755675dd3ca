"""Laws of users/: the cdb says what a plain reading of the lines says; hostile files and names get an answer or an error."""

import os
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from quail.cdb.layout import cdb_hash, prefix_hashes
from quail.cdb.reader import Reader
from quail.errors import ConfigError, QuailError
from quail.net.users_protocol import KNOWN, TROUBLE, UNKNOWN, Owner
from quail.storage.calls import SystemCalls
from quail.users import assign, build, getpw, passwd, qmailfile, rcpt
from quail.users.lookup import Lookup
from quail.users.nss import Entry
from quail.users.owners import Owners

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


class NoSync(SystemCalls):
    """These files need not outlive the machine."""

    @staticmethod
    def fsync(fd):
        pass


UID = os.getuid() or 4321
account_names = st.text("aB-", min_size=1, max_size=4).map(str.encode)
# name: (uid, whether it has a home of its own)
machines = st.dictionaries(
    account_names, st.tuples(st.sampled_from([UID, UID, UID, UID + 1, 0]), st.booleans()), max_size=6
)
locals_ = st.text("aB-.", max_size=8).map(str.encode) | st.text("a-", min_size=28, max_size=40).map(str.encode)


def made(machine, folder):
    """Entries of the machine, alias among them; a home of UID's is in the folder."""
    os.mkdir(f"{folder}/home")
    os.chown(f"{folder}/home", UID, -1)
    found = {
        name: Entry(name, uid, 100, os.fsencode(f"{folder}/home" if there else f"{folder}/none"))
        for name, (uid, there) in machine.items()
    }
    return found | {b"alias": Entry(b"alias", UID, 7, os.fsencode(f"{folder}/home"))}


def by_the_rules(machine, local):
    """Facts 6.3: (account, dash, ext)."""
    dashes = [at for at in reversed(range(len(local))) if local[at] == ord("-")]
    heads = [(local, b"", b""), *((local[:at], b"-", local[at + 1 :]) for at in dashes)]
    for head, dash, ext in heads:
        uid, there = {**machine, b"alias": (UID, True)}.get(head.lower(), (0, False))
        if len(head) < 32 and there and uid == UID:
            return head.lower(), dash, ext
    return b"alias", b"-", local


@settings(deadline=None)  # the disk has no deadline
@given(machines, locals_)
def test_getpw_goes_by_the_rules(machine, local):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        owner = getpw.find(local, made(machine, folder).get)
    assert (owner.user, owner.dash, owner.ext) == by_the_rules(machine, local)


@settings(deadline=None)  # the disk has no deadline
@given(machines, st.lists(locals_, min_size=1, max_size=10))
def test_users_assign_made_of_the_accounts_says_what_the_accounts_say(machine, asked):
    """But for names with capitals, which qmail-getpw never finds and nobody asks for."""
    small = {name: about for name, about in machine.items() if name == name.lower()}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.mkdir(f"{folder}/users")
        table = made(small, folder)
        build.rebuild_of_accounts(folder, list(table.values()), table.get, calls=NoSync())
        compiled = Owners(True, home=folder, by_name=lambda _name: None)
        for local in asked:
            one, other = compiled.find(local), getpw.find(local, table.get)
            assert [getattr(one, name) for name in Owner.__slots__] == [
                getattr(other, name) for name in Owner.__slots__
            ]


@settings(deadline=None)  # the disk has no deadline
@given(lines, machines, locals_)
def test_the_chain_is_users_cdb_and_then_the_accounts(found, machine, local):
    text = b"".join(b"%b%b:u:1:2:/h:%b:%b:\n" % line for line in found) + b".\n"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.mkdir(f"{folder}/users")
        with open(f"{folder}/users/cdb", "wb") as file:
            file.write(assign.compile_cdb(assign.parse(text, "users/assign")))
        table = made(machine, folder)
        system = Owners(True, home=folder, by_name=table.get).find(local)
        single = Owners(False, home=folder, by_name=table.get).find(local)
    plain = plain_reading(found, local)
    assert (single and (single.dash, single.ext)) == plain
    if plain is None:
        assert (system.user, system.dash, system.ext) == by_the_rules(machine, local)
    else:
        assert (system.user, system.dash, system.ext) == (b"u", *plain)


@given(st.binary(max_size=1100))
def test_any_local_part_has_an_owner_and_few_look_ups(local):
    asked = []

    def by_name(name):
        asked.append(name)
        return Entry(b"alias", 7, 7, b"/a") if name == b"alias" else None

    owner = getpw.find(local, by_name)
    assert (owner.user, owner.dash, owner.ext) in {
        (b"alias", b"-", local),
        (b"alias", b"-", local[6:]),
        (b"alias", b"", b""),
    }
    assert len(asked) <= 33
    assert all(0 < len(name) < 32 and b"\0" not in name and name == name.lower() for name in asked)
