"""QMTP requests, and replies in every cut."""

import pytest

from quail.errors import PeerError
from quail.qmtp.client import MAX_REPLY, MAX_TEXT, Replies, request


def test_request():
    head, tail = request(b"s@x", [b"a@b", b"c@d.e"], 5)
    assert head + b"text\n" + tail == b"6:\ntext\n,3:s@x,14:3:a@b,5:c@d.e,,"


def test_request_with_nothing_in_it():
    head, tail = request(b"", [b""], 0)
    assert head + tail == b"1:\n,0:,3:0:,,"


def read(data, count, piece):
    """(replies, whether the rest was refused)."""
    replies = Replies(count)
    found = []
    try:
        for at in range(0, len(data), piece):
            found += replies.feed(data[at : at + piece])  # a list keeps what came before the error
    except PeerError:
        return found, True
    assert replies.left == count - len(found)
    return found, False


GOOD = {
    b"": [],
    b"3:Kok,": [(b"K", b"ok")],
    b"1:K,": [(b"K", b"")],
    b"3:Kok,4:Zz,:,6:Da\r\n\0\xff,": [(b"K", b"ok"), (b"Z", b"z,:"), (b"D", b"a\n?\xff")],
    b"00003:Kok,": [(b"K", b"ok")],
    b"5:Kok": [],
    b"3:Kok,4": [(b"K", b"ok")],
    b"3:Kok,4:Zno,": [(b"K", b"ok")],
    b"65536:K" + b"x" * 65535 + b",": [(b"K", b"x" * MAX_TEXT)],
}
BAD = {
    b"0:,": [],
    b":": [],
    b"x": [],
    b"-1:K,": [],
    b" 3:Kok,": [],
    b"3:kok,": [],
    b"3:Kok.": [],
    b"3:Kok,\n": [(b"K", b"ok")],
    b"1:K,1:Z,1:D,1:K,": [(b"K", b""), (b"Z", b""), (b"D", b"")],
    b"65537:K": [],
    b"9999999": [],
    b"000003:Kok,": [],
    b"250 ok\r\n": [],
}


@pytest.mark.parametrize("data", GOOD, ids=lambda data: repr(data[:30]))
@pytest.mark.parametrize("piece", [1, 2, 3, 1 << 20])
def test_replies(data, piece):
    assert read(data, 3, piece) == (GOOD[data], False)


@pytest.mark.parametrize("data", BAD, ids=repr)
@pytest.mark.parametrize("piece", [1, 2, 3, 1 << 20])
def test_refused(data, piece):
    assert read(data, 3, piece) == (BAD[data], True)
    assert read(b"2:Ka," + data, 4, piece) == ([(b"K", b"a"), *BAD[data]], True)


def test_nothing_may_come_unasked():
    replies = Replies(1)
    assert list(replies.feed(b"1:K,")) == [(b"K", b"")]
    assert list(replies.feed(b"")) == []
    with pytest.raises(PeerError):
        list(replies.feed(b"1"))


def test_several_requests_on_one_connection():
    replies = Replies(1)
    replies.left += 2
    assert list(replies.feed(b"1:K,1:Z,1:")) == [(b"K", b""), (b"Z", b"")]
    assert list(replies.feed(b"D,")) == [(b"D", b"")]
    replies.left += 1
    assert list(replies.feed(b"2:Kx,")) == [(b"K", b"x")]
    assert replies.left == 0


def test_an_endless_reply_is_not_kept():
    replies = Replies(1)
    assert list(replies.feed(b"65536:K")) == []
    for _ in range(15):
        assert list(replies.feed(b"x" * 4096)) == []
    with pytest.raises(PeerError):
        list(replies.feed(b"x" * 4096))
    assert len(replies._buffer) <= MAX_REPLY + 10
