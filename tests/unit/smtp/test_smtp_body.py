"""The message's text: what is stored, where it ends, what is wrong; each vector in every cut of two and byte by byte."""

import pytest

from quail.message.hops import MAX_HOPS
from quail.smtp.body import BARE_CR, BARE_LF, LINE_TOO_LONG, TOO_BIG, TOO_MANY_HOPS, Body

LIMITLESS = 1 << 40
END = b"\r\n.\r\n"


def take(pieces, max_size=LIMITLESS, max_line=LIMITLESS):
    """(text, fault, what was left over) after these pieces; the rest of the pieces once it has ended."""
    body = Body(max_size, max_line)
    text = b""
    for number, piece in enumerate(pieces):
        text += body.feed(piece)
        if body.rest >= 0:
            return text if not body.fault else b"", body.fault, piece[body.rest :] + b"".join(pieces[number + 1 :])
    return text if not body.fault else b"", body.fault, None


def every_cut(data, **limits):
    """The result, which must be the same for the whole, for all ways to cut it in two, and for single bytes."""
    whole = take([data], **limits)
    for at in range(1, len(data)):
        assert take([data[:at], data[at:]], **limits) == whole, at
    assert take([data[at : at + 1] for at in range(len(data))], **limits) == whole
    return whole


STORED = {
    b".\r\n": b"",
    b"\r\n.\r\n": b"\n",
    b"a\r\n.\r\n": b"a\n",
    b"a\r\n\r\nb\r\n.\r\n": b"a\n\nb\n",
    b"..\r\n.\r\n": b".\n",
    b"..dot\r\n.x\r\n.\r\n": b".dot\nx\n",
    b"...\r\n..\r\n....\r\n.\r\n": b"..\n.\n...\n",
    b"a.\r\n.\r\n": b"a.\n",
    b"a\r\n. \r\n.\r\n": b"a\n \n",
    b"a\r\n.\t.\r\n..\r\n.\r\n": b"a\n\t.\n.\n",
    b"\x00\x0b\x0c\x1c\x85\xff\r\n.\r\n": b"\x00\x0b\x0c\x1c\x85\xff\n",
    b"\xe2\x80\xa8\r\n.\r\n": b"\xe2\x80\xa8\n",
}


@pytest.mark.parametrize("data", STORED, ids=repr)
def test_stored(data):
    assert every_cut(data) == (STORED[data], None, b"")
    assert every_cut(data + b"QUIT\r\n") == (STORED[data], None, b"QUIT\r\n")
    assert every_cut(data + b".\r\n") == (STORED[data], None, b".\r\n")


@pytest.mark.parametrize("data", [b"a", b"a\r\n", b"a\r\n.", b"a\r\n.\r", b".", b".\r", b"\r\n..\r\n", b"a\r\n.b\r\n"])
def test_not_ended(data):
    assert every_cut(data)[2] is None


FAULTY = {
    b"a\nb\r\n.\r\n": BARE_LF,
    b"\n.\r\n\r\n.\r\n": BARE_LF,
    b"a\n.\n\r\n.\r\n": BARE_LF,
    b"a\n.\r\nb\r\n.\r\n": BARE_LF,
    b"a\r\n.\nb\r\n.\r\n": BARE_LF,
    b"a\rb\r\n.\r\n": BARE_CR,
    b"a\r.\r\nb\r\n.\r\n": BARE_CR,
    b"a\r\r\n.\r\n": BARE_CR,
    b"\n\r\r\n.\r\n": BARE_LF,
    b"\r\n\n\r\r\n.\r\n": BARE_LF,
    b"a\r\n.\rb\r\n.\r\n": BARE_CR,
    b"a\r\n.\r\r\n.\r\n": BARE_CR,
    b".\r\r\n.\r\n": BARE_CR,
    b"a\r\nb\rc\nd\r\n.\r\n": BARE_CR,
    b"a\r\nb\nc\rd\r\n.\r\n": BARE_LF,
}


@pytest.mark.parametrize("data", FAULTY, ids=repr)
def test_faulty_line_ends(data):
    assert every_cut(data) == (b"", FAULTY[data], b"")
    assert every_cut(data + b"QUIT\r\n") == (b"", FAULTY[data], b"QUIT\r\n")


def test_the_first_fault_wins():
    text = b"12345\r\n" * 4
    assert every_cut(text + b"x\n" + END, max_size=30)[1] == BARE_LF
    assert every_cut(text + b"1234567x\n" + END, max_size=30)[1] == TOO_BIG
    assert every_cut(text + b"1234567x\n" + END, max_line=6)[1] == LINE_TOO_LONG


@pytest.mark.parametrize(
    ("text", "size"), [(b"x\r\n", 2), (b"..\r\n", 2), (b"\r\n", 1), (b"", 0), (b"a\r\n.b\r\n..c\r\n", 7)]
)
def test_the_size_is_that_of_the_stored_text(text, size):
    assert every_cut(text + b".\r\n", max_size=size)[1] is None
    assert every_cut(b"x" + text[text.startswith(b".") :] + b"\r\n.\r\n", max_size=size)[1] == TOO_BIG


def test_lines_up_to_the_limit_pass():
    for line in (b"12345", b".12345", b"..1234"):
        assert every_cut(b"a\r\n%b\r\nb%b" % (line, END), max_line=5)[1] is None
    for line in (b"123456", b".123456", b"..12345"):
        assert every_cut(b"a\r\n%b\r\nb%b" % (line, END), max_line=5)[1] == LINE_TOO_LONG
    assert every_cut(b"123456%b" % END, max_line=5)[1] == LINE_TOO_LONG


HOP = b"Received: x\r\n"


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (HOP * (MAX_HOPS - 1), None),
        (HOP * MAX_HOPS, TOO_MANY_HOPS),
        (HOP * 50 + b"DELIVERED-xyz: 1\r\n" * 50, TOO_MANY_HOPS),
        (b"rEcEiVeD\r\n" * MAX_HOPS, TOO_MANY_HOPS),
        (b"received" * MAX_HOPS + b"\r\n", None),
        (b" Received: x\r\n" * MAX_HOPS, None),
        (b"X: received\r\n" * MAX_HOPS, None),
        (b"Receive: x\r\n" * MAX_HOPS, None),
        (b"..received\r\n" * MAX_HOPS, None),
        (b".received\r\n" * MAX_HOPS, TOO_MANY_HOPS),
        (b"\r\n" + HOP * MAX_HOPS, None),
        (HOP * (MAX_HOPS - 1) + b"\r\n" + HOP, None),
        (b"X: 1\r\n\r\n" + HOP * MAX_HOPS, None),
        (b"X: " + b"y" * 2000 + b"\r\n" + HOP * (MAX_HOPS - 1) + b"\r\n" + HOP, None),
        (b"X: " + b"y" * 2000 + b"\r\n" + HOP * MAX_HOPS, TOO_MANY_HOPS),
    ],
)
def test_hops(header, fault):
    data = header + b"\r\nbody\r\n.\r\n"
    for size in (len(data), 1, 7, 100):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert take(pieces)[1:] == (fault, b"")


def test_holds_back_two_bytes_at_most():
    body = Body(LIMITLESS, LIMITLESS)
    taken = stored = 0
    for byte in b"a\r\n..\r\nb\r\n.c\r\n.\r" * 3:
        taken += 1
        stored += len(body.feed(bytes((byte,))))
        assert len(body._held) <= 2
    assert body.fault == BARE_CR
    assert 0 < stored < taken
