import os

import pytest

from quail.delivery import message
from quail.delivery.message import Message, UnreadableError

LINE = b"Delivered-To: joe@example.org\n"


def descriptor_with(content):
    fd = os.memfd_create("message")
    os.write(fd, content)
    return fd


@pytest.fixture(params=["inline", "split", "descriptor"])
def make(request):
    opened = []

    def build(content):
        if request.param == "inline":
            return Message(content)
        at = len(content) // 2 if request.param == "split" else 0
        opened.append(descriptor_with(content[at:]))
        return Message(content[:at], opened[-1])

    yield build
    for fd in opened:
        os.close(fd)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (LINE, True),
        (b"A: b\n" + LINE + b"\nbody\n", True),
        (b"A: b\n\n" + LINE, False),
        (b"\n" + LINE + b"\n", False),
        (b"A: b\n Delivered-To: joe@example.org\n\n", False),
        (b"X-" + LINE + b"\n", False),
        (b"A: b\n" + LINE[:-1], False),
        (b"delivered-to: joe@example.org\n\n", False),
        (b"", False),
    ],
)
def test_header_has(make, content, found):
    assert make(content).header_has(LINE) is found


def test_header_longer_than_a_piece(make, monkeypatch):
    monkeypatch.setattr(message, "PIECE", 7)
    header = b"".join(b"X-%d: y\n" % number for number in range(50))
    assert make(header + LINE + b"\nbody").header_has(LINE)
    assert not make(header + b"\n" + LINE + b"\nbody").header_has(LINE)


def test_chunks_are_the_content(make, monkeypatch):
    monkeypatch.setattr(message, "PIECE", 3)
    assert b"".join(make(b"0123456789").chunks()) == b"0123456789"


def test_a_file_that_shrank_is_unreadable():
    fd = descriptor_with(b"0123456789")
    short = Message(b"", fd)
    os.ftruncate(fd, 4)
    with pytest.raises(UnreadableError, match="ends at 4 of 10"):
        list(short.chunks())
    os.close(fd)
    with pytest.raises(UnreadableError):
        Message(b"", fd)
