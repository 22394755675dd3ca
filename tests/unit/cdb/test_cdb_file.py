"""Cdb files by path: small ones in memory, big ones read in place, and files that change while a service lives."""

import functools
import gc
import os

import pytest

from quail.cdb import file as cdb_file
from quail.cdb.file import Follower, open_cdb
from quail.cdb.maker import Maker
from quail.cdb.window import Window
from quail.errors import TemporaryError

RECORDS = [(b"key%d" % i, b"value %d" % i) for i in range(50)]


def make(records):
    maker = Maker()
    for key, data in records:
        maker.add(key, data)
    return maker.to_bytes()


@pytest.fixture(params=["in memory", "in place", "mapped"], autouse=True)
def kind(request, monkeypatch):
    if request.param == "in place":
        monkeypatch.setattr(cdb_file, "_READ_WHOLE", 0)
    if request.param == "mapped":
        mapped = functools.partial(cdb_file.open_cdb, mapped=True)
        monkeypatch.setattr(cdb_file, "open_cdb", mapped)
        monkeypatch.setattr(f"{__name__}.open_cdb", mapped)
    return request.param


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.cdb"
    path.write_bytes(make(RECORDS))
    return path


def replace(path, records):
    new = path.with_suffix(".tmp")
    new.write_bytes(make(records))
    new.rename(path)


def test_look_up_and_walk(path):
    database = open_cdb(str(path))
    assert database.get(b"key7") == b"value 7"
    assert database.get(b"key7", 1) is None
    assert database.get(b"none") is None
    assert list(database.items()) == RECORDS


def test_missing_file(tmp_path):
    assert open_cdb(str(tmp_path / "none")) is None
    assert Follower(str(tmp_path / "none")).current() is None


@pytest.mark.parametrize("trouble", ["directory", "fifo", "loop", "short", "under a file"])
def test_what_cannot_be_read(tmp_path, path, trouble):
    where = path
    if trouble == "directory":
        where, text = tmp_path, "not a regular file"
    elif trouble == "fifo":
        where, text = tmp_path / "fifo", "not a regular file"
        os.mkfifo(where)
    elif trouble == "loop":
        where, text = tmp_path / "loop", "symbolic link loop"
        where.symlink_to(where)
    elif trouble == "short":
        path.write_bytes(bytes(2047))
        text = "not a whole cdb file"
    else:
        where, text = path / "x", "not a directory"
    with pytest.raises(TemporaryError) as caught:
        open_cdb(str(where))
    assert str(caught.value) == f"unable to read {where}: {text}"
    with pytest.raises(TemporaryError):
        Follower(str(where)).current()


def test_damage_names_the_file(path):
    path.write_bytes(path.read_bytes()[:-900])
    database = open_cdb(str(path))
    with pytest.raises(TemporaryError, match=r"x\.cdb: not a whole cdb file"):
        assert [database.get(key) for key, _ in RECORDS]
    with pytest.raises(TemporaryError, match=r"x\.cdb: not a whole cdb file"):
        assert list(database.items())


def test_an_open_database_outlives_its_replacement(path):
    database = open_cdb(str(path))
    replace(path, [(b"key7", b"new")])
    assert database.get(b"key7") == b"value 7"
    path.unlink()
    assert list(database.items()) == RECORDS


def test_a_file_cut_short_in_place_never_kills_the_reader(path, kind):
    database = open_cdb(str(path))
    os.truncate(path, 2100)
    if kind == "in memory":
        assert database.get(b"key7") == b"value 7"
    else:
        with pytest.raises(TemporaryError, match="not a whole cdb file"):
            database.get(b"key7")


def test_following(path):
    follower = Follower(str(path))
    first = follower.current()
    assert first.get(b"key7") == b"value 7"
    assert follower.current() is first
    replace(path, [(b"key7", b"new")])
    assert follower.current().get(b"key7") == b"new"
    assert first.get(b"key7") == b"value 7"
    path.unlink()
    assert follower.current() is None
    replace(path, RECORDS)
    assert follower.current().get(b"key7") == b"value 7"


def test_following_sees_a_new_file_of_the_same_size_and_time(path):
    follower = Follower(str(path))
    before = path.stat()
    assert follower.current().get(b"key7") == b"value 7"
    replace(path, [(key, data.replace(b"value", b"other")) for key, data in RECORDS])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert follower.current().get(b"key7") == b"other 7"


def test_following_reports_damage_until_it_is_mended(path):
    follower = Follower(str(path))
    assert follower.current() is not None
    path.with_suffix(".bad").write_bytes(b"bad")
    path.with_suffix(".bad").rename(path)
    for _ in range(2):
        with pytest.raises(TemporaryError, match="not a whole cdb file"):
            follower.current()
    replace(path, RECORDS)
    assert follower.current().get(b"key7") == b"value 7"


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_behind(path):
    follower = Follower(str(path))
    gc.collect()
    before = descriptors()
    for number in range(20):
        replace(path, [(b"key7", b"%d" % number)])
        assert follower.current().get(b"key7") == b"%d" % number
        path.write_bytes(b"bad")
        with pytest.raises(TemporaryError):
            follower.current()
    path.unlink()
    assert follower.current() is None
    assert descriptors() <= before


def test_window_goes_on_after_short_reads(path, monkeypatch):
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    window = Window(os.open(path, os.O_RDONLY), path.stat().st_size)
    assert window[2048:2080] == path.read_bytes()[2048:2080]
    assert window[len(window) - 5 : len(window) + 5] == path.read_bytes()[-5:]


def test_an_unreadable_disk_is_temporary(path, monkeypatch, kind):
    if kind == "mapped":
        return  # the kernel has no words for it then
    monkeypatch.setattr(cdb_file, "_READ_WHOLE", 0)
    database = open_cdb(str(path))

    def broken(*_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(TemporaryError, match=r"x\.cdb: input/output error"):
        database.get(b"key7")
