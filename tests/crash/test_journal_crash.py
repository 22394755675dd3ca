"""Power cuts, kills and failures at every call of the journal's life: accept, settle, roll-over, compaction, large bodies,
start-up and recovery. Nothing acknowledged is lost, nothing finished or refused comes back, what is done stays done.

In CI each sweep is a sample; `-m long` takes all of it. The seeds and the number of states are printed at the end.
"""

import pytest
from tests.crash.journal_subject import JournalSubject
from tests.crash.lab import BrokenPromiseError

from quail.queue import journal, recovery
from quail.queue.journal import Journal
from quail.queue.segments import Segments
from quail.queue.state import State


def subjects(lab, count, **options):
    return [JournalSubject(lab.rng.randrange(1 << 30), **options) for _ in range(count)]


def total(runs, kind):
    return sum(run.kinds.get(kind, 0) for run in runs)


def cuts(lab, runs, share):
    for run in runs:
        lab.cuts(run, per_call=6, share=share, depth=1)


def failures(lab, seeds, share, **options):
    for seed in seeds:
        calls = lab.cuts(JournalSubject(seed, **options), per_call=1, share=0)
        lab.failures(lambda seed=seed: JournalSubject(seed, **options), calls, share=share, lasting=(1, 2, 6))


def recovery_failures(lab, count, share):
    for run in subjects(lab, count, steps=20):
        lab.recovery_failures(run, share=share)


def test_cuts(lab):
    runs = subjects(lab, 3, steps=40)
    cuts(lab, runs, 0.02)
    for kind in ("new segment", "copies", "segment removed", "large", "finished"):
        assert total(runs, kind), kind
    assert lab.states > 300


def test_failures(lab):
    failures(lab, [lab.rng.randrange(1 << 30) for _ in range(4)], 0.02, steps=10)
    assert lab.faults > 10


def test_failures_of_recovery(lab):
    recovery_failures(lab, 1, 0.1)
    assert lab.faults > 10


def test_crash_in_the_middle_of_a_compaction(lab):
    run = JournalSubject(lab.rng.randrange(1 << 30), steps=30, keep=2)
    lab.cuts(run, per_call=4, share=0.1, depth=1, when=lambda: run.compacting)
    assert run.kinds["copies"] > 1
    assert run.kinds["segment removed"] > 1
    assert lab.states > 100


@pytest.mark.long
def test_all_cuts(lab):
    cuts(lab, subjects(lab, 3, steps=40), 1.0)


@pytest.mark.long
def test_all_cuts_and_life_goes_on(lab):
    lab.follow = 1.0
    cuts(lab, subjects(lab, 5, steps=6), 1.0)


@pytest.mark.long
def test_all_failures(lab):
    failures(lab, [lab.rng.randrange(1 << 30) for _ in range(2)], 1.0, steps=10)


@pytest.mark.long
def test_all_failures_of_recovery(lab):
    recovery_failures(lab, 4, 1.0)


@pytest.mark.long
def test_all_crashes_in_compactions(lab):
    for _ in range(2):
        run = JournalSubject(lab.rng.randrange(1 << 30), steps=25, keep=2)
        lab.cuts(run, per_call=6, share=1.0, depth=2, when=lambda run=run: run.compacting)


# The lab would see it, had the journal one of these holes.


def _nothing(*_args, **_options):
    return None


HOLES = {
    "no sync of a batch": lambda patch: patch.setattr(
        Segments, "append", lambda self, fd, buffers, offset: self._calls.pwritev(fd, buffers, offset)
    ),
    "no sync of segments' names": lambda patch: patch.setattr(Segments, "sync_names", _nothing),
    "large bodies not synced": lambda patch: patch.setattr(Journal, "_sync_large", _nothing),
    "a failed batch is not cut off": lambda patch: patch.setattr(Segments, "cut", _nothing),
    "recovery writes nothing again": lambda patch: patch.setattr(recovery, "_without_outdated", lambda _entries: []),
    "batches share sectors": lambda patch: patch.setattr(journal.records, "aligned", lambda offset: offset),
    "copies have all recipients": lambda patch: patch.setattr(
        State, "left", lambda _self, _number, recipients: recipients
    ),
    "folders are not synced": lambda patch: patch.setattr(recovery, "sync_directory", _nothing),
}


@pytest.mark.parametrize("hole", HOLES)
def test_planted_hole_is_found(hole, lab, monkeypatch):
    HOLES[hole](monkeypatch)
    lab.follow = 0.5
    with pytest.raises(BrokenPromiseError):
        sweep_short_runs(lab, 40)


def sweep_short_runs(lab, count):
    for _ in range(count):
        seed = lab.rng.randrange(1 << 30)
        calls = lab.cuts(JournalSubject(seed, steps=8), per_call=3, share=0.1)
        lab.failures(lambda seed=seed: JournalSubject(seed, steps=8), calls, share=0.05)
