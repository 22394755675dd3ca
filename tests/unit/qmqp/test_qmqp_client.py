"""QMQP requests, and replies in every cut."""

import pytest

from quail.errors import PeerError
from quail.qmqp.client import Reply, request


def test_request():
    head, tail = request(b"s@x", [b"a@b", b"c@d"], 6)
    assert head + b"hello\n" + tail == b"27:6:hello\n,3:s@x,3:a@b,3:c@d,,"


def test_request_with_nothing_in_it():
    head, tail = request(b"", [], 0)
    assert head + tail == b"6:0:,0:,,"


def read(data, piece):
    reply = Reply()
    for at in range(0, len(data), piece):
        letter = reply.feed(data[at : at + piece])
        if letter is not None:
            return letter
    return None


@pytest.mark.parametrize("piece", [1, 2, 100])
@pytest.mark.parametrize(
    ("data", "letter"),
    [
        (b"20:Kok 1700000000 qp 12,", b"K"),
        (b"1:Z,", b"Z"),
        (b"0009:D", b"D"),
        (b"", None),
        (b"20", None),
        (b"20:", None),
        (b"3:Kok,3:Dno,", b"K"),
    ],
    ids=range(7),
)
def test_replies(data, letter, piece):
    assert read(data, piece) == letter


@pytest.mark.parametrize("piece", [1, 2, 100])
@pytest.mark.parametrize(
    "data", [b"220 Kiel ESMTP\r\n", b"K", b":K", b"3:ok,", b"12345678901:K", b" 3:K", b"3:\n", b"-3:K"], ids=range(8)
)
def test_what_is_no_reply(data, piece):
    with pytest.raises(PeerError):
        read(data, piece)
