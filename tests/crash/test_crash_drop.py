"""queue/drop/ under power cuts and failures: what was left there is whole or absent; what was refused is not taken up."""

import errno

import pytest
from tests.crash.lab import faults_for
from tests.crash.simdisk import SimDisk

from quail.queue.drop_writer import leave
from quail.queue.handover import decode_envelope
from quail.storage.durable import sync_directory

CHUNKS = [b"Subject: hello\n\n", b"x" * 5000, b"\nlast line"]
BODY = b"".join(CHUNKS)


@pytest.fixture
def disk(lab):
    made = SimDisk(rng=lab.rng)
    made.mkdir("drop")
    sync_directory(made, ".")
    return made


def put(disk):
    return leave(b"s@h", [b"r@h", b"t@h"], CHUNKS, directory="drop", calls=disk)


def messages(disk):
    """Files that the queue would take up, after a look at each."""
    names = [name for name in disk.listdir("drop") if name.startswith("new.")]
    for name in names:
        data = bytes(disk._find(f"drop/{name}").data)
        size = int.from_bytes(data[:4], "big")
        envelope = decode_envelope(data[4 : 4 + size])
        assert (envelope.sender, envelope.recipients) == (b"s@h", [b"r@h", b"t@h"])
        assert data[4 + size :] == BODY
    return names


def states(lab, disk):
    for state in (disk.killed(), *disk.crash_states(lab.rng, 30)):
        lab.states += 1
        yield state


def test_cut_at_every_call(lab, disk):
    def watch(*_):
        lab.points += 1
        for state in states(lab, disk):
            assert len(messages(state)) <= 1

    disk.watch = watch
    name = put(disk)
    disk.watch = None
    assert all(messages(state) == [name] for state in states(lab, disk))
    assert lab.states > 50


def test_failure_of_every_call_leaves_nothing_to_take_up(lab, disk):
    put(disk.killed())
    trial = disk.killed()
    put(trial)
    for number, call in enumerate(trial.log, 1):
        for fault in faults_for(call):
            lab.faults += 1
            failing = disk.killed()
            failing.fault = lambda at, _call, _path, number=number, fault=fault: fault if at == number else None
            try:
                name = put(failing)
            except OSError:
                failing.fault = None
                assert failing.listdir("drop") == []
            else:
                failing.fault = None
                assert all(messages(state) == [name] for state in states(lab, failing))


def test_an_injector_that_is_ended_leaves_nothing(disk):
    def chunks():
        yield b"some"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave(b"s@h", [b"r@h"], chunks(), directory="drop", calls=disk)
    assert disk.listdir("drop") == []
    assert disk.handles == {}


def test_a_name_that_cannot_even_be_removed_is_only_a_tmp_file(disk):
    def fault(_number, call, _path):
        return faults_for(call)[-1] if call in ("fsync", "unlink") else None

    disk.fault = fault
    with pytest.raises(OSError, match=r"Interrupted|Input") as caught:
        put(disk)
    assert caught.value.errno in (errno.EINTR, errno.EIO)
    disk.fault = None
    assert messages(disk) == []
