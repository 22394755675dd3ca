"""qmail-clean's commands, whole and byte by byte, on a queue of files."""

import os

import pytest

from quail.queue.cleaner import AGAIN_AFTER, OLD, Cleaner
from quail.storage.calls import SystemCalls

NOW = 2_000_000_000.0
ID = 26 + 3 * 23  # lies in folder 3 of 23
S = ID % 23


@pytest.fixture
def queue(tmp_path, monkeypatch):
    for folder in ("intd", "todo", "pid", f"mess/{S}"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(queue):
    return sorted(str(path.relative_to(queue)) for path in queue.rglob("*") if path.is_file())


def fill(queue):
    for path in (f"intd/{ID}", f"todo/{ID}", f"mess/{S}/{ID}"):
        (queue / path).write_text("x")


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (b"foop/%d\0" % ID, [f"todo/{ID}"]),
        (b"todo/%d\0" % ID, [f"mess/{S}/{ID}"]),
        (b"todo/000%d\0" % ID, [f"mess/{S}/{ID}"]),
    ],
    ids=["foop", "todo", "zeros"],
)
def test_what_is_removed(queue, command, left):
    fill(queue)
    assert Cleaner().feed(command, NOW) == b"+"
    assert files(queue) == left
    assert Cleaner().feed(command, NOW) == b"+"  # what is gone is gone


def test_byte_by_byte_and_many_at_once(queue):
    fill(queue)
    cleaner = Cleaner()
    said = b"todo/%d\0nope\0foop/%d\0" % (ID, ID)
    assert [cleaner.feed(bytes((byte,)), NOW) for byte in said].count(b"+") == 2
    assert files(queue) == []
    fill(queue)
    assert Cleaner().feed(said + b"fo", NOW) == b"+x+"
    assert files(queue) == []


@pytest.mark.parametrize(
    "command",
    [
        b"", b"foop/", b"fop/1234", b"foop/1a", b"foop/-1", b"foop/ 1", b"foop/1/2", b"foop/../1", b"FOOP/1",
        b"foop/" + b"1" * 95, b"foop/" + b"1" * 1000, b"foop/" + b"9" * 30, "foop/\u0664".encode(),
    ],
    ids=range(13),
)  # fmt: skip
def test_bad_commands(queue, command):
    fill(queue)
    before = files(queue)
    cleaner = Cleaner()
    assert cleaner.feed(command + b"\0", NOW) == b"x"
    assert files(queue) == before
    assert cleaner.feed(b"foop/%d\0" % ID, NOW) == b"+"


def test_what_can_not_be_removed(queue):
    class Broken(SystemCalls):
        def unlink(self, path):
            raise PermissionError(1, "no", path)

    fill(queue)
    assert Cleaner(Broken()).feed(b"foop/%d\0" % ID, NOW) == b"!"


def test_a_command_without_an_end_takes_little_memory(queue):
    cleaner = Cleaner()
    for _ in range(100):
        assert cleaner.feed(b"1" * 100_000, NOW) == b""
    assert len(cleaner._command) <= 100
    assert cleaner.feed(b"\0", NOW) == b"x"


def test_old_files_of_dead_programs_go_now_and_then(queue):
    def leave():
        for name, age in (("old", OLD + 10), ("new", OLD - 10), (".hidden", OLD + 10)):
            (queue / f"pid/{name}").write_text("")
            os.utime(queue / f"pid/{name}", (NOW - age, NOW))

    leave()
    cleaner = Cleaner()
    cleaner.sweep(NOW)
    kept = ["pid/.hidden", "pid/new"]
    assert files(queue) == kept
    leave()
    for _ in range(AGAIN_AFTER):
        cleaner.feed(b"foop/1\0", NOW)
    assert files(queue) == sorted([*kept, "pid/old"])
    cleaner.feed(b"foop/1\0", NOW)
    assert files(queue) == kept
