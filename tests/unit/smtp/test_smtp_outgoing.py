"""Texts on their way out, in every cut; and none of the smuggler's texts has an end before its end."""

import pytest
from tests.unit.smtp.smuggling_bodies import BODIES

from quail.smtp.body import Body
from quail.smtp.outgoing import Encoder, encode

SENT = {
    b"": b"",
    b"a": b"a\r\n",
    b"a\n": b"a\r\n",
    b"\n": b"\r\n",
    b"\n\n": b"\r\n\r\n",
    b"a\r\nb\n": b"a\r\nb\r\n",
    b"a\rb": b"a\r\nb\r\n",
    b"\r": b"\r\n",
    b"\r\r": b"\r\n\r\n",
    b"\r\r\n": b"\r\n\r\n",
    b"\r\n": b"\r\n",
    b"\n\r": b"\r\n\r\n",
    b".": b"..\r\n",
    b".\n": b"..\r\n",
    b"..": b"...\r\n",
    b"a.\n.b\n..": b"a.\r\n..b\r\n...\r\n",
    b"A\r.\r\n": b"A\r\n..\r\n",
    b"A\r\n.\r\n": b"A\r\n..\r\n",
    b"A\n.\n.\n.": b"A\r\n..\r\n..\r\n..\r\n",
    b"\r.\r.\r": b"\r\n..\r\n..\r\n",
    b"\0\x85\xff\x0b.\x0c\n": b"\0\x85\xff\x0b.\x0c\r\n",
}


def pieces_of(body, size):
    return [body[at : at + size] for at in range(0, len(body), size)]


def sent(pieces):
    encoder = Encoder()
    return b"".join(map(encoder.feed, pieces)) + encoder.finish()


def receive(wire):
    """An independent strict receiver: (text, whether the only end of the message is the end of all)."""
    text, line = b"", b""
    for at in range(len(wire)):
        line += wire[at : at + 1]
        if line.endswith(b"\r\n"):
            if line == b".\r\n":
                return text, at + 1 == len(wire)
            text += line[1:] if line.startswith(b".") else line
            line = b""
    return text, False


def normal(body):
    """What a receiver is to get: every kind of line break as CR LF, and one at the end."""
    text = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (text if text.endswith(b"\n") or not text else text + b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("body", SENT, ids=repr)
def test_sent(body):
    assert encode(body) == SENT[body]
    for at in range(len(body) + 1):
        assert sent([body[:at], b"", body[at:]]) == SENT[body]
    assert sent(pieces_of(body, 1)) == SENT[body]


def test_there_are_enough_of_the_smugglers_texts():
    assert len(BODIES) > 150


@pytest.mark.parametrize("name", BODIES)
def test_no_second_end(name):
    body = BODIES[name]
    wire = encode(body) + b".\r\n"
    for size in (1, 2, 3, 1024, 4096, 65_536):
        assert sent(pieces_of(body, size)) + b".\r\n" == wire
    assert receive(wire) == (normal(body), True)
    strict = Body(1 << 40, 1 << 40)
    text = strict.feed(wire)
    assert strict.fault is None
    assert strict.rest == len(wire)
    assert text.replace(b"\n", b"\r\n") == normal(body)
