"""The journal's bytes: batches of records. Pure: bytes in, tuples out. docs/formats/journal.md has every field.

A batch starts on a 4,096-byte boundary with a header that names the home's secret, what was durable before it, and, in the
first batch of a segment, where every older segment ends. Its records follow without gaps. Each record carries the secret and
sums of its header, envelope and body, so that a reader can find the next record behind damage and never takes a mail's body
for one.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence

from quail.errors import PeerError

FORMAT = 1
BLOCK = 4096
SECRET_BYTES = 16

# Kinds of record.
ACCEPTED = 1  # envelope and body: the message is Quail's responsibility
DONE = 2  # one recipient is delivered; envelope: its number
DEFERRED = 3  # when the channels try again; envelope: Schedule
FAILED = 4  # one recipient failed for good; envelope: its number, NUL, the report
FINISHED = 5  # nothing is left to do
HELD = 6  # an operator holds the message
RELEASED = 7  # and lets it go
KINDS = range(ACCEPTED, RELEASED + 1)

# Flags of a record.
BODY_FILE = 1  # the body is the file queue/mess/ID, body_length bytes long; none is inline

BATCH_MAGIC = b"QuailBt\x01"
_BATCH = struct.Struct("<8s16sHHIQQQQII")
_END = struct.Struct("<QQ")
FIRST_OF_SEGMENT = 1

RECORD_MAGIC = b"QRec"
_SHORT_SECRET = 8
_RECORD = struct.Struct("<4s8sBBHIQQQIII")
BATCH_HEADER = _BATCH.size
END_SIZE = _END.size
RECORD_HEADER = _RECORD.size
MAX_ENDS = 1 << 20  # segments; 64 TiB of journal
MAX_NUMBER = (
    1 << 63
) - 1  # of a message or batch; whatever says more is no record of ours, and would leave none to go on
MAX_TIME = 0xFFFFFFFF  # seconds since 1970 that a schedule can say
_MAX_DIGITS = 20

crc32 = zlib.crc32


class UnknownFormatError(PeerError):
    """A batch of a newer format."""


def aligned(offset: int) -> int:
    """The first block boundary at or after offset."""
    return (offset + BLOCK - 1) & -BLOCK


def record(
    secret: bytes,
    kind: int,
    number: int,
    time: int,
    envelope: bytes = b"",
    body: Sequence[bytes] = (),
    *,
    body_file_length: int | None = None,
    known_body_sum: int | None = None,
) -> list[bytes]:
    """One record as buffers. `number` is the message's; `time` is in microseconds since 1970.

    With `body_file_length` the body is a file of that many bytes, and known_body_sum its sum. A copy passes the sum that its
    original had: a body that was damaged stays known as damaged.
    """
    length = body_sum = 0
    if body_file_length is None:
        for piece in body:
            length += len(piece)
            body_sum = crc32(piece, body_sum)
        flags = 0
    else:
        length, flags, body = body_file_length, BODY_FILE, ()
    if known_body_sum is not None:
        body_sum = known_body_sum
    head = _RECORD.pack(
        RECORD_MAGIC,
        secret[:_SHORT_SECRET],
        kind,
        flags,
        0,
        len(envelope),
        number,
        time,
        length,
        crc32(envelope),
        body_sum,
        0,
    )[:-4]
    return [head, crc32(head).to_bytes(4, "little"), envelope, *body]


class RecordHeader:
    """A record's header, verified. Sizes are bytes."""

    __slots__ = ("body_length", "body_sum", "envelope_length", "envelope_sum", "flags", "kind", "number", "time")

    def __init__(
        self,
        kind: int,
        flags: int,
        envelope_length: int,
        number: int,
        time: int,
        body_length: int,
        sums: tuple[int, int],
    ) -> None:
        """`sums` are those of envelope and body."""
        self.kind = kind
        self.flags = flags
        self.envelope_length = envelope_length
        self.number = number
        self.time = time
        self.body_length = body_length
        self.envelope_sum, self.body_sum = sums

    @property
    def inline_body(self) -> int:
        """Bytes of body in the journal itself."""
        return 0 if self.flags & BODY_FILE else self.body_length

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return RECORD_HEADER + self.envelope_length + self.inline_body


def record_key(secret: bytes) -> bytes:
    """What every record of this home starts with; a reader behind damage searches for it."""
    return RECORD_MAGIC + secret[:_SHORT_SECRET]


def parse_record(data: bytes | memoryview, offset: int, secret: bytes) -> RecordHeader | None:
    """The header at offset, or None if no intact one is there."""
    if offset + RECORD_HEADER > len(data):
        return None
    fields = _RECORD.unpack_from(data, offset)
    if fields[0] != RECORD_MAGIC or fields[1] != secret[:_SHORT_SECRET] or fields[2] not in KINDS:
        return None
    if crc32(data[offset : offset + RECORD_HEADER - 4]) != fields[11] or fields[6] > MAX_NUMBER:
        return None
    return RecordHeader(fields[2], fields[3], fields[5], fields[6], fields[7], fields[8], (fields[9], fields[10]))


class BatchHeader:
    """A batch's header, verified. `mark` is (segment, offset) known durable before the batch was written."""

    __slots__ = ("ends", "first", "header_length", "length", "mark", "next_number", "running", "secret")

    def __init__(
        self,
        running: int,
        mark: tuple[int, int],
        next_number: int,
        length: int,
        *,
        first: bool,
        ends: dict[int, int],
        secret: bytes,
    ) -> None:
        """`length` is that of the records; `ends` maps each older segment to its valid end."""
        self.running = running
        self.mark = mark
        self.next_number = next_number
        self.length = length
        self.first = first
        self.ends = ends
        self.secret = secret
        self.header_length = BATCH_HEADER + len(ends) * END_SIZE


def batch_header(
    secret: bytes,
    running: int,
    mark: tuple[int, int],
    next_number: int,
    length: int,
    ends: Iterable[tuple[int, int]] | None,
) -> bytes:
    """A batch's header; `ends` is given in the first batch of a segment only."""
    pairs = list(ends or ())
    flags = FIRST_OF_SEGMENT if ends is not None else 0
    head = _BATCH.pack(
        BATCH_MAGIC, secret, FORMAT, flags, len(pairs), running, mark[0], mark[1], next_number, length, 0
    )
    table = b"".join(_END.pack(*pair) for pair in pairs)
    total = crc32(table, crc32(head))
    return head[:-4] + total.to_bytes(4, "little") + table


def announced_length(data: bytes) -> int:
    """How many bytes the batch header at the start of data says that it has; 0 if it is none. Nothing is verified."""
    if len(data) < BATCH_HEADER or not data.startswith(BATCH_MAGIC):
        return 0
    count: int = _BATCH.unpack_from(data)[4]
    return BATCH_HEADER + min(count, MAX_ENDS) * END_SIZE


def parse_batch(data: bytes | memoryview, offset: int, secret: bytes | None) -> BatchHeader | None:
    """The batch header at offset, or None if no intact one is there; any secret will do if none is known yet."""
    if offset + BATCH_HEADER > len(data):
        return None
    magic, found, form, flags, count, running, segment, position, following, length, total = _BATCH.unpack_from(
        data, offset
    )
    if magic != BATCH_MAGIC or (secret is not None and found != secret) or count > MAX_ENDS:
        return None
    if max(running, following) > MAX_NUMBER:
        return None
    stop = offset + BATCH_HEADER + count * END_SIZE
    if stop > len(data):
        return None
    head = bytes(data[offset : offset + BATCH_HEADER - 4]) + bytes(4)
    if crc32(data[offset + BATCH_HEADER : stop], crc32(head)) != total:
        return None
    if form != FORMAT:
        raise UnknownFormatError(f"journal format {form}, this version knows {FORMAT}")
    ends = dict(_END.unpack_from(data, offset + BATCH_HEADER + i * END_SIZE) for i in range(count))
    return BatchHeader(
        running, (segment, position), following, length, first=bool(flags & FIRST_OF_SEGMENT), ends=ends, secret=found
    )


class Accepted:
    """What an ACCEPTED record's envelope says. `recipients` maps numbers to addresses; a copy made by compaction has only
    those that were left, with their first numbers, and carries the schedule and the hold.
    """

    __slots__ = ("attributes", "held", "pid", "recipients", "retry", "sender", "uid")

    def __init__(
        self,
        sender: bytes,
        recipients: dict[int, bytes],
        *,
        uid: int,
        pid: int,
        attributes: tuple[tuple[bytes, bytes], ...] = (),
        retry: tuple[int, int] = (0, 0),
        held: bool = False,
    ) -> None:
        """`uid` and `pid` are the injector's; `retry` is when (local, remote) try again, in seconds since 1970."""
        self.sender = sender
        self.recipients = recipients
        self.uid = uid
        self.pid = pid
        self.attributes = attributes
        self.retry = retry
        self.held = held

    def encode(self) -> bytes:
        """NUL-terminated records of one letter each."""
        parts = [b"u%d\0p%d\0" % (self.uid, self.pid)]
        parts.extend(b"A%b=%b\0" % pair for pair in self.attributes)
        if self.retry != (0, 0):
            parts.append(b"R%d,%d\0" % self.retry)
        if self.held:
            parts.append(b"H\0")
        parts.append(b"F%b\0" % self.sender)
        expected = 0
        for number, address in self.recipients.items():
            if number != expected:
                parts.append(b"N%d\0" % number)
            parts.append(b"T%b\0" % address)
            expected = number + 1
        return b"".join(parts)

    @classmethod
    def decode(cls, envelope: bytes) -> "Accepted":
        """PeerError for what encode() did not write."""
        sender: bytes | None = None
        recipients: dict[int, bytes] = {}
        attributes: list[tuple[bytes, bytes]] = []
        uid = pid = number = 0
        retry, held = (0, 0), False
        for part in envelope.split(b"\0")[:-1]:
            letter, rest = part[:1], part[1:]
            if letter == b"T":
                recipients[number] = rest
                number += 1
            elif letter == b"N":
                number = decode_number(rest)
            elif letter == b"F":
                sender = rest
            elif letter == b"u":
                uid = decode_number(rest)
            elif letter == b"p":
                pid = decode_number(rest)
            elif letter == b"A":
                name, _, value = rest.partition(b"=")
                attributes.append((name, value))
            elif letter == b"R":
                retry = decode_schedule(rest)
            elif letter == b"H":
                held = True
            else:
                raise PeerError("unknown letter in the envelope of an accepted record")
        if sender is None:
            raise PeerError("accepted record without a sender")
        return cls(sender, recipients, uid=uid, pid=pid, attributes=tuple(attributes), retry=retry, held=held)


def encode_failure(recipient: int, report: bytes) -> bytes:
    """Envelope of a FAILED record."""
    return b"%d\0%b" % (recipient, report)


def decode_failure(envelope: bytes) -> tuple[int, bytes]:
    """Recipient's number and report."""
    number, _, report = envelope.partition(b"\0")
    return decode_number(number), report


def decode_number(envelope: bytes) -> int:
    """A number in decimal digits; the envelope of a DONE record is the recipient's."""
    if not envelope.isdigit() or len(envelope) > _MAX_DIGITS:
        raise PeerError("bad number in the envelope of a record")
    return int(envelope)


def decode_schedule(envelope: bytes) -> tuple[int, int]:
    """Envelope of a DEFERRED record, `local,remote`: when each channel tries again, in seconds since 1970."""
    local, _, remote = envelope.partition(b",")
    times = decode_number(local), decode_number(remote)
    if max(times) > MAX_TIME:
        raise PeerError("time in a record lies too far ahead")
    return times
