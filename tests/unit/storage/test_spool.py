"""A spool gives the whole message again, however much of it was taken before, and keeps a large one out of memory."""

import os

import pytest

from quail.storage import spool as module
from quail.storage.spool import IN_MEMORY, PIECE, Spool

LARGE = [bytes([letter]) * 100_000 for letter in range(40)]
SMALL = [b"Subject: x\n", b"", b"\n", b"x" * 70_000, b"end"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("source", [[], [b""], SMALL, LARGE], ids=["nothing", "empty", "small", "large"])
@pytest.mark.parametrize("taken", [0, 1, 2, 15, 1000])
def test_twice(folder, source, taken):
    made = Spool(iter(source))
    first = made.chunks()
    for _, _ in zip(range(taken), first, strict=False):
        pass
    first.close()
    assert b"".join(made.chunks()) == b"".join(source)
    assert b"".join(made.chunks(last=True)) == b"".join(source)
    assert os.listdir(folder) == []
    made.close()


def test_small_pieces_are_put_together():
    made = Spool(b"line %d\n" % number for number in range(20_000))
    pieces = list(made.chunks())
    assert b"".join(pieces).count(b"\n") == 20_000
    assert all(PIECE <= len(piece) < PIECE + 20 for piece in pieces[:-1])


def open_files():
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and is_file(fd)]


def is_file(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").endswith("(deleted)")
    except FileNotFoundError:
        return False


def test_only_a_large_message_has_a_file_and_only_if_it_may_be_needed_again(folder):
    """It lies where TMPDIR says, without a name."""
    for source, last, files in [
        ([b"x" * IN_MEMORY], False, 0),
        ([b"x" * IN_MEMORY, b"x" * PIECE], False, 1),
        ([b"x" * IN_MEMORY, b"x" * PIECE], True, 0),
    ]:
        made = Spool(source)
        for _ in made.chunks(last=last):
            pass
        found = [name for name in open_files() if name.startswith(str(folder))]
        assert len(found) == files
        made.close()
        assert not [name for name in open_files() if name.startswith(str(folder))]


def test_a_file_system_without_nameless_files(folder, monkeypatch):
    real = os.open

    def refuse(path, flags, mode=0o777):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    made = Spool(LARGE)
    made.fill()
    assert b"".join(made.chunks()) == b"".join(LARGE)
    assert os.listdir(folder) == []
    made.close()


def test_nowhere_to_keep_it(monkeypatch, tmp_path):
    """Whoever needs it once still gets all of it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    made = Spool(LARGE)
    assert b"".join(made.chunks()) == b"".join(LARGE)
    with pytest.raises(FileNotFoundError):
        next(made.chunks())
    with pytest.raises(FileNotFoundError):
        made.fill()


def test_no_room_to_keep_it(monkeypatch):
    monkeypatch.setattr(module, "nameless_file", lambda: os.open("/dev/full", os.O_RDWR | os.O_CLOEXEC))
    made = Spool(LARGE)
    with pytest.raises(OSError, match="No space"):
        made.fill()
    made.close()


def test_what_the_source_raises_is_known(folder):
    error = OSError("read error")

    def source():
        yield b"x" * 100_000
        raise error

    made = Spool(source())
    with pytest.raises(OSError, match="read error"):
        made.fill()
    assert made.failed is error


def test_trouble_of_who_takes_it_is_not_the_sources():
    made = Spool([b"x"])
    taking = made.chunks()
    next(taking)
    with pytest.raises(BrokenPipeError):
        taking.throw(BrokenPipeError())
    assert made.failed is None


def test_nothing_comes_from_a_closed_one():
    made = Spool([b"x"])
    made.close()
    with pytest.raises(OSError, match="closed"):
        next(made.chunks())
