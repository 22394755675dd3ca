"""The crash lab: runs a store's workload on the simulated disk, stops the machine at its calls, and looks at what is left.

A subject knows one store and keeps the ledger of what it promised. Cuts need one run for all calls, because the disk can be
looked at while the store is in a call. A fault changes what follows, so each fault is a run of its own, with cuts after it.
Recovery is stopped at its own calls in the same way, `depth` times over.
"""

import errno
import random
from collections.abc import Callable, Iterable
from typing import Protocol

from tests.crash.simdisk import SYNCS, Fault, SimDisk


class Subject(Protocol):
    """What the lab needs to know of a store. One subject is one run: its ledger is the run's."""

    def prepare(self, disk: SimDisk) -> None:
        """Make what is there, durably, before the store starts for the first time."""

    def run(self, disk: SimDisk) -> object:
        """Work to the end, or until the store gives up in the way it is meant to."""

    def recover(self, disk: SimDisk) -> object:
        """Open the store after a crash. With a fault in it, it may raise what `gives_up` lists."""

    def verify(self, store: object) -> None:
        """AssertionError if what recover returned breaks a promise of the run, as the ledger has it at this moment."""

    def after(self, store: object) -> "Subject":
        """A subject that holds the store to all that it has shown since recovery, things in flight included."""

    def go_on(self, store: object) -> None:
        """Some more work, on a recovered store."""

    gives_up: tuple[type[BaseException], ...]


class BrokenPromiseError(AssertionError):
    """The lab has found a hole; the text says how to get there again."""


WRITE_FAULTS = (
    Fault("short", part=0.0),
    Fault("short", part=0.5),
    Fault("errno", errno.EIO),
    Fault("errno", errno.EIO, part=0.6),
    Fault("errno", errno.EIO, part=1.0),
    Fault("errno", errno.ENOSPC),
    Fault("errno", errno.EINTR),
)
SYNC_FAULTS = (
    *(Fault("errno", errno.EIO, sync=how) for how in ("dirty", "drop", "revert", "done")),
    Fault("errno", errno.ENOSPC, sync="dirty"),
    Fault("errno", errno.EINTR, sync="dirty"),
)
READ_FAULTS = (Fault("short", part=0.3), Fault("errno", errno.EIO), Fault("errno", errno.EINTR))
OTHER_FAULTS = (Fault("errno", errno.EIO), Fault("errno", errno.ENOSPC), Fault("errno", errno.EINTR))


def faults_for(call: str) -> tuple[Fault, ...]:
    """Every fault worth trying in such a call."""
    if call in SYNCS:
        return SYNC_FAULTS
    return {"write": WRITE_FAULTS, "pwritev": WRITE_FAULTS, "pread": READ_FAULTS}.get(call, OTHER_FAULTS)


class Lab:
    """`states` counts the disks that a store was started on, `points` the calls that were cut, `faults` those that failed."""

    def __init__(self, seed: int, *, follow: float = 0.2) -> None:
        """After a share `follow` of all recoveries, work goes on and is cut again."""
        self.seed = seed
        self.follow = follow
        self._follow = True
        self.rng = random.Random(seed)
        self.points = 0
        self.faults = 0
        self.states = 0
        self._trail: list[str] = []

    def __str__(self) -> str:
        return f"{self.states} states from {self.points} cuts and {self.faults} faults, seed {self.seed}"

    def cuts(
        self,
        subject: Subject,
        *,
        per_call: int,
        share: float = 1.0,
        depth: int = 1,
        when: Callable[[], bool] = lambda: True,
    ) -> list[str]:
        """Stop at a `share` of all calls, those `when` is true; start again on at most `per_call` disks for each. Return the
        names of the calls.
        """
        disk = self._prepared(subject)

        def watch(number: int, call: str, path: str) -> None:
            if when() and self.rng.random() < share:
                self._stop(disk, subject, f"cut in call {number}, {call} {path}", per_call, depth)

        disk.watch = watch
        subject.run(disk)
        self._stop(disk, subject, "cut at the end", per_call, depth)
        return disk.log

    def failures(
        self,
        make: Callable[[], Subject],
        calls: list[str],
        *,
        share: float = 1.0,
        per_call: int = 2,
        depth: int = 0,
        lasting: Iterable[int] = (1,),
    ) -> None:
        """Fail a `share` of the calls in each way, for as many calls of its kind as `lasting` says; cut soon after, and last.

        `calls` comes from cuts() of the same workload.
        """
        for number, call in enumerate(calls, 1):
            for fault in faults_for(call):
                for length in lasting:
                    if self.rng.random() < share:
                        self._failure(make(), number, fault, length, per_call, depth)

    def trouble(
        self,
        subject: Subject,
        fault: Callable[[int, str, str], Fault | None],
        *,
        per_call: int,
        share: float,
        depth: int,
    ) -> None:
        """Run with any faults at all, and stop at a `share` of the calls from the first of them on."""
        disk = self._prepared(subject)

        def fail(number: int, call: str, path: str) -> Fault | None:
            chosen = fault(number, call, path)
            if chosen is not None:
                self.faults += 1
                self._trail.append(f"{chosen} in call {number}, {call} {path}")
            return chosen

        def watch(number: int, call: str, path: str) -> None:
            if self._trail and self.rng.random() < share:
                self._stop(disk, subject, f"cut in call {number}, {call} {path}", per_call, depth)

        disk.fault, disk.watch = fail, watch
        subject.run(disk)
        self._stop(disk, subject, "cut at the end", per_call, depth)
        self._trail.clear()

    def _failure(self, subject: Subject, number: int, fault: Fault, length: int, per_call: int, depth: int) -> None:
        disk = self._prepared(subject)
        self.faults += 1
        left = length

        def fail(at: int, call: str, path: str) -> Fault | None:
            nonlocal left
            if at < number or not left or fault not in faults_for(call):
                return None
            if at == number:
                self._trail.append(f"{fault} in call {at}, {call} {path}, {length} times")
            left -= 1
            return fault

        def watch(at: int, call: str, path: str) -> None:
            if number < at < number + 8 or (at > number and self.rng.random() < 0.02):
                self._stop(disk, subject, f"cut in call {at}, {call} {path}", 1, depth)

        disk.fault, disk.watch = fail, watch
        trail = len(self._trail)
        try:
            subject.run(disk)
        except Exception as error:
            raise self._broken(f"the store broke: {error!r}") from error
        disk.fault = None
        self._stop(disk, subject, "cut at the end", per_call, depth)
        del self._trail[trail:]

    def recovery_failures(self, subject: Subject, *, share: float, per_call: int = 1) -> None:
        """Run to the end, cut, and fail recovery's own calls; then it must give up cleanly or keep every promise."""
        disk = self._prepared(subject)
        subject.run(disk)
        for left in (disk.killed(), *disk.crash_states(self.rng, 3)):
            trial = left.killed()
            subject.recover(trial)
            for number, call in enumerate(trial.log, 1):
                for fault in faults_for(call):
                    if self.rng.random() < share:
                        self._recovery_failure(left.killed(), subject, number, fault, per_call)

    def _prepared(self, subject: Subject) -> SimDisk:
        disk = SimDisk(rng=self.rng)
        subject.prepare(disk)
        disk.log.clear()
        return disk

    def _recovery_failure(self, disk: SimDisk, subject: Subject, number: int, fault: Fault, per_call: int) -> None:
        self.faults += 1
        disk.fault = lambda at, _call, _path: fault if at == number else None
        self._trail.append(f"{fault} in call {number} of recovery")
        try:
            store = subject.recover(disk)
        except subject.gives_up:
            pass
        except Exception as error:
            raise self._broken(f"recovery broke: {error!r}") from error
        else:
            self._verify(subject, store)
        disk.fault = None
        self._stop(disk, subject, "cut after it", per_call, 0)
        self._trail.pop()

    def _stop(self, disk: SimDisk, subject: Subject, where: str, per_call: int, depth: int) -> None:
        self.points += 1
        for count, state in enumerate(disk.crash_states(self.rng, per_call)):
            self._trail.append(f"power {where}, state {count}")
            self.examine(state, subject, depth)
            self._trail.pop()
        self._trail.append(f"kill instead of {where}")
        self.examine(disk.killed(), subject, depth)
        self._trail.pop()

    def examine(self, disk: SimDisk, subject: Subject, depth: int) -> None:
        """Start the store on the disk and look; stop it at some of its calls first, if depth is left."""
        self.states += 1
        if depth > 0:
            trial = disk.killed()

            def watch(number: int, call: str, path: str) -> None:
                if call not in ("pread", "stat", "fstat", "listdir", "close", "flock") and self.rng.random() < 0.15:
                    where = f"cut in call {number} of recovery, {call} {path}"
                    self._stop(trial, subject, where, 1, depth - 1)

            trial.watch = watch
            self._recover(subject, trial)
        store = self._recover(subject, disk)
        self._verify(subject, store)
        if self._follow and self.rng.random() < self.follow:
            self._go_on(disk, subject.after(store), store)

    def _go_on(self, disk: SimDisk, subject: Subject, store: object) -> None:
        """What recovery has shown must last: cut again, at once and during more work."""
        self._follow = False
        self._stop(disk, subject, "cut after recovery", 2, 0)

        def watch(number: int, call: str, path: str) -> None:
            if self.rng.random() < 0.1:
                self._stop(disk, subject, f"cut in call {number} since recovery, {call} {path}", 1, 0)

        disk.watch = watch
        subject.go_on(store)
        disk.watch = None
        self._stop(disk, subject, "cut in the end", 1, 0)
        self._follow = True

    def _recover(self, subject: Subject, disk: SimDisk) -> object:
        try:
            return subject.recover(disk)
        except BrokenPromiseError:
            raise
        except Exception as error:
            raise self._broken(f"recovery failed: {error!r}") from error

    def _verify(self, subject: Subject, store: object) -> None:
        try:
            subject.verify(store)
        except Exception as error:
            raise self._broken(str(error) if isinstance(error, AssertionError) else repr(error)) from error

    def _broken(self, text: str) -> BrokenPromiseError:
        return BrokenPromiseError("\n  ".join([f"seed {self.seed}:", *self._trail, text]))
