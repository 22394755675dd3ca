"""A tiny store, right as it stands, and with holes on purpose: the lab is tested by whether it finds each of them.

Two files: `toy/log`, lines of `+key value sum` or `-key sum`, synced before they are answered, and `toy/base`, which replaces
the log when it has grown. After a failed write or sync the log is cut back or the store stops.
"""

import os
import random
import zlib

from tests.crash.simcuts import SECTOR
from tests.crash.simdisk import SimDisk

from quail.storage.durable import sync_directory

_SCRAP = "toy/base.new"
HOLES = (
    "no sync of the log",
    "no sync of the directory",
    "answers before the sync",
    "tries the sync again",
    "no sum",
    "appends where a durable line shares the sector",
    "no cut after a failure",
    "no sync of the cut",
    "replaces without sync",
    "overwrites what may be the base by its other name",
    "empties the log before the new base is durable",
    "takes a short write for whole",
    "recovery does not sync what it found",
)


class StoppedError(Exception):
    """The store cannot say what is durable."""


class ToyStore:
    def __init__(self, calls: SimDisk, hole: str = "") -> None:
        self.calls = calls
        self.hole = hole
        self.values: dict[str, str] = {}
        self._recover()

    def _line(self, text: str) -> bytes:
        return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()

    def _sync_directory(self) -> None:
        if self.hole != "no sync of the directory":
            fd = self.calls.open("toy", os.O_RDONLY | os.O_DIRECTORY)
            self.calls.fsync(fd)
            self.calls.close(fd)

    def _read(self, path: str) -> bytes:
        try:
            fd = self.calls.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        data = b""
        while piece := self.calls.pread(fd, 4096, len(data)):
            data += piece
        self.calls.close(fd)
        return data

    def _replay(self, data: bytes) -> None:
        for line in data.replace(b"\0", b"").split(b"\n")[:-1]:
            text, _, total = line.decode("latin-1").rpartition(" ")
            if self.hole != "no sum" and self._line(text) != line + b"\n":
                continue
            sign, key, value = [text[:1], *text[1:].partition(" ")[::2]]
            if sign == "+":
                self.values[key] = value
            else:
                self.values.pop(key, None)
            assert total

    def _recover(self) -> None:
        self._replay(self._read("toy/base"))
        log = self._read("toy/log")
        self._replay(log)
        self.log = self.calls.open("toy/log", os.O_WRONLY)
        self.end = self.durable = 0
        if self.hole == "recovery does not sync what it found":
            self.end = self.durable = -(-len(log) // SECTOR) * SECTOR
            self._sync_directory()
        else:
            self.compact()

    def _sync(self) -> None:
        if self.hole == "no sync of the log":
            return
        try:
            self.calls.fdatasync(self.log)
        except OSError:
            if self.hole != "tries the sync again":
                raise
            self.calls.fdatasync(self.log)

    def _append(self, text: str) -> None:
        data = b"\n" + self._line(text)  # the newline in front ends what a crash may have left of a line there
        if self.hole != "appends where a durable line shares the sector":
            data += bytes(-len(data) % SECTOR)
        size = self.calls.pwritev(self.log, [data], self.end)
        if size != len(data) and self.hole != "takes a short write for whole":
            raise OSError("short")
        self.end += len(data)
        self._sync()

    def change(self, text: str) -> bool:
        """True: durable; False: it is not, and never will be; StoppedError: unknown."""
        try:
            self._append(text)
        except OSError:
            if self.hole == "no cut after a failure":
                return False
            try:
                self.calls.ftruncate(self.log, self.durable)
                if self.hole != "no sync of the cut":
                    self.calls.fsync(self.log)
            except OSError as error:
                raise StoppedError from error
            self.end = self.durable
            return False
        self.durable = self.end
        self._replay(self._line(text))
        return True

    def compact(self) -> None:
        """Write everything into a new base, then empty the log."""
        if self.hole == "empties the log before the new base is durable":
            self.calls.ftruncate(self.log, 0)
            self.calls.fsync(self.log)
        if self.hole != "overwrites what may be the base by its other name":
            try:
                self.calls.unlink(_SCRAP)
            except FileNotFoundError:
                pass
        fd = self.calls.open(_SCRAP, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        view = memoryview(b"".join(self._line(f"+{key} {value}") for key, value in sorted(self.values.items())))
        while view:
            view = view[self.calls.write(fd, view) :]
        if self.hole != "replaces without sync":
            self.calls.fsync(fd)
        self.calls.close(fd)
        self.calls.rename(_SCRAP, "toy/base")
        self._sync_directory()
        self.calls.ftruncate(self.log, 0)
        self.calls.fsync(self.log)
        self.end = self.durable = 0


class ToySubject:
    """Puts and removes keys; each key is used once, so that what it may be after a crash is easy to say."""

    gives_up = (OSError,)

    def __init__(self, hole: str, seed: int, steps: int = 12) -> None:
        self.hole = hole
        self.rng = random.Random(seed)
        self.steps = steps
        self.first = 0
        self.sure: dict[str, str] = {}
        self.in_flight: tuple[str, str | None] | None = None

    def prepare(self, disk: SimDisk) -> None:
        disk.mkdir("toy")
        sync_directory(disk, ".")
        disk.close(disk.open("toy/log", os.O_WRONLY | os.O_CREAT, 0o600))
        sync_directory(disk, "toy")

    def run(self, disk: SimDisk) -> None:
        try:
            store = ToyStore(disk, self.hole)
            for step in range(self.steps):
                self._step(store, step)
        except (StoppedError, OSError):
            pass

    def after(self, store: object) -> "ToySubject":
        assert isinstance(store, ToyStore)
        other = ToySubject(self.hole, 1, self.steps)
        other.first = 1000
        other.sure = dict(store.values)
        return other

    def go_on(self, store: object) -> None:
        assert isinstance(store, ToyStore)
        for step in range(self.first, self.first + 7):
            self._step(store, step)

    def _step(self, store: ToyStore, step: int) -> None:
        if step % 6 == 5:
            store.compact()
            return
        remove = self.rng.choice(sorted(self.sure)) if self.sure and self.rng.random() < 0.3 else None
        if remove is not None:
            key, value, text = remove, None, f"-{remove}"
        else:
            key, value = f"k{step}", "v" * self.rng.choice((1, 20, 900))
            text = f"+{key} {value}"
        self.in_flight = (key, value)
        if self.hole == "answers before the sync":
            self._settle(key, value)
        if store.change(text):
            self._settle(key, value)
        self.in_flight = None

    def _settle(self, key: str, value: str | None) -> None:
        if value is None:
            self.sure.pop(key, None)
        else:
            self.sure[key] = value

    def recover(self, disk: SimDisk) -> object:
        return ToyStore(disk, self.hole)

    def verify(self, store: object) -> None:
        assert isinstance(store, ToyStore)
        found = dict(store.values)
        wanted = dict(self.sure)
        if self.in_flight is not None:
            key, value = self.in_flight
            assert found.pop(key, None) in (value, wanted.pop(key, None)), f"{key} has a value that it never had"
        assert sorted(found) == sorted(wanted), "keys lost or come back"
        assert found == wanted, "a value is damaged"
