"""Questions to the users service and its answers, as frames. docs/formats/local-sockets.md.

Both ways a frame's payload is a tag (32 bits, big-endian, chosen by the asker), one letter, and what belongs to it. Answers
come in any order. Imported by per-message programs: keep it lean.
"""

import struct

from quail.errors import PeerError
from quail.net.frames import LENGTH_BYTES

IS_KNOWN = b"R"  # does this envelope recipient exist?
FIND_USER = b"L"  # whose is this local part?
KNOWN = b"K"
UNKNOWN = b"N"
TROUBLE = b"T"
MAX_REQUEST = 8192  # bytes; an address has at most 1002
MAX_REPLY = 65536  # bytes; a record of users/cdb in one answer
MAX_DIGITS = 10  # of a uid or gid

_HEAD = struct.Struct(">IIc")
_TAGGED = struct.Struct(">Ic")


class Message:
    """A question or an answer."""

    __slots__ = ("letter", "payload", "tag")

    def __init__(self, tag: int, letter: bytes, payload: bytes) -> None:
        """As on the wire."""
        self.tag = tag
        self.letter = letter
        self.payload = payload


class Owner:
    """Who a local part belongs to, and where: the six fields of users/cdb (facts 6.1), `ext` already completed."""

    __slots__ = ("dash", "ext", "gid", "home", "uid", "user")

    def __init__(self, user: bytes, uid: int, gid: int, home: bytes, dash: bytes, ext: bytes) -> None:
        """Bytes as in users/assign; uid and gid as numbers."""
        self.user = user
        self.uid = uid
        self.gid = gid
        self.home = home
        self.dash = dash
        self.ext = ext


def encode(tag: int, letter: bytes, payload: bytes) -> bytes:
    """One question or answer, with the frame's length."""
    return _HEAD.pack(_TAGGED.size + len(payload), tag, letter) + payload


def decode(frame: bytes) -> Message:
    """A frame's payload taken apart; PeerError when it is too short."""
    if len(frame) < _TAGGED.size:
        raise PeerError(f"users frame of {len(frame)} bytes")
    tag, letter = _TAGGED.unpack_from(frame)
    return Message(tag, letter, frame[_TAGGED.size :])


def encode_owner(owner: Owner) -> bytes:
    """The payload of KNOWN in answer to FIND_USER."""
    return b"%b\0%d\0%d\0%b\0%b\0%b" % (owner.user, owner.uid, owner.gid, owner.home, owner.dash, owner.ext)


def decode_owner(payload: bytes) -> Owner:
    """What encode_owner was given; PeerError for anything else."""
    fields = payload.split(b"\0")
    if len(fields) != 6 or not all(number.isdigit() and len(number) <= MAX_DIGITS for number in fields[1:3]):
        raise PeerError("users answer is not user, uid, gid, home, dash, ext")
    user, uid, gid, home, dash, ext = fields
    return Owner(user, int(uid), int(gid), home, dash, ext)


assert _HEAD.size == LENGTH_BYTES + _TAGGED.size
