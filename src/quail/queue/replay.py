"""Reading the journal back at start-up: every record whose own sums are right, up to each segment's valid end.

Bodies below the durable mark are skipped, those above it are checked. What is not right is told to the caller as a range to
set aside; it costs only itself.
"""

from collections.abc import Iterator

from quail.queue import records
from quail.queue.records import BatchHeader, RecordHeader
from quail.queue.segments import Segments
from quail.queue.state import State

_WINDOW = 256 << 10  # bytes read ahead
_NEAR = 4096  # a record's header and a usual envelope


class Damage:
    """A range of a segment that holds no intact record and is not all zeros."""

    __slots__ = ("length", "offset", "segment")

    def __init__(self, segment: int, offset: int, length: int) -> None:
        """In bytes."""
        self.segment = segment
        self.offset = offset
        self.length = length


class Found:
    """An intact record: its place, header and envelope."""

    __slots__ = ("envelope", "header", "offset", "segment")

    def __init__(self, segment: int, offset: int, header: RecordHeader, envelope: bytes) -> None:
        """`offset` is where the record starts."""
        self.segment = segment
        self.offset = offset
        self.header = header
        self.envelope = envelope


class SegmentReader:
    """Walks one segment from the start to its valid end. After the walk, `last` is the last intact batch header, `end` the
    offset behind the last intact batch or record.
    """

    def __init__(self, segments: Segments, number: int, stop: int, secret: bytes, mark: tuple[int, int]) -> None:
        """Bodies that start at or above `mark` (segment, offset) are checked."""
        self._segments = segments
        self._number = number
        self._stop = stop
        self._secret = secret
        self._key = records.record_key(secret)
        self._mark = mark
        self._window = b""
        self._window_at = 0
        self.last: BatchHeader | None = None
        self.bad_bodies: list[int] = []  # messages with a record here that is right but for its body
        self.next_number = 1
        self.end = 0

    def _read(self, offset: int, length: int) -> bytes:
        """Bytes of the file below the valid end; short at it."""
        length = min(length, self._stop - offset)
        if length <= 0:
            return b""
        start = offset - self._window_at
        if not (start >= 0 and start + length <= len(self._window)):
            if length > _WINDOW:
                return self._segments.read(self._number, offset, length)
            # A skipped body is not worth reading: a far jump reads little, a walk reads ahead.
            near = 0 <= start <= len(self._window) + _NEAR
            size = _WINDOW if near else max(length, _NEAR)
            self._window = self._segments.read(self._number, offset, min(size, self._stop - offset))
            self._window_at, start = offset, 0
        return self._window[start : start + length]

    def __iter__(self) -> Iterator[Found | Damage]:
        """Every intact record, in order, and every damaged range between."""
        offset = limit = 0  # limit: end of the batch that we are in
        headless = False  # records follow whose batch header is not intact
        bad_since: int | None = None
        while offset < self._stop:
            found = self._record(offset) if offset < limit or headless or bad_since is not None else None
            if found is not None:
                headless = headless or offset >= limit
            elif offset >= limit:
                start = records.aligned(offset)
                header = self._batch(start)
                if header is not None:
                    if bad_since is not None:
                        yield from self._damaged(bad_since, start)
                        bad_since = None
                    self.last, headless = header, False
                    self.next_number = max(self.next_number, header.next_number)
                    self.end = offset = start + header.header_length
                    limit = offset + header.length
                    continue
            if found is None:
                bad_since = offset if bad_since is None else bad_since
                offset = self._search(offset + 1)
                continue
            if bad_since is not None:
                yield from self._damaged(bad_since, offset)
                bad_since = None
            yield found
            self.end = offset = offset + found.header.size
        if bad_since is not None:
            yield from self._damaged(bad_since, self._stop)

    def _batch(self, offset: int) -> BatchHeader | None:
        data = self._read(offset, _NEAR)
        length = records.announced_length(data)
        if length > len(data):  # a long table of ends
            data = self._read(offset, length)
        return records.parse_batch(data, 0, self._secret)

    def _record(self, offset: int) -> Found | None:
        data = self._read(offset, _NEAR)
        header = records.parse_record(data, 0, self._secret)
        if header is None or offset + header.size > self._stop:
            return None
        body_at = records.RECORD_HEADER + header.envelope_length
        if body_at > len(data):
            data = self._read(offset, body_at)
        envelope = data[records.RECORD_HEADER : body_at]
        if records.crc32(envelope) != header.envelope_sum:
            return None
        if header.inline_body and (self._number, offset) >= self._mark:
            body = self._read(offset + body_at, header.inline_body)
            if records.crc32(body) != header.body_sum:
                self.bad_bodies.append(header.number)
                return None
        return Found(self._number, offset, header, envelope)

    def _search(self, offset: int) -> int:
        """Where the next record or batch may start, at or after offset; the valid end if nowhere."""
        while offset < self._stop:
            data = self._segments.read(self._number, offset, min(_WINDOW, self._stop - offset))
            places = [place for place in (data.find(self._key), data.find(records.BATCH_MAGIC)) if place >= 0]
            if places:
                return offset + min(places)
            if offset + len(data) >= self._stop or not data:
                break
            offset += len(data) - max(len(self._key), len(records.BATCH_MAGIC)) + 1
        return self._stop

    def _damaged(self, start: int, stop: int) -> Iterator[Damage]:
        """The range, unless it is nothing but zeros: the rest of a block, or a hole that was never written."""
        for offset in range(start, stop, _WINDOW):
            data = self._segments.read(self._number, offset, min(_WINDOW, stop - offset))
            if data.count(0) != len(data):
                yield Damage(self._number, start, stop - start)
                return


def read_batch_header(
    segments: Segments, number: int, offset: int, stop: int, secret: bytes | None
) -> BatchHeader | None:
    """The batch header at offset, with its table of ends however long; None if no intact one is there."""
    data = segments.read(number, offset, min(_NEAR, stop - offset))
    length = records.announced_length(data)
    if length > len(data):
        data = segments.read(number, offset, min(length, stop - offset))
    return records.parse_batch(data, 0, secret)


def last_mark(segments: Segments, number: int, stop: int, secret: bytes) -> tuple[int, int] | None:
    """The durable mark of the segment's last batch that its chain of headers leads to; None if its first is not intact."""
    mark = None
    offset = 0
    while offset < stop:
        header = read_batch_header(segments, number, offset, stop, secret)
        if header is None:
            break
        mark = header.mark
        offset = records.aligned(offset + header.header_length + header.length)
    return mark


class Replay:
    """Builds the state from records in the order of the journal. Copies of a message merge: what remains is the intersection
    of their recipients less all done marks; finished wins.
    """

    def __init__(self) -> None:
        """Nothing read yet."""
        self.state = State()
        self.highest = 0  # message number
        self._finished: set[int] = set()
        self._seen: set[int] = set()

    def take(self, found: Found) -> None:
        """The next record. PeerError when its envelope can't be understood although its sum is right."""
        header, state = found.header, self.state
        number, kind = header.number, header.kind
        self.highest = max(self.highest, number)
        if number in self._finished:
            return
        if kind == records.ACCEPTED:
            accepted = records.Accepted.decode(found.envelope)
            numbers = accepted.recipients
            known = number in state
            if known or (numbers and next(reversed(numbers)) != len(numbers) - 1):
                state.restrict(number, numbers)
            # A copy's schedule and hold are those of the marks before it, which have been read if the message is known.
            retry = state.retry(number) if known else accepted.retry
            state.accept(number, found.segment, found.offset, header.size, retry)
            if header.flags & records.BODY_FILE:
                state.large.add(number)
            if accepted.held and not known:
                state.held.add(number)
        elif kind == records.DONE:
            state.recipient_done(number, records.decode_number(found.envelope))
        elif kind == records.FAILED:
            recipient, _ = records.decode_failure(found.envelope)
            state.recipient_failed(number, recipient, found.segment, found.offset)
        elif kind == records.DEFERRED:
            state.defer(number, *records.decode_schedule(found.envelope))
        elif kind == records.FINISHED:
            state.finish(number)
            self._finished.add(number)
        elif kind == records.HELD:
            state.held.add(number)
        elif kind == records.RELEASED:
            state.held.discard(number)

    def finish(self) -> State:
        """The state, without what belongs to no live message."""
        self.state.forget_strays()
        return self.state
