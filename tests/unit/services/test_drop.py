"""queue/drop/: anybody writes there, so nothing in it is believed; what is a message is taken once, what is none stays."""

import os

import pytest

from quail.queue import drop_writer
from quail.queue.drop_writer import leave
from quail.queue.handover import encode_envelope
from quail.services.queue import drop as module
from quail.services.queue.drop import Drop
from quail.storage.calls import REAL, SystemCalls


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "drop"
    path.mkdir()
    return path


@pytest.fixture
def lines():
    return []


@pytest.fixture
def drop(folder, lines):
    return Drop(REAL, str(folder), lines.append)


def put(folder, name="new.1", data=None):
    (folder / name).write_bytes(encode_envelope(b"a@x", [b"b@y"]) + b"body\n" if data is None else data)
    return name


def read(dropped):
    body = b""
    while data := dropped.body():
        body += data
    os.close(dropped.fd)
    return body


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_what_an_injector_leaves_is_found(drop, folder):
    body = [b"Subject: x\n", b"\nhi\n"]
    name = leave(b"a@x", [b"b@y", b"c@z"], body, directory=str(folder), calls=Quick())
    assert drop.scan() == [name]
    dropped = drop.open(name)
    assert (dropped.envelope.sender, dropped.envelope.recipients) == (b"a@x", [b"b@y", b"c@z"])
    assert dropped.uid == os.getuid()
    assert read(dropped) == b"Subject: x\n\nhi\n"
    drop.remove(name)
    assert os.listdir(folder) == []
    assert drop.scan() == []


def test_files_on_their_way_in_are_left_alone(drop, folder):
    put(folder, "tmp.1")
    put(folder, "other")
    assert drop.scan() == []


def test_while_its_message_waits_for_the_disk_it_is_not_taken_again(drop, folder):
    name = put(folder)
    drop.taken.add(name)
    assert drop.scan() == []
    drop.taken.discard(name)
    assert drop.scan() == [name]


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\0\0\5F", b"\0\0\0\1x", b"\xff\xff\xff\xff" + b"x" * 100])
def test_what_is_no_message_is_named_once_and_stays(drop, folder, lines, data):
    name = put(folder, data=data)
    before = open_files()
    assert drop.open(name) is None
    assert drop.scan() == []
    assert len(lines) == 1
    assert open_files() == before
    os.unlink(folder / name)
    assert drop.scan() == []
    put(folder)
    assert drop.scan() == [name]  # the name is as good as any other again


def test_links_pipes_and_folders_are_refused_without_waiting(drop, folder, tmp_path, lines):
    (tmp_path / "secret").write_bytes(encode_envelope(b"a@x", [b"b@y"]) + b"secret")
    os.symlink(tmp_path / "secret", folder / "new.symlink")
    os.link(tmp_path / "secret", folder / "new.hardlink")
    os.mkfifo(folder / "new.fifo")
    (folder / "new.folder").mkdir()
    before = open_files()
    for name in drop.scan():
        assert drop.open(name) is None
    assert len(lines) == 4
    assert drop.scan() == []
    assert open_files() == before


@pytest.mark.parametrize("call", ["open", "fstat"])
def test_a_message_that_cannot_be_read_now_is_tried_again(folder, lines, call):
    """There may be no descriptors left for a while: an operator who is told that it is no message would remove it."""
    calls = Quick()
    drop = Drop(calls, str(folder), lines.append)
    name = put(folder)
    before = open_files()
    setattr(calls, call, FailingAt(call)._fail)
    for _ in range(2):
        assert drop.scan() == [name]
        assert drop.open(name) is None
    assert lines == [f"warning: {folder}/{name}: [Errno 28] No space left on device; will try again later"]
    assert open_files() == before
    delattr(calls, call)
    assert drop.scan() == [name]
    assert read(drop.open(name)) == b"body\n"


def test_a_file_that_has_gone_is_nothing_to_talk_about(drop, lines):
    assert drop.open("new.gone") is None
    drop.remove("new.gone")
    assert lines == []


def test_a_file_that_grows_while_it_is_read_ends_where_it_ended(drop, folder):
    """Its owner may append as fast as it is read, for ever."""
    name = put(folder)
    dropped = drop.open(name)
    with open(folder / name, "ab") as file:
        file.write(b"more" * 100_000)
    assert read(dropped) == b"body\n"


def test_a_folder_that_cannot_be_read_is_tried_again(drop, folder, lines):
    os.rmdir(folder)
    assert drop.scan() == []
    assert "will try again later" in lines[0]


def test_a_queued_file_that_cannot_be_removed_is_not_queued_again(folder, lines):
    class Stuck(SystemCalls):
        def unlink(self, _path):
            raise OSError(30, "Read-only file system")

    drop = Drop(Stuck(), str(folder), lines.append)
    name = put(folder)
    drop.remove(name)
    assert "can't be removed" in lines[0]
    assert drop.scan() == []


def test_one_user_gets_so_many_files_into_one_scan(drop, folder, monkeypatch, lines):
    monkeypatch.setattr(module, "QUOTA", 2)
    names = [put(folder, f"new.{n}") for n in range(3)]
    for turn in range(2):
        opened = [drop.open(name) for name in drop.scan()]
        assert [dropped is not None for dropped in opened] == ([True, True, False] if turn == 0 else [True])
        for dropped in opened:
            if dropped is not None:
                read(dropped)
                drop.remove(dropped.name)
    assert not lines
    assert not any(os.path.exists(folder / name) for name in names)


def test_one_user_gets_so_many_lines_into_the_log_by_garbage(drop, folder, monkeypatch, lines):
    monkeypatch.setattr(module, "QUOTA", 2)
    for n in range(5):
        (folder / f"new.{n}").write_bytes(b"garbage")
    for seen in (2, 4, 5):
        assert not any(drop.open(name) for name in drop.scan())
        assert len(lines) == seen


# The writing side.


def test_what_would_not_be_taken_up_is_not_left(folder, monkeypatch):
    monkeypatch.setattr(drop_writer, "LARGEST", 1000)
    with pytest.raises(OSError, match="File too large"):
        drop_writer.leave(b"a@x", [b"b@y"], [b"x" * 600] * 2, directory=str(folder), calls=Quick())
    assert os.listdir(folder) == []


def test_the_queue_can_read_it_whatever_the_umask(folder):
    mask = os.umask(0o077)
    try:
        name = drop_writer.leave(b"a@x", [b"b@y"], [b"x"], directory=str(folder), calls=Quick())
    finally:
        os.umask(mask)
    assert os.stat(folder / name).st_mode & 0o777 == 0o640


class Quick(SystemCalls):
    """Syncs one file where the real one syncs a file system that others may be busy with."""

    syncfs = staticmethod(os.fsync)


class FailingAt(Quick):
    def __init__(self, name):
        setattr(self, name, self._fail)

    @staticmethod
    def _fail(*_args):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename", "syncfs"])
def test_when_it_cannot_be_left_nothing_is_left(folder, call):
    before = open_files()
    with pytest.raises(OSError, match="No space"):
        leave(b"a@x", [b"b@y"], [b"body"], directory=str(folder), calls=FailingAt(call))
    assert os.listdir(folder) == []
    assert open_files() == before


def test_a_body_that_breaks_off_leaves_nothing(folder):
    def body():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave(b"a@x", [b"b@y"], body(), directory=str(folder), calls=Quick())
    assert os.listdir(folder) == []


def test_what_a_killed_injector_left_goes_after_a_day_and_a_half(folder, lines):
    old, young, link = folder / "tmp.old", folder / "tmp.young", folder / "tmp.link"
    for path in (old, young):
        path.write_bytes(b"half a mess")
    link.symlink_to("/nowhere")
    os.utime(old, (1000, 1000))
    os.utime(young, (1000 + module.ABANDONED_AFTER, 1000 + module.ABANDONED_AFTER))
    drop = Drop(REAL, str(folder), lines.append, now=lambda: 1001.0 + module.ABANDONED_AFTER)
    assert drop.scan() == []
    assert sorted(os.listdir(folder)) == ["tmp.link", "tmp.young"]
    assert lines == []
