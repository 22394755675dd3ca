"""Maildir delivery on a real file system; power cuts are in tests/crash/test_crash_maildir.py."""

import contextlib
import errno
import fcntl
import os
import re
import stat

import pytest

from quail.storage import maildir
from quail.storage.calls import SystemCalls
from quail.storage.maildir import MISSING, TROUBLE, UNREADABLE, Request, deliver, make, unique_name


class Calls(SystemCalls):
    """The real calls, written down, with chosen ones failing: a failure is (call, part of its path or None, errno)."""

    def __init__(self, *failures, short=None):
        self.log = []
        self.paths = {}
        self.failures = list(failures)
        self.short = short

    def _note(self, name, path):
        self.log.append((name, path))
        for failure in self.failures:
            if failure[0] == name and (failure[1] is None or failure[1] in path):
                raise OSError(failure[2], os.strerror(failure[2]))

    def open(self, path, flags, mode=0o777):
        self._note("open", path)
        fd = os.open(path, flags, mode)
        self.paths[fd] = path
        return fd

    def write(self, fd, data):
        self._note("write", self.paths[fd])
        return os.write(fd, data[: self.short])

    def pread(self, fd, size, offset):
        self._note("pread", "message")
        return os.pread(fd, min(size, self.short or size), offset)

    def fsync(self, fd):
        self._note("fsync", self.paths[fd])
        os.fsync(fd)

    def syncfs(self, fd):
        self._note("syncfs", self.paths[fd])

    def rename(self, source, target):
        self._note("rename", source)
        os.rename(source, target)

    def unlink(self, path):
        self._note("unlink", path)
        os.unlink(path)

    def mkdir(self, path, mode):
        self._note("mkdir", path)
        os.mkdir(path, mode)

    def names(self):
        return [name for name, _ in self.log]


@pytest.fixture(autouse=True)
def syncfs_is_good(monkeypatch):
    monkeypatch.setattr(maildir, "SYNCFS_REPORTS_ERRORS", True)


@pytest.fixture
def box(tmp_path):
    path = str(tmp_path / "Maildir")
    make(SystemCalls(), path)
    return path


def contents(box, folder="new"):
    found = []
    for name in os.listdir(f"{box}/{folder}"):
        with open(f"{box}/{folder}/{name}", "rb") as file:
            found.append(file.read())
    return sorted(found)


def test_one_message_is_synced_renamed_and_its_directory_synced(box):
    calls = Calls()
    request = Request(box + "/", b"Return-Path: <>\n", b"\npartial last line")
    deliver(calls, [request])
    assert request.error is None
    assert contents(box) == [b"Return-Path: <>\n\npartial last line"]
    assert os.listdir(box + "/tmp") == []
    [name] = os.listdir(box + "/new")
    assert stat.S_IMODE(os.stat(f"{box}/new/{name}").st_mode) == 0o600
    assert [entry for entry in calls.log if entry[0] in ("fsync", "rename")] == [
        ("fsync", f"{box}/tmp/{name}"),
        ("rename", f"{box}/tmp/{name}"),
        ("fsync", f"{box}/new"),
    ]


def test_names_follow_the_pattern_and_differ(monkeypatch):
    names = [unique_name() for _ in range(200)]
    assert len(set(names)) == 200
    host = re.escape(os.uname().nodename)
    assert re.fullmatch(rf"\d{{10}}\.M\d{{6}}P{os.getpid()}Q\d+\.{host}", names[0])
    parts = list(os.uname())
    parts[1] = "a/b:c"
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(parts))
    assert unique_name().endswith(r".a\057b\072c")


def test_many_share_one_syncfs_opened_before_the_first_write(box):
    calls = Calls()
    requests = [Request(box, b"", b"%d" % n) for n in range(9)]
    deliver(calls, requests)
    assert [r.error for r in requests] == [None] * 9
    assert contents(box) == sorted(b"%d" % n for n in range(9))
    assert calls.names().count("syncfs") == 1
    assert ("open", box + "/tmp") == calls.log[0]
    assert calls.names().count("fsync") == 1
    assert calls.log[-1] == ("fsync", box + "/new")
    assert calls.names().index("syncfs") < calls.names().index("rename")


def test_many_maildirs_share_the_sync_of_their_names(tmp_path):
    boxes = [str(tmp_path / f"m{n}") for n in range(4)]
    for box in boxes:
        make(SystemCalls(), box)
    calls = Calls()
    deliver(calls, [Request(box, b"", b"x") for box in boxes])
    assert calls.names().count("syncfs") == 2
    assert "fsync" not in calls.names()
    assert calls.names()[-1] == "syncfs"
    assert [contents(box) for box in boxes] == [[b"x"]] * 4


def test_kernels_whose_syncfs_hides_errors_get_an_fsync_each(box, monkeypatch):
    monkeypatch.setattr(maildir, "SYNCFS_REPORTS_ERRORS", False)
    calls = Calls()
    deliver(calls, [Request(box, b"", b"x") for _ in range(5)])
    assert "syncfs" not in calls.names()
    assert calls.names().count("fsync") == 6


@pytest.mark.parametrize(
    ("release", "good"),
    [
        ("6.1.0-18-amd64", True),
        ("5.17.0", True),
        ("5.16.20", False),
        ("4.4", False),
        ("10.0-rc1", True),
        ("odd", False),
    ],
)
def test_which_kernels_report(release, good):
    assert maildir._syncfs_reports_errors(release) is good


@pytest.mark.parametrize("short", [None, 1, 7])
def test_body_from_a_descriptor_by_offset_whatever_its_position(box, tmp_path, short):
    text = bytes(range(256)) * (3 if short else 5000)
    (tmp_path / "body").write_bytes(text + b"not part of it")
    fd = os.open(tmp_path / "body", os.O_RDONLY)
    try:
        os.lseek(fd, 5, os.SEEK_SET)
        requests = [Request(box, b"1", fd, len(text)), Request(box, b"2", fd, len(text))]
        deliver(Calls(short=short), requests)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 5
    finally:
        os.close(fd)
    assert contents(box) == [b"1" + text, b"2" + text]


def test_body_that_ends_early_or_cannot_be_read_costs_only_itself(box, tmp_path):
    (tmp_path / "body").write_bytes(b"short")
    fd = os.open(tmp_path / "body", os.O_RDONLY)
    try:
        requests = [Request(box, b"", fd, 6), Request(box, b"", b"good"), Request(box, b"", fd, 5)]
        deliver(Calls(), requests)
        assert [r.error for r in requests] == [UNREADABLE, None, None]
        unreadable = Request(box, b"", fd, 5)
        deliver(Calls(("pread", None, errno.EIO)), [unreadable])
        assert (unreadable.error, unreadable.cause.errno) == (UNREADABLE, errno.EIO)
    finally:
        os.close(fd)
    assert contents(box) == [b"good", b"short"]
    assert os.listdir(box + "/tmp") == []


@pytest.mark.parametrize("count", [2, 6])
def test_missing_maildir_costs_only_its_own_request(box, tmp_path, count):
    lost = Request(str(tmp_path / "none"), b"", b"x")
    requests = [Request(box, b"", b"y") for _ in range(count)]
    deliver(Calls(), [lost, *requests])
    assert lost.error == MISSING == "Unable to chdir to maildir. (#4.2.1)"
    assert [r.error for r in requests] == [None] * count
    assert not os.path.exists(tmp_path / "none")


def test_maildir_that_is_a_file_or_lacks_tmp_or_new(tmp_path, box):
    (tmp_path / "file").write_bytes(b"")
    file = Request(str(tmp_path / "file"), b"", b"x", create=True)
    deliver(Calls(), [file])
    assert file.error == MISSING
    os.rmdir(box + "/new")
    headless = Request(box, b"", b"x")
    deliver(Calls(), [headless])
    assert headless.error == TROUBLE
    assert os.listdir(box + "/tmp") == []
    os.rmdir(box + "/tmp")
    headless = Request(box, b"", b"x")
    deliver(Calls(), [headless])
    assert headless.error == TROUBLE == "Temporary error on maildir delivery. (#4.3.0)"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "rename"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_failing_file_costs_only_itself_and_leaves_nothing(tmp_path, number, call, count):
    boxes = [str(tmp_path / name) for name in ("good", "bad")]
    for box in boxes:
        make(SystemCalls(), box)
    requests = [Request(box, b"h", b"x") for _ in range(count) for box in boxes]
    deliver(Calls((call, "bad/tmp/1", number)), requests)
    for request in requests:
        assert (request.error, request.cause and request.cause.errno) == (
            (TROUBLE, number) if request.maildir == boxes[1] else (None, None)
        )
    assert contents(boxes[0]) == [b"hx"] * count
    assert os.listdir(boxes[1] + "/tmp") == os.listdir(boxes[1] + "/new") == []


def test_a_failed_shared_sync_fails_all_and_removes_their_files(box):
    requests = [Request(box, b"", b"x") for _ in range(4)]
    deliver(Calls(("syncfs", None, errno.EIO)), requests)
    assert [r.error for r in requests] == [TROUBLE] * 4
    assert os.listdir(box + "/tmp") == os.listdir(box + "/new") == []


def test_a_failed_fsync_fails_its_own_request(box, tmp_path):
    make(SystemCalls(), str(tmp_path / "bad"))
    requests = [Request(box, b"", b"x"), Request(str(tmp_path / "bad"), b"", b"x")]
    deliver(Calls(("fsync", "bad/tmp", errno.EIO)), requests)
    assert [r.error for r in requests] == [None, TROUBLE]
    assert os.listdir(tmp_path / "bad/tmp") == os.listdir(tmp_path / "bad/new") == []


def test_after_the_rename_a_failed_directory_sync_is_reported_and_the_file_stays(box, tmp_path):
    make(SystemCalls(), str(tmp_path / "bad"))
    requests = [Request(box, b"", b"x"), Request(str(tmp_path / "bad"), b"", b"x")]
    deliver(Calls(("fsync", "bad/new", errno.EIO)), requests)
    assert [r.error for r in requests] == [None, TROUBLE]
    assert contents(tmp_path / "bad") == [b"x"]


class Closed(Calls):
    """The folders of this Maildir can be used and not read, as those of a drop box."""

    def open(self, path, flags, mode=0o777):
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return super().open(path, flags, mode)


class FilesAlone(Calls):
    """A file system that syncs no folders by themselves."""

    def fsync(self, fd):
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        super().fsync(fd)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("kind", [Closed, FilesAlone])
def test_a_folder_that_can_not_be_synced_by_itself_is_synced_with_its_file_system(box, count, kind):
    calls = kind()
    requests = [Request(box, b"", b"x") for _ in range(count)]
    deliver(calls, requests)
    assert [request.error for request in requests] == [None] * count
    assert contents(box) == [b"x"] * count
    assert calls.names()[-2:] == ["open", "syncfs"]
    together = kind is FilesAlone and count > 1  # their tmp/ can be opened, for a sync of all texts
    assert calls.names().count("fsync") == (0 if together else count)


def test_a_folder_that_can_not_be_synced_either_way_is_reported_and_the_file_stays(box):
    request = Request(box, b"", b"x")
    deliver(Closed(("syncfs", None, errno.EIO)), [request])
    assert request.error == TROUBLE
    assert contents(box) == [b"x"]


def test_a_name_taken_in_tmp_or_new_is_not_reused(box, monkeypatch):
    names = iter(["a", "b", "c"])
    monkeypatch.setattr(maildir, "unique_name", lambda: next(names))
    for path in ("tmp/a", "new/b"):
        with open(f"{box}/{path}", "wb") as file:
            file.write(b"old")
    request = Request(box, b"", b"x")
    deliver(Calls(), [request])
    assert request.error is None
    assert sorted(os.listdir(box + "/new")) == ["b", "c"]
    assert os.listdir(box + "/tmp") == ["a"]
    assert contents(box) == [b"old", b"x"]
    monkeypatch.setattr(maildir, "unique_name", lambda: "b")
    deliver(Calls(), [request])
    assert request.error == TROUBLE
    assert os.listdir(box + "/tmp") == ["a"]


def test_create_makes_the_missing_maildir_once_and_only_when_asked(tmp_path):
    box = str(tmp_path / "home" / "Maildir")
    request = Request(box, b"", b"x", create=True)
    deliver(Calls(), [request])
    assert request.error == MISSING  # its parent is not ours to make
    os.mkdir(tmp_path / "home")
    calls = Calls()
    requests = [Request("./Maildir/", b"", b"x", create=True) for _ in range(3)]
    before = os.getcwd()
    os.chdir(tmp_path / "home")
    try:
        deliver(calls, requests)
    finally:
        os.chdir(before)
    assert [r.error for r in requests] == [None] * 3
    assert contents(box) == [b"x"] * 3
    assert sorted(os.listdir(box)) == ["cur", "new", "tmp"]
    for folder in (".", "cur", "new", "tmp"):
        assert stat.S_IMODE(os.stat(f"{box}/{folder}").st_mode) == 0o700
    assert calls.names().count("mkdir") == 4
    assert ("fsync", ".") in calls.log


def test_make_refuses_what_is_there_unless_told_to_complete_it(tmp_path):
    box = str(tmp_path / "m")
    make(Calls(), box + "/")
    with pytest.raises(FileExistsError):
        make(Calls(), box)
    os.rmdir(box + "/cur")
    make(Calls(), box, exist_ok=True)
    assert sorted(os.listdir(box)) == ["cur", "new", "tmp"]


def test_make_that_fails_says_why(tmp_path):
    with pytest.raises(OSError, match="Input/output"):
        make(Calls(("fsync", None, errno.EIO)), str(tmp_path / "m"))
    assert not os.path.exists(tmp_path / "m/tmp")


def test_without_a_descriptor_to_share_each_file_is_synced_by_itself(box):
    class Scarce(Calls):
        def open(self, path, flags, mode=0o777):
            if path == box + "/tmp":
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return super().open(path, flags, mode)

    calls = Scarce()
    requests = [Request(box, b"", b"x") for _ in range(4)]
    deliver(calls, requests)
    assert [r.error for r in requests] == [None] * 4
    assert "syncfs" not in calls.names()
    assert calls.names().count("fsync") == 5


def test_nothing_to_do():
    deliver(Calls(), [])


@contextlib.contextmanager
def open_folder(path):
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_maildir_is_made_by_one_worker_at_a_time(tmp_path):
    class Making(Calls):
        def mkdir(self, path, mode):
            with open_folder(tmp_path) as folder, pytest.raises(BlockingIOError):
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            super().mkdir(path, mode)

    request = Request(str(tmp_path / "M"), b"", b"x\n", create=True)
    calls = Making()
    deliver(calls, [request])
    assert request.error is None
    assert calls.names().count("mkdir") == 4
    with open_folder(tmp_path) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_that_was_made_while_it_waited_is_left_alone(tmp_path):
    class Late(Calls):
        def flock(self, fd, operation):
            make(SystemCalls(), str(tmp_path / "M"))

    request = Request(str(tmp_path / "M"), b"", b"x\n", create=True)
    calls = Late()
    deliver(calls, [request])
    assert request.error is None
    assert "mkdir" not in calls.names()


@pytest.mark.parametrize("how", ["kept", "refused"])
def test_without_the_lock_it_is_made_all_the_same(tmp_path, monkeypatch, how):
    monkeypatch.setattr(maildir, "_LOCK_PAUSE", 0)

    class Unlocked(Calls):
        def flock(self, fd, operation):
            raise BlockingIOError if how == "kept" else OSError(errno.ENOLCK, "No locks available")

    request = Request(str(tmp_path / "M"), b"", b"x\n", create=True)
    deliver(Unlocked(), [request])
    assert request.error is None
