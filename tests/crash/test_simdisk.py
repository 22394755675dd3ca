"""The simulated disk: does what a real file system does as long as nothing crashes, and forgets what the model says."""

import errno
import fcntl
import os
import random

import pytest
from tests.crash.simdisk import Fault, PowerCut, SimDisk

from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file, sync_directory

A, B = b"a" * 512, b"b" * 512


NOT_OF_A_STORE = {"symlink"}  # for the links to sendmail, which init makes outside of the home


def test_it_has_every_call():
    names = {name for name in vars(SystemCalls) if not name.startswith("_")}
    assert {name for name in names if not callable(getattr(SimDisk, name, None))} == NOT_OF_A_STORE


def outcome(call, *arguments):
    """What the call returns, or that it failed: which of several errors comes first is not imitated."""
    try:
        return call(*arguments)
    except OSError:
        return "failed"


class Twin:
    """The same calls on a real folder and on a simulated disk; `descriptors` are pairs."""

    def __init__(self, folder, rng):
        self.folder = folder
        self.rng = rng
        self.disk = SimDisk(rng=rng)
        self.descriptors = []

    def path(self):
        return self.rng.choice(("a", "b", "d/a", "d/b", "d/e/a", "d", "d/e", "d/.", "d/"))

    def both(self, name, *paths, more=()):
        real = outcome(getattr(REAL, name), *(f"{self.folder}/{path}" for path in paths), *more)
        return real, outcome(getattr(self.disk, name), *paths, *more)

    def step(self):
        rng = self.rng
        what = rng.choice(("open", "open", "close", "stat", "two", "one", "mkdir", "listdir", *["data"] * 8))
        if what == "open":
            kind = rng.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR))
            flags = kind | rng.choice((0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_APPEND))
            path = rng.choice(("a", "b", "d/a", "d/b", "d/e/a", "d", "d/e"))
            pair = self.both("open", path, more=(flags | (os.O_TRUNC if kind and rng.random() < 0.2 else 0), 0o600))
            if isinstance(pair[0], int) and isinstance(pair[1], int):
                self.descriptors.append(pair)
                pair = (0, 0)
        elif what == "two":
            pair = self.both(
                rng.choice(("rename", "link")), rng.choice(("a", "b", "d/a")), rng.choice(("b", "d/b", "d/e/a"))
            )
        elif what == "one":
            pair = self.both(rng.choice(("unlink", "rmdir")), rng.choice(("a", "d/a", "d/e", "d/e/a")))
        elif what == "mkdir":
            pair = self.both("mkdir", rng.choice(("d", "d/e", "a")), more=(0o700,))
        elif what == "listdir":
            pair = tuple(
                sorted(x) if isinstance(x, list) else x for x in self.both("listdir", rng.choice(("d", "d/e", "a")))
            )
        elif what == "stat":
            pair = tuple(self.described(x) for x in self.both("stat", self.path()))
        elif not self.descriptors:
            return
        elif what == "close":
            real, simulated = self.descriptors.pop(rng.randrange(len(self.descriptors)))
            pair = (outcome(REAL.close, real), outcome(self.disk.close, simulated))
        else:
            pair = self.data()
        assert pair[0] == pair[1], what

    def described(self, found):
        return found if isinstance(found, str) else (found.st_mode & 0o170000, found.st_size % 4096, found.st_nlink * 0)

    def data(self):
        rng = self.rng
        real, simulated = rng.choice(self.descriptors)
        name, arguments = rng.choice(
            (
                ("write", (rng.randbytes(rng.choice((0, 3, 700, 5000))),)),
                ("pwritev", ([rng.randbytes(9), b"", rng.randbytes(600)], rng.choice((0, 100, 512, 9000)))),
                ("pread", (2000, rng.choice((0, 511, 4000)))),
                ("ftruncate", (rng.choice((0, 100, 512, 6000)),)),
                ("fsync", ()),
                ("fdatasync", ()),
            )
        )
        return (
            outcome(getattr(REAL, name), real, *arguments),
            outcome(getattr(self.disk, name), simulated, *arguments),
        )

    def close(self):
        for real, _ in self.descriptors:
            os.close(real)


@pytest.mark.parametrize("seed", range(25))
def test_like_a_real_file_system(tmp_path, seed):
    twin = Twin(str(tmp_path), random.Random(seed))
    try:
        for _ in range(300):
            twin.step()
    finally:
        twin.close()


def test_locks_and_locked_twice():
    disk = SimDisk()
    first, second = (disk.open("lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    disk.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(BlockingIOError):
        disk.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    disk.close(first)
    disk.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


# What a cut leaves


def contents(disk):
    return {name: bytes(disk._find(name).data) for name in disk.root.names}


def after_cuts(disk, limit=10_000):
    return {tuple(sorted(contents(state).items())) for state in disk.crash_states(random.Random(1), limit)}


def written(disk, *, name_durable):
    fd = disk.open("f", os.O_WRONLY | os.O_CREAT)
    if name_durable:
        sync_directory(disk, ".")
    disk.write(fd, A + B)
    return fd


def test_a_file_nobody_synced_may_be_absent_empty_or_have_any_of_its_sectors():
    disk = SimDisk()
    written(disk, name_durable=False)
    found = after_cuts(disk)
    zero = bytes(512)
    for data in (b"", A + B, zero + B, A + zero, zero + zero):
        assert (("f", data),) in found
    assert () in found
    damaged = [
        dict(state)["f"]
        for state in found
        if state and dict(state)["f"] not in (b"", A + B, zero + B, A + zero, zero * 2)
    ]
    assert damaged  # the sector in flight
    assert all(data[:512] in (A, zero) or data[512:] in (B, zero) for data in damaged)


def test_a_synced_file_is_whole_but_its_name_is_not_durable_before_its_directory_is():
    disk = SimDisk()
    disk.fsync(written(disk, name_durable=False))
    assert after_cuts(disk) == {(), (("f", A + B),)}
    sync_directory(disk, ".")
    assert after_cuts(disk) == {(("f", A + B),)}


def test_syncfs_makes_all_durable():
    disk = SimDisk()
    disk.syncfs(written(disk, name_durable=False))
    assert after_cuts(disk) == {(("f", A + B),)}


def test_pages_lost_by_a_failed_sync_are_not_written_by_the_next():
    for how, may_be_lost in (("drop", True), ("dirty", False), ("done", False)):
        disk = SimDisk()
        fd = written(disk, name_durable=True)
        disk.fault = lambda _number, _call, _path, how=how: Fault("errno", errno.EIO, sync=how)
        with pytest.raises(OSError, match="Input/output"):
            disk.fsync(fd)
        disk.fault = None
        disk.fsync(fd)
        assert contents(disk) == {"f": A + B}  # the cache shows it
        assert ((("f", b""),) in after_cuts(disk)) is may_be_lost
        disk.pwritev(fd, [A + B], 0)
        disk.fsync(fd)
        assert after_cuts(disk) == {(("f", A + B),)}


def test_pages_reverted_by_a_failed_sync_are_what_the_disk_has():
    disk = SimDisk()
    fd = written(disk, name_durable=True)
    disk.fsync(fd)
    disk.pwritev(fd, [B + A], 0)
    disk.fault = lambda *_: Fault("errno", errno.EIO, sync="revert")
    with pytest.raises(OSError, match="Input/output"):
        disk.fsync(fd)
    assert contents(disk)["f"] in (x + y for x in (A, B) for y in (A, B))
    assert after_cuts(disk) == {tuple(contents(disk).items())}


def test_what_was_cut_off_is_all_there_or_all_gone():
    disk = SimDisk()
    fd = written(disk, name_durable=True)
    disk.fsync(fd)
    disk.ftruncate(fd, 512)
    assert after_cuts(disk) == {(("f", A),), (("f", A + B),)}
    disk.pwritev(fd, [B], 1024)
    sizes = {len(dict(state)["f"]) for state in after_cuts(disk)}
    assert sizes == {512, 1024, 1536}
    assert all(dict(state)["f"][512:1024] == bytes(512) for state in after_cuts(disk) if len(dict(state)["f"]) == 1536)


def test_a_name_may_stop_at_any_of_its_own_changes():
    disk = SimDisk()
    for name in "xy":
        disk.fsync(disk.open(name, os.O_WRONLY | os.O_CREAT))
    sync_directory(disk, ".")
    disk.rename("x", "y")
    disk.rename("y", "z")
    found = {tuple(sorted(dict(state))) for state in after_cuts(disk)}
    assert found == {(*x, *y, *z) for x in ((), ("x",)) for y in ((), ("y",)) for z in ((), ("z",))}


def test_replace_file_is_never_half_there_even_where_a_rename_may_be():
    before, between = b"old" * 100, b"new" * 300
    disk = SimDisk()
    replace_file("f", before, calls=disk)
    states = set()

    def watch(*_):
        for state in disk.crash_states(disk.rng, 60):
            states.add(contents(state)["f"])
            for again in (between, before):
                replace_file("f", again, calls=state)
                assert contents(state)["f"] == again
                assert {dict(left)["f"] for left in after_cuts(state, 60)} == {again}

    disk.watch = watch
    replace_file("f", between, calls=disk)
    assert states == {before, between}


def test_replacing_again_after_a_crash_spares_what_has_two_names():
    disk = SimDisk()
    replace_file("f", A, calls=disk)
    replace_file("g", B, calls=disk)
    disk.link("f", "f.tmp")
    disk.syncfs(disk.open("f", os.O_RDONLY))

    def watch(*_):
        assert all(contents(state)["f"] in (A, B) for state in disk.crash_states(disk.rng, 60))

    disk.watch = watch
    replace_file("f", B, calls=disk)


def test_killed_keeps_the_cache_and_what_is_not_durable():
    disk = SimDisk()
    written(disk, name_durable=True)
    left = disk.killed()
    assert contents(left) == {"f": A + B}
    assert (("f", b""),) in after_cuts(left)
    left.syncfs(left.open("f", os.O_RDONLY))
    assert after_cuts(left) == {(("f", A + B),)}
    assert (("f", b""),) in after_cuts(disk)  # which has not noticed


def test_a_cut_ends_every_call():
    disk = SimDisk()
    disk.fault = lambda number, _call, _path: Fault("cut") if number == 2 else None
    with pytest.raises(PowerCut):
        written(disk, name_durable=True)
    with pytest.raises(PowerCut):
        disk.listdir()


def test_full_disk():
    disk = SimDisk(capacity=8192)
    fd = disk.open("f", os.O_WRONLY | os.O_CREAT)
    assert disk.write(fd, bytes(10_000)) == 8192
    with pytest.raises(OSError, match="No space"):
        disk.write(fd, b"x")
    status = disk.statvfs(".")
    assert (status.f_bavail, status.f_blocks, status.f_frsize) == (0, 2, 4096)
    disk.unlink("f")
    assert disk.statvfs(".").f_bavail == 2
