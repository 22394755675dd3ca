"""A Maildir as POP3 sees it: what is there, what it weighs, and everybody else who is in it at the same time."""

import os
import random
import stat
from collections import Counter
from types import SimpleNamespace

import pytest

from quail.pop3.wire import Wire
from quail.storage import sizes
from quail.storage.calls import SystemCalls
from quail.storage.maildir import make
from quail.storage.maildrop import Maildrop

OLD = 1_700_000_000


@pytest.fixture
def maildir(tmp_path):
    path = str(tmp_path / "Maildir")
    make(SystemCalls(), path)
    return path


def put(maildir, name, data=b"x\n", when=OLD):
    path = f"{maildir}/{name}"
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (when, when))
    return path


def read(drop, index):
    fd = drop.open(index)
    with open(fd, "rb") as file:
        return file.read()


def names(maildir):
    return sorted(f"{folder}/{name}" for folder in ("new", "cur") for name in os.listdir(f"{maildir}/{folder}"))


class Counting(SystemCalls):
    """Counts calls; a call's name can have something done before it, once."""

    def __init__(self):
        self.count = Counter()
        self.before = {}

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if name in ("listdir", "stat", "open", "pread", "unlink", "rename"):

            def call(*args):
                self.count[name] += 1
                if name in self.before:
                    self.before.pop(name)()
                return value(*args)

            return call
        return value


def test_order_and_what_is_no_message(maildir):
    put(maildir, "new/b", when=OLD)
    put(maildir, "cur/a:2,S", when=OLD)
    put(maildir, "cur/z:2,", when=OLD - 5)
    put(maildir, "new/9", when=OLD + 5)
    put(maildir, "cur/.hidden")
    put(maildir, "tmp/half")
    os.mkdir(f"{maildir}/new/folder")
    os.mkfifo(f"{maildir}/new/fifo")
    drop = Maildrop(maildir)
    assert drop.uids() == [b"z", b"a", b"b", b"9"]
    assert len(drop) == 4
    assert Maildrop(maildir, before=OLD).uids() == [b"z"]
    assert Maildrop(maildir, before=OLD + 1).uids() == [b"z", b"a", b"b"]


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        Maildrop(str(tmp_path / "none"))
    empty = Maildrop(str(tmp_path / "none"), missing_ok=True)
    assert (len(empty), empty.uids(), empty.sizes(), empty.update([])) == (0, [], [], [])
    (tmp_path / "half").mkdir()
    with pytest.raises(FileNotFoundError):
        Maildrop(str(tmp_path / "half"), missing_ok=True)


def test_uids_that_the_protocol_does_not_allow(maildir):
    for name in ("x" * 70, "y" * 71, "a b", "\udcff", "\t:2,S", ":2,S", "ok"):
        put(maildir, f"cur/{name}")
    drop = Maildrop(maildir)
    uids = drop.uids()
    assert uids == Maildrop(maildir).uids()
    assert len(set(uids)) == 7
    assert all(1 <= len(uid) <= 70 and all(0x21 <= byte <= 0x7E for byte in uid) for uid in uids)
    assert b"x" * 70 in uids
    assert b"ok" in uids
    quirky = drop.uids(quirks=True)
    assert {b"y" * 71, b"a b", b"\xff", b"\t", b""} < set(quirky)


@pytest.mark.parametrize("quirks", [False, True])
def test_no_uid_breaks_a_line(maildir, quirks):
    put(maildir, "cur/a\n.\r\n")
    (uid,) = Maildrop(maildir).uids(quirks=quirks)
    assert len(uid) == 64


def test_one_name_twice(maildir):
    put(maildir, "new/a", b"1\n")
    put(maildir, "cur/a:2,", b"22\n", OLD + 1)
    drop = Maildrop(maildir)
    assert len(set(drop.uids())) == 2
    assert drop.update([]) == []
    assert names(maildir) == ["cur/a:2,", "new/a"]


def test_one_name_twice_is_two_messages_still_after_a_look_for_another(maildir):
    put(maildir, "new/a", b"1\n")
    put(maildir, "cur/a:2,", b"22\n", OLD + 1)
    put(maildir, "cur/b:2,", b"3\n", OLD + 2)
    drop = Maildrop(maildir)
    os.rename(f"{maildir}/cur/b:2,", f"{maildir}/cur/b:2,S")
    assert [read(drop, index) for index in (2, 0, 1)] == [b"3\n", b"1\n", b"22\n"]
    os.rename(f"{maildir}/new/a", f"{maildir}/cur/a:2,S")
    assert read(drop, 0) == b"1\n"
    assert drop.update([0]) == []
    assert names(maildir) == ["cur/a:2,", "cur/b:2,S"]


def test_links_that_lead_to_no_file(maildir):
    """One of them must not take all the others away."""
    put(maildir, "cur/a:2,")
    os.symlink("loop", f"{maildir}/cur/loop")
    os.symlink("a:2,/below", f"{maildir}/cur/file")
    os.symlink("nowhere", f"{maildir}/cur/nowhere")
    assert Maildrop(maildir).uids() == [b"a"]


SIZES = [
    b"", b"\n", b"x", b"x\r", b"a\r\nb\n", b"." * 100, b"\r\n" * 300, b"line\n" * 70_000, b"x" * 262_143 + b"\r\ny",
    b"x" * 262_144, b"\r" * 262_144 + b"\n",
]  # fmt: skip


def test_sizes_are_those_of_the_wire(maildir):
    for number, data in enumerate(SIZES):
        put(maildir, f"cur/{number:02}:2,", data)
    drop = Maildrop(maildir)
    for number, size in enumerate(drop.sizes()):
        wire = Wire()
        text = b"\n" + wire.feed(SIZES[number]) + wire.finish().removesuffix(b".\r\n")
        assert size == len(text.replace(b"\n.", b"\n")) - 1
        assert drop.stored(number) == len(SIZES[number])
    assert drop.sizes(quirks=True) == list(map(len, SIZES))


class TestRememberedSizes:
    COUNT = 100

    @pytest.fixture
    def mailbox(self, maildir):
        for number in range(self.COUNT):
            put(maildir, f"cur/{number:03}:2,", b"line\n" * number)
        return maildir

    @property
    def right(self):
        return [6 * number for number in range(self.COUNT)]

    def opened(self, mailbox):
        """What sizes() says, and how many messages it opens for that."""
        calls = Counting()
        drop = Maildrop(mailbox, calls=calls)
        calls.count.clear()
        found = drop.sizes()
        return found, calls.count["open"] - 1 - (calls.count["rename"] > 0)

    def test_counted_once(self, mailbox):
        assert self.opened(mailbox) == (self.right, self.COUNT)
        assert self.opened(mailbox) == (self.right, 0)
        assert os.listdir(f"{mailbox}/tmp") == []
        assert stat.S_IMODE(os.stat(f"{mailbox}/quail.sizes").st_mode) == 0o600

    def test_flags_do_not_matter_but_sizes_do(self, mailbox):
        self.opened(mailbox)
        os.rename(f"{mailbox}/cur/007:2,", f"{mailbox}/cur/007:2,S")
        put(mailbox, "cur/009:2,", b"longer than it was")
        right = self.right
        right[9] = 20
        assert self.opened(mailbox) == (right, 1)

    def test_a_few_are_not_worth_a_file(self, maildir):
        put(maildir, "cur/a:2,", b"\n")
        assert Maildrop(maildir).sizes() == [2]
        assert not os.path.exists(f"{maildir}/quail.sizes")

    def test_names_with_blanks_are_counted_again(self, mailbox):
        put(mailbox, "cur/a b:2,", b"\n")
        assert self.opened(mailbox)[1] == self.COUNT + 1
        assert self.opened(mailbox)[1] == 1

    def test_any_damage_costs_a_count(self, mailbox):
        self.opened(mailbox)
        path = f"{mailbox}/quail.sizes"
        with open(path, "rb") as file:
            whole = file.read()
        for at in (*range(25), len(whole) // 2, len(whole) - 2):
            put(mailbox, "quail.sizes", whole[:at])
            assert self.opened(mailbox) == (self.right, self.COUNT)
            put(mailbox, "quail.sizes", whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
            assert self.opened(mailbox) == (self.right, self.COUNT)

    @pytest.mark.parametrize("text", [b"x", b"-1", b"999", b"1" * 5000, b""], ids=range(5))
    def test_lies_with_the_right_sum_are_not_believed_beyond_what_can_be(self, mailbox, text):
        calls = SystemCalls()
        entries = b"".join(b"%03d=%d %b\n" % (number, 5 * number, text) for number in range(self.COUNT))
        put(mailbox, "quail.sizes", sizes._HEAD % sizes.crc32(entries) + entries)
        assert sizes.load(calls, mailbox)
        assert Maildrop(mailbox).sizes() == self.right

    def test_no_link_and_no_fifo_is_read(self, mailbox):
        entries = b"".join(b"%03d=%d 0\n" % (number, 5 * number) for number in range(self.COUNT))
        put(mailbox, "elsewhere", sizes._HEAD % sizes.crc32(entries) + entries)
        os.symlink("elsewhere", f"{mailbox}/quail.sizes")
        assert Maildrop(mailbox).sizes() == self.right
        os.unlink(f"{mailbox}/quail.sizes")
        os.mkfifo(f"{mailbox}/quail.sizes")
        assert Maildrop(mailbox).sizes() == self.right

    def test_a_disk_that_takes_nothing(self, mailbox):
        class Full(SystemCalls):
            @staticmethod
            def write(_fd, _data):
                raise OSError(28, "full")

        assert Maildrop(mailbox, calls=Full()).sizes() == self.right
        assert os.listdir(f"{mailbox}/tmp") == []
        assert not os.path.exists(f"{mailbox}/quail.sizes")


class TestOthers:
    def test_a_reader_sets_flags(self, maildir):
        put(maildir, "new/a", b"a\n")
        put(maildir, "cur/b:2,", b"b\n", OLD + 1)
        drop = Maildrop(maildir)
        os.rename(f"{maildir}/new/a", f"{maildir}/cur/a:2,S")
        os.rename(f"{maildir}/cur/b:2,", f"{maildir}/cur/b:2,RS")
        assert [read(drop, 0), read(drop, 1)] == [b"a\n", b"b\n"]
        os.rename(f"{maildir}/cur/b:2,RS", f"{maildir}/cur/b:2,FRS")
        assert drop.update([1]) == []
        assert names(maildir) == ["cur/a:2,S"]

    def test_another_session_removes(self, maildir):
        put(maildir, "cur/a:2,")
        put(maildir, "cur/b:2,")
        calls = Counting()
        drop = Maildrop(maildir, calls=calls)
        os.unlink(f"{maildir}/cur/a:2,")
        calls.count.clear()
        for _ in range(5):
            with pytest.raises(FileNotFoundError):
                drop.open(0)
        assert calls.count["listdir"] == 2  # one look for all of it
        os.rename(f"{maildir}/cur/b:2,", f"{maildir}/cur/a:2,S")
        assert read(drop, 0) == b"x\n"
        assert drop.update([0, 1]) == []
        assert names(maildir) == []

    def test_moved_while_the_folders_are_listed(self, maildir):
        put(maildir, "new/a", b"a\n")
        put(maildir, "new/b", b"b\n", OLD + 1)
        calls = Counting()
        # Between the lists and the first look at a file.
        calls.before["stat"] = lambda: os.rename(f"{maildir}/new/a", f"{maildir}/cur/a:2,S")
        drop = Maildrop(maildir, calls=calls)
        assert drop.uids() == [b"a", b"b"]
        assert read(drop, 0) == b"a\n"

    def test_moved_between_the_two_lists(self, maildir):
        put(maildir, "new/a", b"a\n")

        class Calls(SystemCalls):
            @staticmethod
            def listdir(path):
                found = os.listdir(path)
                if path.endswith("new") and found:
                    os.rename(f"{maildir}/new/a", f"{maildir}/cur/a:2,")
                return found

        drop = Maildrop(maildir, calls=Calls())
        assert drop.uids() == [b"a"]
        assert drop.update([0]) == []
        assert names(maildir) == []

    def test_removed_while_the_folders_are_listed(self, maildir):
        put(maildir, "new/a")
        put(maildir, "new/b")
        calls = Counting()
        calls.before["stat"] = lambda: os.unlink(f"{maildir}/new/a")
        assert Maildrop(maildir, calls=calls).uids() == [b"b"]

    @pytest.mark.parametrize("seed", range(30))
    def test_two_sessions_a_reader_and_deliveries_lose_nothing(self, maildir, seed):
        """Whatever the order: what nobody has asked to remove is there, once, as it was; what somebody has, is gone."""
        rng = random.Random(seed)
        delivered = removed = 0
        here = {}

        def deliver():
            nonlocal delivered
            name = f"{1000 + delivered}"
            delivered += 1
            here[name] = name.encode()
            put(maildir, f"new/{name}", here[name], OLD + delivered)

        def flag():
            present = names(maildir)
            if present:
                path = rng.choice(present)
                unique = path[4:].partition(":")[0]
                os.rename(f"{maildir}/{path}", f"{maildir}/cur/{unique}:2,{'S' * rng.randrange(3)}")

        for _ in range(6):
            deliver()
        sessions = []
        for _ in range(30):
            step = rng.randrange(5)
            if step == 0:
                deliver()
            elif step == 1:
                flag()
            elif step == 2 and len(sessions) < 2:
                sessions.append(Maildrop(maildir))
            elif step == 3 and sessions:
                drop = rng.choice(sessions)
                for index, uid in enumerate(drop.uids()):
                    if uid.decode() in here:
                        assert read(drop, index) == here[uid.decode()]
            elif sessions:
                drop = sessions.pop(rng.randrange(len(sessions)))
                marked = [index for index in range(len(drop)) if rng.random() < 0.3]
                assert drop.update(marked) == []
                for index in marked:
                    removed += here.pop(drop.uids()[index].decode(), None) is not None
        left = names(maildir)
        assert Counter(path[4:].partition(":")[0] for path in left) == Counter(list(here))
        for path in left:
            with open(f"{maildir}/{path}", "rb") as file:
                assert file.read() == here[path[4:].partition(":")[0]]
        assert len(here) == delivered - removed


class TestUpdate:
    def test_new_ones_are_seen(self, maildir):
        for name in ("new/a", "new/b:2,S", "new/c", "cur/d:2,F"):
            put(maildir, name)
        drop = Maildrop(maildir)
        put(maildir, "new/later")
        assert drop.update([drop.uids().index(b"c")]) == []
        assert names(maildir) == ["cur/a:2,", "cur/b:2,S", "cur/d:2,F", "new/later"]

    def test_what_can_not_be_removed_is_told(self, maildir):
        put(maildir, "new/a")
        put(maildir, "new/b")

        class Calls(SystemCalls):
            @staticmethod
            def unlink(path):
                if path.endswith("a"):
                    raise PermissionError(13, "no", path)
                os.unlink(path)

        (failure,) = Maildrop(maildir, calls=Calls()).update([0, 1])
        assert failure.filename == f"{maildir}/new/a"
        assert names(maildir) == ["new/a"]

    def test_what_is_renamed_again_and_again(self, maildir):
        put(maildir, "cur/a:2,")

        class Calls(SystemCalls):
            turn = 0

            def unlink(self, path):
                self.turn += 1
                os.rename(path, f"{maildir}/cur/a:2,{self.turn}")
                os.unlink(path)

        assert len(Maildrop(maildir, calls=Calls()).update([0])) == 1
        assert len(names(maildir)) == 1

    def test_a_maildir_that_has_gone(self, maildir, tmp_path):
        put(maildir, "cur/a:2,")
        drop = Maildrop(maildir)
        os.rename(maildir, tmp_path / "elsewhere")
        assert len(drop.update([0])) == 1


def test_what_died_in_tmp_is_removed(maildir):
    now = 1_800_000_000
    for name, age in (("young", 35), ("old", 37), (".hidden", 99)):
        put(maildir, f"tmp/{name}", when=now - 3600 * age)
    os.mkdir(f"{maildir}/tmp/folder")
    os.utime(f"{maildir}/tmp/folder", (0, 0))
    Maildrop(maildir).clean(now)
    assert sorted(os.listdir(f"{maildir}/tmp")) == [".hidden", "folder", "young"]
    Maildrop("/nonexistent", missing_ok=True).clean(now)


class Huge(SystemCalls):
    """A Maildir of 100,000 messages that exists only as answers; its sizes are remembered."""

    COUNT = 100_000

    def __init__(self):
        self.count = Counter()
        self.names = [f"{OLD + number}.M{number:06}P{number % 7}Q1.host:2,S" for number in range(self.COUNT)]
        random.Random(1).shuffle(self.names)
        entries = b"".join(b"%b=2 1\n" % name.partition(":")[0].encode() for name in self.names)
        self.file = sizes._HEAD % sizes.crc32(entries) + entries

    def listdir(self, path):
        self.count["listdir"] += 1
        return list(self.names) if path.endswith("cur") else []

    def stat(self, path):
        self.count["stat"] += 1
        when = int(path[-len(self.names[0]) :][:10])
        return SimpleNamespace(st_mode=stat.S_IFREG, st_mtime=when, st_mtime_ns=when * 10**9, st_size=2)

    def open(self, path, _flags):
        self.count["open"] += 1
        assert path.endswith("/quail.sizes")
        return 99

    def fstat(self, _fd):
        return SimpleNamespace(st_mode=stat.S_IFREG, st_size=len(self.file))

    def pread(self, _fd, size, offset):
        self.count["pread"] += 1
        return self.file[offset : offset + size]

    def close(self, _fd):
        self.count["close"] += 1


def test_a_hundred_thousand_messages_cost_one_look_each():
    calls = Huge()
    drop = Maildrop("/huge", calls=calls)
    assert len(drop) == calls.COUNT
    assert sum(drop.sizes()) == 3 * calls.COUNT
    assert drop.uids()[0] == b"%d.M000000P0Q1.host" % OLD
    assert calls.count == {"listdir": 2, "stat": calls.COUNT, "open": 1, "pread": 2, "close": 1}
