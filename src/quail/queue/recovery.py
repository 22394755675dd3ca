"""Start-up: lock the queue, read the journal back, write what may not be durable yet again, set damage aside, sweep.

Recovery never appends to or cuts an old segment: it opens a new one, writes every intact record above the durable mark there
again, and ends the old ones. Only then are bodies that belong to no message swept, and never while damage is unresolved: as
long as a file lies in queue/damaged/ that nobody has moved to queue/damaged/seen/.
"""

import fcntl
import os
import stat
from collections.abc import Callable

from quail.errors import PeerError, TemporaryError
from quail.queue import records
from quail.queue.journal import Journal
from quail.queue.replay import Damage, Found, Replay, SegmentReader, last_mark, read_batch_header
from quail.queue.segments import SEGMENT_SIZE, Segments
from quail.queue.state import State
from quail.queue.store import Entry, LargeBody, StoreStoppedError
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file, sync_directory

_FOLDERS = ("journal", "mess", "drop", "damaged", "damaged/seen")
_MODE = 0o700
_LAST_ONE_COUNTS = (records.DEFERRED, records.HELD, records.RELEASED)


class Opened:
    """The journal, ready; `lock` is the descriptor that keeps a second owner out; `reports` are lines for the log."""

    __slots__ = ("journal", "lock", "reports")

    def __init__(self, journal: Journal, lock: int, reports: list[str]) -> None:
        """Close journal and lock to let go."""
        self.journal = journal
        self.lock = lock
        self.reports = reports


def open_journal(
    directory: str = "queue",
    *,
    calls: SystemCalls = REAL,
    segment_size: int = SEGMENT_SIZE,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Opened:
    """Recover the journal below `directory`, which exists. TemporaryError when it is in use, can't be read or written, or is of
    a newer format.
    """
    try:
        lock = _lock(calls, directory)
        try:
            recovery = _Recovery(calls, directory, segment_size, random_bytes)
            return Opened(recovery.run(), lock, recovery.reports)
        except BaseException:
            calls.close(lock)
            raise
    except records.UnknownFormatError as error:
        raise TemporaryError(
            f"{directory}/journal: {error}; start the newer version that wrote it, let it deliver what is queued (`quail"
            " queue list` shows what is left), and then go back"
        ) from error
    except OSError as error:
        raise TemporaryError(f"unable to open the queue in {directory}: {error}") from error


def _lock(calls: SystemCalls, directory: str) -> int:
    fd = calls.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        calls.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        calls.close(fd)
        raise TemporaryError(
            f"{directory}/lock is held: a queue service of this home is already running; stop it first"
        ) from error
    return fd


class _Recovery:
    def __init__(
        self, calls: SystemCalls, directory: str, segment_size: int, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._calls = calls
        self._directory = directory
        self._segment_size = segment_size
        self._random_bytes = random_bytes
        self._segments = Segments(calls, f"{directory}/journal")
        self._replay = Replay()
        self._again: list[Entry] = []
        self._bad_bodies: set[int] = set()
        self._next_number = 1
        self._running = 0
        self._aside: set[str] | None = None  # names of what earlier starts have set aside
        self.reports: list[str] = []

    def run(self) -> Journal:
        self._make_folders()
        numbers = self._segments.numbers()
        secret = self._secret(numbers)
        ends = self._valid_ends(numbers, secret)
        mark = self._durable_mark(numbers, ends, secret)
        for number in numbers:
            ends[number] = self._take_segment(number, ends[number], secret, mark)
        state = self._replay.finish()
        self._settle_bad_bodies(state, secret)
        journal = Journal(
            self._calls,
            self._directory,
            secret,
            state,
            next_number=max(self._next_number, self._replay.highest + 1, self._highest_body() + 1),
            running=self._running,
            ends=ends,
            next_segment=numbers[-1] + 1 if numbers else 1,
            mark=mark,
            segment_size=self._segment_size,
        )
        self._segments.close()
        self._write_again(journal)
        self._sweep(journal)
        return journal

    def _highest_body(self) -> int:
        """An orphan that may not be swept yet keeps its number."""
        names = self._calls.listdir(f"{self._directory}/mess")
        return max(filter(None, map(_body_number, names)), default=0)

    def _first_batch(self, number: int, secret: bytes | None) -> records.BatchHeader | None:
        return read_batch_header(self._segments, number, 0, self._segments.size(number), secret)

    def _make_folders(self) -> None:
        # Without the secret no start has got past the sync below, and one that failed may have lost names that only making
        # them again brings back. A folder in use can't be removed; one of another mode is the work of quail init, which has
        # synced it and wants that mode: a system home's drop is open to everybody.
        if not self._exists(f"{self._directory}/secret"):
            for folder in reversed(_FOLDERS):
                try:
                    path = f"{self._directory}/{folder}"
                    if stat.S_IMODE(self._calls.stat(path).st_mode) == _MODE:
                        self._calls.rmdir(path)
                except OSError:
                    pass
        for folder in _FOLDERS:
            try:
                self._calls.mkdir(f"{self._directory}/{folder}", _MODE)
            except FileExistsError:
                pass
        # Also when all are there: whoever made them may have been killed before this.
        sync_directory(self._calls, self._directory)
        sync_directory(self._calls, f"{self._directory}/damaged")

    def _exists(self, path: str) -> bool:
        try:
            self._calls.stat(path)
        except FileNotFoundError:
            return False
        return True

    def _secret(self, numbers: list[int]) -> bytes:
        """From the file, else from the first batch header of a segment: offset 0 never holds a mail's bytes."""
        path = f"{self._directory}/secret"
        try:
            fd = self._calls.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        else:
            try:
                secret = self._calls.pread(fd, records.SECRET_BYTES + 1, 0)
            finally:
                self._calls.close(fd)
            if len(secret) == records.SECRET_BYTES:
                return secret
            self.reports.append(f"warning: {path} is not {records.SECRET_BYTES} bytes long: taken from the journal")
        for number in numbers:
            header = self._first_batch(number, None)
            if header is not None:
                break
        else:
            header = None
        if header is None and any(self._segments.size(number) for number in numbers):
            raise TemporaryError(
                f"{path} is missing and no segment in {self._directory}/journal begins intact: restore the file"
                " from a backup, or move the segments away to start with an empty queue"
            )
        secret = header.secret if header is not None else self._random_bytes(records.SECRET_BYTES)
        replace_file(path, secret, mode=0o600, calls=self._calls)
        return secret

    def _valid_ends(self, numbers: list[int], secret: bytes) -> dict[int, int]:
        """What the newest first batch says of the segments before it: one that it does not name was removed, and has come
        back. A segment from there on is valid as far as it goes.
        """
        ends = {number: self._segments.size(number) for number in numbers}
        for number in reversed(numbers):
            header = self._first_batch(number, secret)
            if header is not None and header.first:
                for older in numbers[: numbers.index(number)]:
                    ends[older] = min(ends[older], header.ends.get(older, 0))
                break
        return ends

    def _durable_mark(self, numbers: list[int], ends: dict[int, int], secret: bytes) -> tuple[int, int]:
        for number in reversed(numbers):
            mark = last_mark(self._segments, number, ends[number], secret)
            if mark is not None:
                return mark
        return (0, 0)

    def _take_segment(self, number: int, stop: int, secret: bytes, mark: tuple[int, int]) -> int:
        """Its last intact byte, for the table of ends."""
        reader = SegmentReader(self._segments, number, stop, secret, mark)
        for item in reader:
            if isinstance(item, Damage):
                self._set_aside(item)
                continue
            try:
                self._replay.take(item)
            except PeerError as error:
                self.reports.append(f"alert: {self._segments.path(number)}: {error}")
                self._set_aside(Damage(number, item.offset, item.header.size))
                continue
            if (number, item.offset) >= mark:
                self._again.append(self._entry(item))
        if reader.last is not None:
            self._running = max(self._running, reader.last.running)
        self._next_number = max(self._next_number, reader.next_number)
        self._bad_bodies.update(reader.bad_bodies)
        return reader.end

    def _settle_bad_bodies(self, state: State, secret: bytes) -> None:
        """Such a record lies below the next mark, where no recovery checks bodies: say now what it must not be taken for.

        A message that has another, intact record is copied as by compaction, so that its last record is a good one; any other
        is over.
        """
        for number in sorted(self._bad_bodies):
            self._replay.highest = max(self._replay.highest, number)
            place = state.place(number)
            if place is None:
                self._again.append(Entry(records.FINISHED, number, 0))
                continue
            segment, offset, size = place
            data = self._segments.read(segment, offset, size)
            header = records.parse_record(data, 0, secret)
            if header is None:
                raise TemporaryError(f"{self._segments.path(segment)}: message {number} at {offset} has changed")
            accepted = records.Accepted.decode(
                data[records.RECORD_HEADER : records.RECORD_HEADER + header.envelope_length]
            )
            accepted.recipients = state.named(number, accepted.recipients)
            accepted.retry = state.retry(number)
            accepted.held = number in state.held
            self._again.append(self._entry(Found(segment, offset, header, accepted.encode())))

    def _entry(self, found: Found) -> Entry:
        header = found.header
        large = None
        body: tuple[bytes, ...] = ()
        if header.flags & records.BODY_FILE:
            large = LargeBody(header.number, -1, header.body_length, header.body_sum)
        elif header.inline_body:
            start = found.offset + records.RECORD_HEADER + header.envelope_length
            body = (self._segments.read(found.segment, start, header.inline_body),)
        return Entry(header.kind, header.number, header.time, found.envelope, body, large)

    def _set_aside(self, damage: Damage) -> None:
        """Copy the range to queue/damaged/, once."""
        name = f"{damage.segment:08d}.{damage.offset}-{damage.offset + damage.length}"
        folder = f"{self._directory}/damaged"
        if self._aside is None:
            self._aside = {*self._calls.listdir(folder), *self._calls.listdir(f"{folder}/seen")}
        if name in self._aside:
            return
        data = self._segments.read(damage.segment, damage.offset, damage.length)
        replace_file(f"{folder}/{name}", data, mode=0o600, calls=self._calls)
        self.reports.append(
            f"warning: {self._segments.path(damage.segment)}: {damage.length} bytes at {damage.offset} are not an intact"
            f" record: set aside in {folder}/{name}; after a power cut this is a batch that was never answered; when you"
            f" have looked, move the file to {folder}/seen/"
        )

    def _write_again(self, journal: Journal) -> None:
        """What lies above the durable mark may be in the page cache only.

        Of schedules and holds only a message's last is written: should this be cut short, the one before must not be the last.
        """
        entries, self._again = _without_outdated(self._again), []
        while True:
            plan = journal.lay_out(entries)
            if not journal.write(plan):
                raise StoreStoppedError(f"unable to write a new segment in {self._directory}/journal")
            # A record written again says nothing new, but its place is now the durable one.
            for entry, offset, size in zip(plan.entries, plan.offsets, plan.sizes, strict=True):
                if entry.kind == records.ACCEPTED and entry.number in journal.state:
                    retry = journal.state.retry(entry.number)
                    journal.state.accept(entry.number, plan.segment, offset, size, retry)
                elif entry.kind == records.FAILED and entry.number in journal.state:
                    recipient, _ = records.decode_failure(entry.envelope)
                    journal.state.recipient_failed(entry.number, recipient, plan.segment, offset)
            if not entries:
                break
        # An empty batch: its mark tells the next start that all of this is durable.
        journal.write(journal.lay_out([]))

    def _sweep(self, journal: Journal) -> None:
        """Remove bodies of messages that are finished or were never accepted."""
        folder = f"{self._directory}/damaged"
        unresolved = [name for name in self._calls.listdir(folder) if name != "seen"]
        if unresolved:
            self.reports.append(
                f"warning: {len(unresolved)} files in {folder}: large bodies are not swept until they are moved"
            )
            return
        for name in self._calls.listdir(f"{self._directory}/mess"):
            number = _body_number(name)
            if number and number not in journal.state:
                journal.remove_large(number)


def _body_number(name: str) -> int:
    """The message whose body a file in mess/ is; 0 for a file that is not ours."""
    number = int(name) if name.isascii() and name.isdigit() else 0
    return number if str(number) == name and number <= records.MAX_NUMBER else 0


def _without_outdated(entries: list[Entry]) -> list[Entry]:
    last: dict[tuple[int, bool], int] = {}
    for index, entry in enumerate(entries):
        if entry.kind in _LAST_ONE_COUNTS:
            last[entry.number, entry.kind == records.DEFERRED] = index
    return [
        entry
        for index, entry in enumerate(entries)
        if entry.kind not in _LAST_ONE_COUNTS or last[entry.number, entry.kind == records.DEFERRED] == index
    ]
