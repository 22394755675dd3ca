"""The journal: the embedded store. Segments one after another, batches with one write and one sync each.

DESIGN and docs/formats/journal.md give the rules; every one stands for a hole that a model found without it. Recovery is in
recovery.py, the rewriting of old segments in compaction.py.
"""

import errno
import os
from collections.abc import Iterator

from quail.queue import records
from quail.queue.records import Accepted
from quail.queue.segments import SEGMENT_SIZE, Segments
from quail.queue.state import State, unpack
from quail.queue.store import DamagedBodyError, Entry, LargeBody, Stored, StoreStoppedError
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import sync_directory, write_all

MAX_BATCH = 8 << 20  # bytes of records in one batch
INLINE_BODY = 128 << 10  # bytes; longer bodies are files of their own
_LOST_REPORT = b"Delivery failed for good; why has been lost to a damaged disk. (#4.3.0)\n"


class JournalPlan:
    """One batch and where it goes. `opens` says that it is the first of a new segment."""

    __slots__ = ("buffers", "end", "entries", "offset", "offsets", "opens", "segment", "sizes")

    def __init__(self, segment: int, offset: int, *, opens: bool) -> None:
        """Filled by lay_out."""
        self.segment = segment
        self.offset = offset
        self.opens = opens
        self.entries: list[Entry] = []
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.buffers: list[bytes] = []
        self.end = offset


class Journal:
    """See store.Store for the call order. Made by recovery.open_journal."""

    def __init__(
        self,
        calls: SystemCalls,
        directory: str,
        secret: bytes,
        state: State,
        *,
        next_number: int,
        running: int,
        ends: dict[int, int],
        next_segment: int,
        mark: tuple[int, int] = (0, 0),
        segment_size: int = SEGMENT_SIZE,
    ) -> None:
        """`ends`: valid end of every segment on disk; the journal goes on in a new one, `next_segment`."""
        self.calls = calls
        self.directory = directory
        self.secret = secret
        self.state = state
        self.segments = Segments(calls, f"{directory}/journal")
        self.segment_size = segment_size
        self.ends = ends
        self._next_number = next_number
        self._running = running
        self._next_segment = next_segment
        self._fd = -1
        self._segment = 0
        self._offset = 0  # where the next batch starts: behind the last durable one
        self._mark = mark
        self._body_names_lost = 0  # failed syncs of mess/
        self.bytes_on_disk = sum(ends.values())

    @property
    def current_segment(self) -> int:
        """The newest segment; 0 before the first batch."""
        return self._segment

    def new_number(self) -> int:
        """The next message number."""
        number = self._next_number
        self._next_number += 1
        return number

    # Large bodies.

    def body_path(self, number: int) -> str:
        """File of a large body."""
        return f"{self.directory}/mess/{number}"

    def new_large_body(self, number: int) -> LargeBody:
        """An empty file for the message's body. The folder is closed to others: a recipient's program, which has the file as
        its descriptor 0, may open that again by the name /dev/stdin.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = self.calls.open(self.body_path(number), flags, 0o644)
        return LargeBody(number, fd, 0, names_lost=self._body_names_lost)

    def large_write(self, body: LargeBody, data: bytes | memoryview) -> None:
        """Append; OSError when there is no room."""
        self._check_name(body)
        write_all(self.calls, body.fd, data)
        body.length += len(data)
        body.sum = records.crc32(data, body.sum)

    def _check_name(self, body: LargeBody) -> None:
        """A sync of mess/ that failed may have lost the name: no later one brings it back (fsync(2), EIO)."""
        if body.names_lost != self._body_names_lost:
            raise OSError(errno.EIO, "a sync failed since the file was made", self.body_path(body.number))

    def discard_large(self, body: LargeBody) -> None:
        """Close and remove; what can't be removed now is swept at a later start."""
        self._close_large(body)
        try:
            self.calls.unlink(self.body_path(body.number))
        except OSError:
            pass

    def _close_large(self, body: LargeBody) -> None:
        if body.fd >= 0:
            self._close_quietly(body.fd)
            body.fd = -1

    # One batch at a time.

    def lay_out(self, entries: list[Entry]) -> JournalPlan:
        """Take entries from the front, as many as fit one batch."""
        sizes: list[int] = []
        total = 0
        for entry in entries:
            size = records.RECORD_HEADER + len(entry.envelope) + sum(map(len, entry.body))
            if sizes and total + size > MAX_BATCH:
                break
            sizes.append(size)
            total += size
        opens = self._fd < 0 or self._offset + records.BATCH_HEADER + total > self.segment_size
        if opens:
            plan = JournalPlan(self._next_segment, 0, opens=True)
            self._next_segment += 1
        else:
            plan = JournalPlan(self._segment, self._offset, opens=False)
        ends = sorted(self.ends.items()) if opens else None
        self._running += 1
        header = records.batch_header(self.secret, self._running, self._mark, self._next_number, total, ends)
        plan.entries = entries[: len(sizes)]
        del entries[: len(sizes)]
        plan.sizes = sizes
        buffers = [header]
        at = plan.offset + len(header)
        for entry, size in zip(plan.entries, sizes, strict=True):
            plan.offsets.append(at)
            at += size
            buffers += records.record(
                self.secret,
                entry.kind,
                entry.number,
                entry.time,
                entry.envelope,
                entry.body,
                body_file_length=entry.large.length if entry.large else None,
                known_body_sum=entry.large.sum if entry.large else entry.body_sum,
            )
        # Whole blocks: what comes behind, or the cutting off of a failed batch, never rewrites a sector of this one.
        buffers.append(bytes(records.aligned(at) - at))
        plan.buffers = buffers
        plan.end = at
        return plan

    def write(self, plan: JournalPlan) -> bool:
        """True: durable. False: undone, durably. StoreStoppedError: neither could be made sure."""
        try:
            self._sync_large(plan)
        except OSError:
            return False  # no byte of the batch has reached the journal
        created = -1
        try:
            if plan.opens:
                created = self.segments.create(plan.segment)
            fd = created if plan.opens else self._fd
            self.segments.append(fd, plan.buffers, plan.offset)
            if plan.opens:
                self.segments.sync_names()
        except OSError as error:
            self._undo(plan, created if plan.opens else self._fd, error)
            return False
        if plan.opens:
            self._leave_segment()
            self._fd, self._segment = fd, plan.segment
            self.ends[plan.segment] = 0
        self._offset = records.aligned(plan.end)
        self._mark = (plan.segment, plan.end)
        self.bytes_on_disk += plan.end - self.ends[plan.segment]
        self.ends[plan.segment] = plan.end
        return True

    def _sync_large(self, plan: JournalPlan) -> None:
        """Large bodies are durable, name and all, before the record that relies on them."""
        large = [entry.large for entry in plan.entries if entry.large is not None and entry.large.fd >= 0]
        for body in large:
            self._check_name(body)
            self.calls.fsync(body.fd)
        if large:
            try:
                sync_directory(self.calls, f"{self.directory}/mess")
            except OSError:
                self._body_names_lost += 1
                raise

    def _leave_segment(self) -> None:
        """The current segment gets no more batches."""
        if self._fd >= 0:
            self._close_quietly(self._fd)
            self._fd = -1

    def _undo(self, plan: JournalPlan, fd: int, cause: OSError) -> None:
        """After a failed batch: cut the segment back, or name its valid end in a new one; durably, or stop.

        Either way the segment that failed is never appended to again.
        """
        valid = 0 if plan.opens else self.ends[plan.segment]
        self.ends[plan.segment] = valid
        if not plan.opens:
            self._fd = -1
        if fd < 0:
            if not self._exists(plan.segment):
                del self.ends[plan.segment]  # the number is abandoned
                return
        else:
            try:
                self.segments.cut(fd, plan.offset)
            except OSError:
                pass
            else:
                if plan.opens:
                    self._drop_empty(plan.segment)
                return
            finally:
                self._close_quietly(fd)
        self._end_in_new_segment(cause)

    def _drop_empty(self, segment: int) -> None:
        """A new segment that was cut to nothing, durably: should its name come back after a crash, it says nothing."""
        try:
            self.calls.unlink(self.segments.path(segment))
        except OSError:
            return
        self.ends.pop(segment, None)

    def _close_quietly(self, fd: int) -> None:
        """What mattered has been synced, or has failed already."""
        try:
            self.calls.close(fd)
        except OSError:
            pass

    def _exists(self, segment: int) -> bool:
        try:
            return segment in self.segments.numbers()
        except OSError:
            return True

    def _end_in_new_segment(self, cause: OSError) -> None:
        """A segment whose only batch says where the older ones end."""
        number = self._next_segment
        self._next_segment += 1
        self._running += 1
        ends = sorted(self.ends.items())
        header = records.batch_header(self.secret, self._running, self._mark, self._next_number, 0, ends)
        try:
            fd = self.segments.create(number)
            self.segments.append(fd, [header, bytes(records.aligned(len(header)) - len(header))], 0)
            self.segments.sync_names()
        except OSError as error:
            raise StoreStoppedError(
                f"cannot write {self.segments.path(number)} ({error}) after a failed write ({cause}): stopped without"
                " answering; free or repair the disk under queue/ and start again"
            ) from error
        self._leave_segment()
        self._fd, self._segment = fd, number
        self._offset = records.aligned(len(header))
        self._mark = (number, len(header))
        self.ends[number] = len(header)

    def settle(self, plan: JournalPlan) -> None:
        """The state shows the batch; large bodies of finished messages are removed."""
        state = self.state
        for entry, offset, size in zip(plan.entries, plan.offsets, plan.sizes, strict=True):
            kind, number = entry.kind, entry.number
            if kind == records.ACCEPTED:
                retry = (0, 0)
                if entry.source is COPY:
                    retry = state.retry(number)
                state.accept(number, plan.segment, offset, size, retry)
                if entry.large is not None:
                    state.large.add(number)
                    self._close_large(entry.large)
            elif number not in state:
                continue  # an operator's mark that came behind the FINISHED one
            elif kind == records.FINISHED:
                if number in state.large:
                    self.remove_large(number)
                state.finish(number)
            elif kind == records.DONE:
                state.recipient_done(number, records.decode_number(entry.envelope))
            elif kind == records.FAILED:
                recipient, _ = records.decode_failure(entry.envelope)
                state.recipient_failed(number, recipient, plan.segment, offset)
            elif kind == records.DEFERRED:
                state.defer(number, *records.decode_schedule(entry.envelope))
            elif kind == records.HELD:
                state.held.add(number)
            elif kind == records.RELEASED:
                state.held.discard(number)

    def remove_large(self, number: int) -> None:
        """After the message's FINISHED record is durable. What can't be removed now is swept at a later start."""
        try:
            self.calls.unlink(self.body_path(number))
        except OSError:
            pass

    # Reading.

    def header(self, number: int) -> tuple[records.RecordHeader, bytes, int, int]:
        """Header, envelope, segment and offset of a live message; KeyError when it is not live."""
        place = self.state.place(number)
        if place is None:
            raise KeyError(number)
        segment, offset, size = place
        data = self.segments.read(segment, offset, min(size, 4096))
        header = records.parse_record(data, 0, self.secret)
        if header is None or header.number != number or header.kind != records.ACCEPTED:
            raise DamagedBodyError(f"{self.segments.path(segment)}: no record of message {number} at {offset}")
        stop = records.RECORD_HEADER + header.envelope_length
        if stop > len(data):
            data = self.segments.read(segment, offset, stop)
        envelope = data[records.RECORD_HEADER : stop]
        if records.crc32(envelope) != header.envelope_sum:
            raise DamagedBodyError(
                f"{self.segments.path(segment)}: envelope of message {number} at {offset} is damaged"
            )
        return header, envelope, segment, offset

    def read(self, number: int, *, body: bool) -> Stored:
        """A live message; KeyError when it is not live, DamagedBodyError, OSError."""
        header, envelope, segment, offset = self.header(number)
        accepted = Accepted.decode(envelope)
        data, fd = None, -1
        if body and header.flags & records.BODY_FILE:
            try:
                fd = self.calls.open(self.body_path(number), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                # It is removed only after the message has been finished: the record that said so must have been damaged.
                raise DamagedBodyError(f"{self.body_path(number)}: the body of message {number} is missing") from error
        elif body:
            data = self.inline_body(header, segment, offset)
            if records.crc32(data) != header.body_sum:
                raise DamagedBodyError(
                    f"{self.segments.path(segment)}: body of message {number} at {offset} is damaged"
                )
        return Stored(accepted, header.time, header.body_length, data, fd)

    def inline_body(self, header: records.RecordHeader, segment: int, offset: int) -> bytes:
        """The body's bytes, unchecked."""
        start = offset + records.RECORD_HEADER + header.envelope_length
        return self.segments.read(segment, start, header.inline_body)

    def read_descriptor(self, fd: int, length: int) -> bytes:
        """The first bytes of a large body."""
        return self.calls.pread(fd, length, 0)

    def close_descriptor(self, fd: int) -> None:
        """Of a Stored; -1 is nothing."""
        if fd >= 0:
            self.calls.close(fd)

    def failures(self, number: int) -> Iterator[tuple[int, bytes]]:
        """Recipient numbers and reports of those that failed for good, in order of failure."""
        places = self.state.failures.get(number, {})
        for recipient, place in sorted(places.items(), key=lambda item: item[1]):
            envelope, _ = self.failure_record(number, recipient, place)
            yield records.decode_failure(envelope)

    def failure_record(self, number: int, recipient: int, place: int) -> tuple[bytes, int]:
        """Envelope and time of a FAILED record. One that has gone bad still says who failed: the bounce must not wait for ever
        for the rest.
        """
        segment, offset = unpack(place)
        data = self.segments.read(segment, offset, 4096)
        header = records.parse_record(data, 0, self.secret)
        if header is not None and header.number == number and header.kind == records.FAILED:
            if header.size > len(data):
                data = self.segments.read(segment, offset, header.size)
            envelope = data[records.RECORD_HEADER : header.size]
            if records.crc32(envelope) == header.envelope_sum:
                return envelope, header.time
        return records.encode_failure(recipient, _LOST_REPORT), 0

    def free_bytes(self) -> int:
        """Room on the file system for an ordinary user."""
        status = self.calls.statvfs(self.directory)
        return status.f_bavail * status.f_frsize

    def commit(self, entries: list[Entry]) -> bool:
        """All three steps at once, for programs without a loop."""
        done = True
        while entries:
            plan = self.lay_out(entries)
            if self.write(plan):
                self.settle(plan)
            else:
                done = False
        return done

    def close(self) -> None:
        """Let go of the files; nothing is written."""
        self._leave_segment()
        self.segments.close()


COPY = object()
"""Source of entries that copy a live message to the head of the journal."""

__all__ = ["COPY", "INLINE_BODY", "MAX_BATCH", "REAL", "Journal", "JournalPlan"]
