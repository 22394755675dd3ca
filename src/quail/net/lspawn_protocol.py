"""Local delivery jobs from the queue to lspawn, from there to its workers, and the reports back.

A job carries its body inline; when flag DESCRIPTOR is set, the content of a descriptor sent along with the frame's first
byte (SCM_RIGHTS) follows the inline bytes. What a worker gets is the same job behind the fields of its owner. All of it is
described in docs/formats/local-sockets.md.
"""

import struct

from quail.errors import PeerError

DESCRIPTOR = 1  # flag: the body goes on in a descriptor, from its offset 0 to its end
DELIVERED = b"K"
DEFERRED = b"Z"
FAILED = b"D"
MAX_JOB = 512 << 10  # bytes of a whole frame; bodies above 128 KiB come by descriptor
LOG = b"L"  # from a worker alone: no report but a line for the log
MAX_TASK = MAX_JOB + (64 << 10)
MAX_REPORT_TEXT = 3000  # bytes of a report that lspawn passes on (facts 4.6)
MAX_REPORT = MAX_REPORT_TEXT + 1096  # bytes of a frame with a report

_JOB_HEAD = struct.Struct(">IIH")
_TAG = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_LENGTH_FLAGS = struct.Struct(">HB")
_REPORT_HEAD = struct.Struct(">IIc")
_TAGGED = struct.Struct(">Ic")
_TASK_HEAD = struct.Struct(">IH")


class Job:
    """One message for one recipient, `local@host` after all rewriting; `rest` is the frame behind the tag, `start` the
    place in it where the inline body begins.
    """

    __slots__ = ("flags", "recipient", "rest", "sender", "start", "tag")

    def __init__(self, tag: int, sender: bytes, recipient: bytes, flags: int, rest: bytes, start: int) -> None:
        """As on the wire."""
        self.tag = tag
        self.sender = sender
        self.recipient = recipient
        self.flags = flags
        self.rest = rest
        self.start = start

    @property
    def body(self) -> bytes:
        """The inline bytes of the body."""
        return self.rest[self.start :]


class Report:
    """How a delivery went: DELIVERED, DEFERRED or FAILED, and qmail-local's text."""

    __slots__ = ("letter", "tag", "text")

    def __init__(self, tag: int, letter: bytes, text: bytes) -> None:
        """As on the wire."""
        self.tag = tag
        self.letter = letter
        self.text = text


def encode_job(tag: int, sender: bytes, recipient: bytes, flags: int, body: bytes) -> bytes:
    """One job, with the frame's length. With DESCRIPTOR the caller sends the descriptor along with its first byte."""
    size = _TAG.size + _SHORT.size + len(sender) + _LENGTH_FLAGS.size + len(recipient) + len(body)
    return b"".join(
        (
            _JOB_HEAD.pack(size, tag, len(sender)),
            sender,
            _SHORT.pack(len(recipient)),
            recipient,
            bytes((flags,)),
            body,
        )
    )


def decode_job(frame: bytes) -> Job:
    """A frame's payload taken apart; PeerError when lengths don't add up, an address holds NUL or a flag is unknown."""
    try:
        (tag,) = _TAG.unpack_from(frame)
        return _decode(tag, frame[_TAG.size :])
    except struct.error as error:
        raise PeerError("delivery job is cut short") from error


def _decode(tag: int, rest: bytes) -> Job:
    (sender_size,) = _SHORT.unpack_from(rest)
    place = _SHORT.size + sender_size
    (recipient_size,) = _SHORT.unpack_from(rest, place)
    start = place + _SHORT.size + recipient_size
    sender, recipient = rest[_SHORT.size : place], rest[place + _SHORT.size : start]
    if start >= len(rest):
        raise PeerError("delivery job is cut short")
    if rest[start] & ~DESCRIPTOR or b"\0" in sender or b"\0" in recipient:
        raise PeerError("delivery job with an unknown flag or a NUL in an address")
    return Job(tag, sender, recipient, rest[start], rest, start + 1)


def encode_report(tag: int, letter: bytes, text: bytes) -> bytes:
    """One report, with the frame's length."""
    return _REPORT_HEAD.pack(_TAGGED.size + len(text), tag, letter) + text


def decode_report(frame: bytes, letters: bytes = DELIVERED + DEFERRED + FAILED) -> Report:
    """A frame's payload taken apart; PeerError when it is no report with one of these letters."""
    if len(frame) < _TAGGED.size:
        raise PeerError(f"delivery report of {len(frame)} bytes")
    tag, letter = _TAGGED.unpack_from(frame)
    if letter not in letters:
        raise PeerError(f"delivery report starts with none of {letters.decode()}")
    return Report(tag, letter, frame[_TAGGED.size :])


def encode_task(tag: int, owner: bytes, job: Job) -> bytes:
    """What a worker gets, with the frame's length: its own tag, the owner's fields, and the job as it came."""
    size = _TASK_HEAD.size + len(owner) + len(job.rest)
    return b"".join((_TAG.pack(size), _TASK_HEAD.pack(tag, len(owner)), owner, job.rest))


def decode_task(frame: bytes) -> tuple[bytes, Job]:
    """Owner and job; PeerError as for decode_job."""
    try:
        tag, size = _TASK_HEAD.unpack_from(frame)
        start = _TASK_HEAD.size + size
        return frame[_TASK_HEAD.size : start], _decode(tag, frame[start:])
    except struct.error as error:
        raise PeerError("delivery task is cut short") from error
