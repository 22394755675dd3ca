import pytest

from quail.errors import PeerError
from quail.net.frames import LENGTH_BYTES, Splitter
from quail.net.users_protocol import (
    FIND_USER,
    MAX_REQUEST,
    Owner,
    decode,
    decode_owner,
    encode,
    encode_owner,
)


def test_question_on_the_wire():
    wire = encode(7, FIND_USER, b"joe")
    assert wire == b"\0\0\0\x08\0\0\0\x07Ljoe"
    (frame,) = Splitter(MAX_REQUEST).feed(wire)
    message = decode(frame)
    assert (message.tag, message.letter, message.payload) == (7, b"L", b"joe")


@pytest.mark.parametrize("size", range(5))
def test_short_frame(size):
    with pytest.raises(PeerError):
        decode(encode(7, FIND_USER, b"")[LENGTH_BYTES:][:size])


def test_owner():
    wire = encode_owner(Owner(b"joe", 1001, 100, b"/home/joe", b"-", b"list-Owner"))
    assert wire == b"joe\x001001\x00100\0/home/joe\0-\0list-Owner"
    owner = decode_owner(wire)
    assert (owner.user, owner.uid, owner.gid, owner.home, owner.dash, owner.ext) == (
        b"joe", 1001, 100, b"/home/joe", b"-", b"list-Owner",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"joe",
        b"joe\0001\0002\0/h\0-",
        b"joe\0x\0002\0/h\0-\0e",
        b"joe\x001\0-2\0/h\0-\0e",
        b"\0" * 6,
        b"joe\0" + b"1" * 5000 + b"\x002\0/h\0-\0e",
    ],
)
def test_no_owner(wire):
    with pytest.raises(PeerError):
        decode_owner(wire)
