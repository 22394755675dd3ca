"""Filters of line ends: what they do, and that it does not matter into which pieces a stream is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.net.line_ends import AddCr, Body, DelCr, FixCr, Plain, Visible, joined

STREAMS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b"\0", b"\xff", b"\t", b"\n\n"])).map(b"".join)


def cat_v(data):
    shown = b""
    for byte in data:
        if byte in b"\t\n":
            shown += bytes([byte])
            continue
        low = byte & 127
        shown += b"M-" if byte > 127 else b""
        shown += b"^?" if low == 127 else b"^" + bytes([low + 64]) if low < 32 else bytes([low])
    return shown


def body(data):
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    after = lines[lines.index(b"") + 1 :] if b"" in lines else []
    return b"".join(line + b"\n" for line in after if line)


def delcr(data):
    return data.replace(b"\r\n", b"\n")


WHOLE = {
    Plain: lambda data: data,
    AddCr: lambda data: re.sub(rb"\n", b"\r\n", data),
    DelCr: delcr,
    FixCr: lambda data: re.sub(rb"(?<!\r)\n", b"\r\n", data),
    Visible: cat_v,
    Body: body,
}


@pytest.mark.parametrize("make", WHOLE)
@given(data=st.data())
def test_pieces_do_not_matter(make, data):
    pieces = data.draw(st.lists(STREAMS))
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    for parts in (pieces, [stream], [stream[i : i + 1] for i in range(len(stream))], cut(stream, cuts)):
        one = make()
        assert b"".join([one.feed(part) for part in parts]) + one.close() == WHOLE[make](stream)


def cut(stream, cuts):
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(st.lists(STREAMS))
def test_filters_in_a_row(pieces):
    one = joined(DelCr(), Visible())
    assert b"".join([one.feed(piece) for piece in pieces]) + one.close() == cat_v(delcr(b"".join(pieces)))
    one = joined(DelCr(), Body())
    assert b"".join([one.feed(piece) for piece in pieces]) + one.close() == body(delcr(b"".join(pieces)))


@given(st.binary())
def test_what_is_visible_is_what_cat_says(stream):
    assert Visible().feed(stream) == cat_v(stream)
    assert all(byte in b"\t\n" or 32 <= byte < 127 for byte in Visible().feed(stream))
