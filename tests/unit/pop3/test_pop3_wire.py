"""Stored messages as they are sent, and their sizes."""

import pytest
from tests.unit.pop3.pop3_talk import wire_size

from quail.pop3.wire import Wire

# Stored; sent, without the final dot; with quirks.
CASES = {
    "empty": (b"", b"", b"\r\n"),
    "lines": (b"a\n\nb\n", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n\r\n"),
    "no-end": (b"a\nb", b"a\r\nb\r\n", b"a\r\nb\r\n\r\n"),
    "dots": (b".\n..\na.\n.b", b"..\r\n...\r\na.\r\n..b\r\n", b"..\r\n...\r\na.\r\n..b\r\n\r\n"),
    "cr-lf": (b"a\r\n.\r\n", b"a\r\n..\r\n", b"a\r\r\n..\r\r\n\r\n"),
    "cr-cr-lf": (b"a\r\r\n", b"a\r\r\n", b"a\r\r\r\n\r\n"),
    "bare-cr": (b"a\rb\n", b"a\rb\r\n", b"a\rb\r\n\r\n"),
    "cr-at-the-end": (b"a\r", b"a\r\r\n", b"a\r\r\n\r\n"),
    "only-cr": (b"\r", b"\r\r\n", b"\r\r\n\r\n"),
    "only-lf": (b"\n", b"\r\n", b"\r\n\r\n"),
    "dot-behind-cr": (b"\r.\n", b"\r.\r\n", b"\r.\r\n\r\n"),
    "bytes": (b"\0\xff\n", b"\0\xff\r\n", b"\0\xff\r\n\r\n"),
}


def sent(message, size, lines=-1, *, quirks=False):
    wire = Wire(lines, quirks=quirks)
    out = b""
    for at in range(0, len(message), size):
        out += wire.feed(message[at : at + size])
        if wire.done:
            break
    return out + wire.finish()


@pytest.mark.parametrize("size", [1 << 20, 1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_message(name, size):
    stored, plain, quirky = CASES[name]
    assert sent(stored, size) == plain + b".\r\n"
    assert sent(stored, size, quirks=True) == quirky + b".\r\n"
    unstuffed = (b"\n" + plain).replace(b"\n.", b"\n")[1:]
    assert wire_size(stored) == len(unstuffed)


@pytest.mark.parametrize("size", [1 << 20, 1, 2, 3])
@pytest.mark.parametrize(
    ("stored", "lines", "top"),
    [
        (b"a: b\n\nx\ny\n", 0, b"a: b\r\n\r\n"),
        (b"a: b\n\nx\ny\n", 1, b"a: b\r\n\r\nx\r\n"),
        (b"a: b\n\nx\ny", 2, b"a: b\r\n\r\nx\r\ny\r\n"),
        (b"a: b\n\nx\ny", 7, b"a: b\r\n\r\nx\r\ny\r\n"),
        (b"a: b\r\n\r\nx\r\n", 0, b"a: b\r\n\r\n"),
        (b"\nx\n", 0, b"\r\n"),
        (b"\n\n\n", 1, b"\r\n\r\n"),
        (b"a: b", 0, b"a: b\r\n"),
        (b"a: b\r", 0, b"a: b\r\r\n"),
        (b"a: b\n\n.\n.\n", 1, b"a: b\r\n\r\n..\r\n"),
    ],
    ids=range(10),
)
def test_top(stored, lines, top, size):
    assert sent(stored, size, lines) == top + b".\r\n"
    if b"\r" not in stored:
        assert sent(stored, size, lines, quirks=True) == top + b"\r\n.\r\n"
