"""Log-ins from popd to authd, and its verdicts (docs/formats/local-sockets.md).

A request comes with the descriptor of the client's connection, which travels with the frame's first byte. A verdict is given
once for each tag, in any order; with ACCEPTED a process of the user serves that connection from now on.
"""

import struct

from quail.errors import PeerError
from quail.net.frames import LENGTH_BYTES

ACCEPTED = b"K"
REFUSED = b"N"
TROUBLE = b"T"
METHODS = (b"P", b"A", b"C")  # of quail.users.check: PLAIN, APOP, CRAM
MAX_FIELD = 1024  # bytes of service, user, secret, challenge or peer
MAX_REST = 512 << 10  # bytes
MAX_REQUEST = MAX_REST + 5 * (MAX_FIELD + 2) + 13
MAX_VERDICT = 1024  # bytes of a frame

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">Ic")
_REQUEST = struct.Struct(">IcQ")
_SHORT = struct.Struct(">H")
_VERDICT = struct.Struct(">IIc")


class Request:
    """tag: the asker's. asked: when, in milliseconds of the machine's monotonic clock, which all its processes share.
    service: what the session speaks (`pop3`). method: what the secret is (quail.users.check). challenge: what a digest was
    made for. peer: address of the client. rest: what the client has sent behind the log-in.
    """

    __slots__ = ("asked", "challenge", "method", "peer", "rest", "secret", "service", "tag", "user")

    def __init__(
        self,
        tag: int,
        method: bytes,
        *,
        service: bytes,
        user: bytes,
        secret: bytes,
        challenge: bytes = b"",
        peer: bytes = b"",
        rest: bytes = b"",
        asked: int = 0,
    ) -> None:
        """As on the wire."""
        self.tag = tag
        self.method = method
        self.service = service
        self.user = user
        self.secret = secret
        self.challenge = challenge
        self.peer = peer
        self.rest = rest
        self.asked = asked


def encode_request(request: Request) -> bytes:
    """One request, with the frame's length."""
    pieces = [b"", _REQUEST.pack(request.tag, request.method, request.asked)]
    for field in (request.service, request.user, request.secret, request.challenge, request.peer):
        pieces += (_SHORT.pack(len(field)), field)
    pieces.append(request.rest)
    pieces[0] = _LENGTH.pack(sum(map(len, pieces)))
    return b"".join(pieces)


def decode_request(frame: bytes) -> Request:
    """A frame's payload; PeerError: lengths don't add up, the method is unknown, a field holds NUL or is too long, no
    user.
    """
    fields = []
    try:
        tag, method, asked = _REQUEST.unpack_from(frame)
        place = _REQUEST.size
        for _ in range(5):
            (size,) = _SHORT.unpack_from(frame, place)
            place += _SHORT.size + size
            fields.append(frame[place - size : place])
    except struct.error as error:
        raise PeerError("log-in is cut short") from error
    if place > len(frame) or len(frame) - place > MAX_REST:
        raise PeerError("log-in is cut short, or too long")
    if method not in METHODS or any(len(field) > MAX_FIELD or b"\0" in field for field in fields) or not fields[1]:
        raise PeerError("log-in with an unknown method, or a field that can't be")
    service, user, secret, challenge, peer = fields
    return Request(
        tag,
        method,
        service=service,
        user=user,
        secret=secret,
        challenge=challenge,
        peer=peer,
        rest=frame[place:],
        asked=asked,
    )


def encode_verdict(tag: int, letter: bytes, text: bytes = b"") -> bytes:
    """One verdict, with the frame's length; the text, for the client, says why it can't be told."""
    text = text[: MAX_VERDICT - _HEAD.size]
    return _VERDICT.pack(_HEAD.size + len(text), tag, letter) + text


def decode_verdict(frame: bytes) -> tuple[int, bytes, bytes]:
    """(tag, letter, text) of a frame's payload; PeerError if it is malformed."""
    try:
        tag, letter = _HEAD.unpack_from(frame)
    except struct.error as error:
        raise PeerError("verdict is cut short") from error
    if letter not in (ACCEPTED, REFUSED, TROUBLE):
        raise PeerError("verdict with an unknown letter")
    return tag, letter, frame[_HEAD.size :]


assert _LENGTH.size == LENGTH_BYTES
