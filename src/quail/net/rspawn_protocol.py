"""Remote delivery jobs from the queue to rspawn, and the reports back (docs/formats/local-sockets.md).

A job is one message for up to MAX_RECIPIENTS recipients at one host, which get it in one transaction; each recipient has a tag
of its own, under which its report comes back. The body is inline, or, with flag DESCRIPTOR, the whole content of a
descriptor that travels with the frame's first byte.
"""

import struct
from collections.abc import Iterable

from quail.errors import PeerError

DESCRIPTOR = 1  # flag: no body inline, a descriptor instead
UTF8 = 2  # flag: the message was handed in with SMTPUTF8
MAX_RECIPIENTS = 100  # RFC 5321 s4.5.3.1.8: the number that every host takes
MAX_JOB = 512 << 10  # bytes of a whole frame; bodies above 128 KiB come by descriptor
MAX_REPORT_TEXT = 10_000  # bytes of a report that the queue takes (facts 4.6)
MAX_REPORT = MAX_REPORT_TEXT + 96

HOST_DOWN = 1  # flag of a report: nobody at this host listened; others of its messages would fare no better now

_LENGTH = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_HEAD = struct.Struct(">BH")
_RECIPIENT = struct.Struct(">IH")
_REPORT = struct.Struct(">IIcB")
_TAGGED = struct.Struct(">IcB")


class Job:
    """tags and recipients belong together, in order; sender: VERP already expanded; body: empty with flag DESCRIPTOR."""

    __slots__ = ("body", "flags", "recipients", "sender", "tags")

    def __init__(self, sender: bytes, flags: int, tags: list[int], recipients: list[bytes], body: bytes) -> None:
        """As on the wire."""
        self.sender = sender
        self.flags = flags
        self.tags = tags
        self.recipients = recipients
        self.body = body


def encode_job(sender: bytes, flags: int, recipients: Iterable[tuple[int, bytes]], body: bytes) -> bytes:
    """One job, with the frame's length; recipients as (tag, address)."""
    pieces = [b"", _SHORT.pack(len(sender)), sender, b""]
    count = 0
    for tag, address in recipients:
        pieces += (_RECIPIENT.pack(tag, len(address)), address)
        count += 1
    pieces[3] = _HEAD.pack(flags, count)
    pieces.append(body)
    pieces[0] = _LENGTH.pack(sum(map(len, pieces)))
    return b"".join(pieces)


def decode_job(frame: bytes) -> Job:
    """A frame's payload; PeerError: lengths don't add up, an address holds NUL, a flag is unknown, nobody is to get it."""
    try:
        (size,) = _SHORT.unpack_from(frame)
        place = _SHORT.size + size
        sender = frame[_SHORT.size : place]
        flags, count = _HEAD.unpack_from(frame, place)
        place += _HEAD.size
        tags, recipients = [], []
        for _ in range(count):
            tag, size = _RECIPIENT.unpack_from(frame, place)
            place += _RECIPIENT.size + size
            tags.append(tag)
            recipients.append(frame[place - size : place])
    except struct.error as error:
        raise PeerError("remote delivery job is cut short") from error
    if place > len(frame):
        raise PeerError("remote delivery job is cut short")
    if flags & ~(DESCRIPTOR | UTF8) or not 0 < count <= MAX_RECIPIENTS:
        raise PeerError("remote delivery job with unknown flags, or with too few or too many recipients")
    if b"\0" in sender or any(b"\0" in recipient for recipient in recipients):
        raise PeerError("remote delivery job with a NUL in an address")
    return Job(sender, flags, tags, recipients, frame[place:])


def encode_report(tag: int, letter: bytes, text: bytes, *, host_down: bool) -> bytes:
    """One report, with the frame's length; the text ends at its first NUL and where the queue would cut it."""
    text = text.partition(b"\0")[0][:MAX_REPORT_TEXT]
    return _REPORT.pack(_TAGGED.size + len(text), tag, letter, host_down) + text


def decode_report(frame: bytes) -> tuple[int, bytes, bytes, bool]:
    """(tag, letter K, Z or D, text, whether the host was down) of a frame's payload; PeerError if it is malformed."""
    try:
        tag, letter, flags = _TAGGED.unpack_from(frame)
    except struct.error as error:
        raise PeerError("report of rspawn is cut short") from error
    if letter not in (b"K", b"Z", b"D") or flags & ~HOST_DOWN:
        raise PeerError("report of rspawn with an unknown letter or flag")
    return tag, letter, frame[_TAGGED.size :], bool(flags)
