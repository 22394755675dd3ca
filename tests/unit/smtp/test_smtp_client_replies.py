"""Replies in every cut: what is read, what is kept, what is refused."""

import pytest

from quail.errors import PeerError
from quail.smtp.client_replies import MAX_REPLY, MAX_TEXT, Replies


def read(data, piece):
    """((code, text) of each reply, why it ended or None, whether something is pending)."""
    replies = Replies()
    found = []
    for at in range(0, len(data), piece):
        replies.feed(data[at : at + piece])
        try:
            while reply := replies.next():
                found.append((reply.code, reply.text))
        except PeerError as error:
            return found, str(error), True
    return found, None, replies.pending


GOOD = {
    b"": [],
    b"220 hi\r\n": [(220, b"220 hi")],
    b"220 hi\n": [(220, b"220 hi")],
    b"250\r\n": [(250, b"250")],
    b"250 \r\n": [(250, b"250 ")],
    b"250-\r\n250\r\n": [(250, b"250-\n250")],
    b"200 a\r\n599 b\r\n": [(200, b"200 a"), (599, b"599 b")],
    b"250-a\r\n250-b\r\n250 c\r\n354 d\r\n": [(250, b"250-a\n250-b\n250 c"), (354, b"354 d")],
    b"550-a\n250 b\n": [(550, b"550-a\n250 b")],
    b"250-a\r\n000 b\r\n": [(250, b"250-a\n000 b")],
    b"550 a\rb\0c\r\r\n": [(550, b"550 ab?c")],
    b"550 \xff\x80\x1b\t\x0b\r\n": [(550, b"550 \xff\x80\x1b\t\x0b")],
}
BAD = [
    b"\r\n", b"\n", b"hello\r\n", b"25\r\n", b"25 0\r\n", b" 220 a\r\n", b"220a\r\n", b"220\ta\r\n", b"2200\r\n",
    b"\xb2\xb2\xb2 a\r\n",
    b"199 a\r\n", b"600 a\r\n", b"000 a\r\n", b"100-a\r\n", b"999 a\r\n", b"-20 a\r\n", b"2\r20 a\r\n", b"22\x000 a\r\n",
    b"250-a\r\nb\r\n", b"250-a\r\n\r\n", b"250-a\r\n250\tb\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", GOOD, ids=repr)
@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_read(data, piece):
    assert read(data, piece) == (GOOD[data], None, False)
    assert read(data + b"25", piece) == (GOOD[data], None, True)
    assert read(data + b"250-x\r\n", piece) == (GOOD[data], None, True)
    found, error, _ = read(data + b"*\r\n250 ok\r\n", piece)
    assert (found, error) == (GOOD[data], "not a reply: '*'")


@pytest.mark.parametrize("data", BAD, ids=repr)
@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_refused(data, piece):
    found, error, _ = read(b"220 a\r\n" + data + b"250 ok\r\n", piece)
    assert found == [(220, b"220 a")]
    assert error.startswith("not a reply: ")


@pytest.mark.parametrize("piece", [1000, 5001, 1 << 22])
@pytest.mark.parametrize("filler", [b"", b"\0", b"\r", b"x"])
def test_long_lines_are_cut(piece, filler):
    data = b"550 " + filler * 900_000 + b"\r\n250-a\r\n250 b\r\n"
    kept = b"550 " + filler.translate(bytes((63, *range(1, 256))), b"\r") * (MAX_TEXT - 4)
    assert read(data, piece) == ([(550, kept), (250, b"250-a\n250 b")], None, False)


@pytest.mark.parametrize("piece", [1000, 5001, 1 << 22])
def test_long_replies_are_cut(piece):
    line = b"550-" + b"y" * 95
    data = (line + b"\r\n") * 10_000 + b"550 end\r\n"
    ((code, text),), error, pending = read(data, piece)
    assert (code, text, error, pending) == (550, ((line + b"\n") * 50)[:MAX_TEXT], None, False)


@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 22])
@pytest.mark.parametrize("unit", [b"x", b"250-x\r\n", b"\r"])
def test_a_reply_without_end(piece, unit):
    data = b"250-" + b"x" * 10 + b"\r\n250-" + b"x" * 12 + (b"\r\n" if len(unit) > 1 else b"")
    assert read(data + unit * (MAX_REPLY // len(unit)), piece) == ([], "a reply without end", True)


def test_what_is_kept_is_bounded():
    replies = Replies()
    for _ in range(100):
        replies.feed(b"x" * 5000)
        assert replies.next() is None
        assert len(replies._part) <= MAX_TEXT
        assert replies._buffer == b""
    replies = Replies()
    for _ in range(1000):
        replies.feed(b"550-" + b"x" * 900 + b"\r\n")
        assert replies.next() is None
        assert len(replies._text) <= MAX_TEXT
        assert replies._buffer == b""
