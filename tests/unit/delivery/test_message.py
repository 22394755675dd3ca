import fcntl
import os
import stat

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


def test_what_programs_get_is_the_message_from_its_start(make):
    message = make(b"A: b\n\nbody\n")
    for _ in range(2):
        fd = message.opened()
        assert os.read(fd, 100) == b"A: b\n\nbody\n"
        os.close(fd)
    message.close()


def test_two_descriptors_of_a_message_in_memory_have_two_positions():
    message = Message(b"0123456789")
    one, other = message.opened(), message.opened()
    assert (os.read(one, 4), os.read(other, 6)) == (b"0123", b"012345")
    for fd in (one, other):
        os.close(fd)
    message.close()


def test_a_message_in_memory_is_sealed():
    """Even for one who may open it for writing, as root may."""
    message = Message(b"0123456789")
    fd = message.opened()
    status = os.fstat(fd)
    assert stat.S_IMODE(status.st_mode) == 0o400
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & seals == seals
    try:
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    except PermissionError:
        pass
    else:
        for change in (lambda: os.write(again, b"x"), lambda: os.ftruncate(again, 1), lambda: os.ftruncate(again, 99)):
            with pytest.raises(PermissionError):
                change()
        os.close(again)
    os.close(fd)
    message.close()


def test_somebody_elses_file_is_rewound(monkeypatch):
    fd = descriptor_with(b"0123456789")
    message = Message(b"", fd)

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    for _ in range(2):
        given = message.opened()
        assert os.read(given, 100) == b"0123456789"
        os.close(given)
    os.close(fd)


def test_what_cannot_be_rewound_is_unreadable():
    read, write = os.pipe()
    with pytest.raises(UnreadableError):
        Message(b"", read).opened()
    os.close(read)
    os.close(write)
