"""Maildir deliveries under power cuts and failures: what was reported delivered is in new/, whole, and nothing half is."""

import errno
import itertools
import os

import pytest
from tests.crash.lab import faults_for
from tests.crash.simdisk import SimDisk

from quail.storage import maildir
from quail.storage.durable import sync_directory
from quail.storage.maildir import Request, deliver


@pytest.fixture(autouse=True)
def names(monkeypatch):
    monkeypatch.setattr(maildir, "SYNCFS_REPORTS_ERRORS", True)
    counter = itertools.count()
    monkeypatch.setattr(maildir, "unique_name", lambda: f"{next(counter)}")


def start(rng):
    disk = SimDisk(rng=rng)
    disk.mkdir("home")
    sync_directory(disk, ".")
    return disk


def batches(users):
    """Two deliveries to each of several Maildirs that do not exist yet; every text says whose it is."""
    for turn in range(2):
        yield [
            Request(f"home/m{user}", b"To: m%d\n\n" % user, b"%d " % turn + b"text" * 300, create=True)
            for user in range(users)
        ]


def found(disk, user):
    """Texts in new/, after the whole of it has been looked at."""
    try:
        names = disk.listdir(f"home/m{user}/new")
    except FileNotFoundError:
        return []
    return sorted(bytes(disk._find(f"home/m{user}/new/{name}").data) for name in names)


def check(disk, delivered, tried):
    for user, texts in tried.items():
        there = found(disk, user)
        assert set(there) <= texts, "half a message, or another's"
        assert delivered.get(user, set()) <= set(there), "reported delivered, and lost"


def run(lab, users, disk):
    """Deliver; return who had what delivered, while every call is looked at."""
    delivered, tried = {}, {}

    def watch(*_):
        lab.points += 1
        for state in (disk.killed(), *disk.crash_states(lab.rng, 4)):
            lab.states += 1
            check(state, delivered, tried)
            go_on(state, delivered, tried)

    disk.watch = watch
    for batch in batches(users):
        for user, request in enumerate(batch):
            tried.setdefault(user, set()).add(request.head + request.body)
        deliver(disk, batch)
        for user, request in enumerate(batch):
            if request.error is None:
                delivered.setdefault(user, set()).add(request.head + request.body)
    disk.fault = None
    watch()
    return delivered


def go_on(disk, delivered, tried):
    """The same Maildirs are delivered to after the crash; then the power is cut again."""
    batch = [Request(f"home/m{user}", b"late", b"", create=True) for user in tried]
    deliver(disk, batch)
    assert [request.error for request in batch] == [None] * len(batch)
    for state in disk.crash_states(disk.rng, 2):
        check(
            state,
            {user: delivered.get(user, set()) | {b"late"} for user in tried},
            {u: t | {b"late"} for u, t in tried.items()},
        )


@pytest.mark.parametrize("users", [1, 2, 5])
def test_cut_at_every_call(lab, users):
    delivered = run(lab, users, start(lab.rng))
    assert [len(delivered[user]) for user in range(users)] == [2] * users
    assert lab.states > 100


@pytest.mark.parametrize("users", [1, 5])
def test_failure_of_every_call(lab, users):
    calls = start(lab.rng)
    for batch in batches(users):
        deliver(calls, batch)
    failed = 0
    for number, call in enumerate(calls.log, 1):
        for fault in faults_for(call):
            if fault.sync in ("drop", "revert") and fault.kind == "errno" and lab.rng.random() < 0.5:
                continue
            disk = start(lab.rng)
            first = disk.number
            disk.fault = lambda at, name, _path, number=number, fault=fault, first=first: (
                fault if at == number and at > first and fault in faults_for(name) else None
            )
            lab.faults += 1
            delivered = quiet_run(lab, users, disk)
            failed += sum(2 - len(delivered.get(user, ())) for user in range(users))
    assert failed


def quiet_run(lab, users, disk):
    """As run(), looking only at the end."""
    delivered, tried = {}, {}
    for batch in batches(users):
        deliver(disk, batch)
        for user, request in enumerate(batch):
            text = request.head + request.body
            tried.setdefault(user, set()).add(text)
            if request.error is None:
                delivered.setdefault(user, set()).add(text)
            elif request.cause.errno in (errno.ENOSPC, errno.EIO, errno.EINTR):
                assert request.error == maildir.TROUBLE
    disk.fault = None
    for state in (disk.killed(), *disk.crash_states(lab.rng, 3)):
        lab.states += 1
        check(state, delivered, tried)
    return delivered


def test_a_store_that_renames_first_would_be_caught(lab, monkeypatch):
    """The check has teeth: without the sync before the rename, half a message is found."""
    monkeypatch.setattr(SimDisk, "fsync", lambda self, fd: None)
    with pytest.raises(AssertionError):
        run(lab, 1, start(lab.rng))


def test_descriptors_are_all_closed(lab):
    for number in range(1, 60):
        disk = start(lab.rng)
        disk.fault = lambda at, call, _path, number=number: faults_for(call)[-1] if at == number else None
        before = set(disk.handles)
        for batch in batches(4):
            deliver(disk, batch)
        assert set(disk.handles) == before


def test_bodies_come_from_descriptors_on_the_same_disk(lab):
    disk = start(lab.rng)
    fd = disk.open("body", os.O_RDWR | os.O_CREAT)
    disk.write(fd, b"0123456789")
    request = Request("home/m0", b"", fd, 7, create=True)
    deliver(disk, [request])
    assert request.error is None
    assert found(disk, 0) == [b"0123456"]
