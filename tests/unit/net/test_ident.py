"""Asking an ident server."""

import socket
import time

import pytest
from tests.ucspi.ident_responder import IdentResponder

from quail.net import ident


def ask(monkeypatch, responder, timeout=60):
    monkeypatch.setattr(ident, "PORT", responder.port)
    return ident.ask(("127.0.0.1", 25), ("127.0.0.1", 4321), timeout)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"4321,25:USERID:UNIX:joe\r\n", b"joe"),
        (b"4321 , 25 : USERID : UNIX : j o\te:x\r\n", b"joe:x"),
        (b"4321,25:ERROR:NO-USER\r\n", b""),
        (b"rubbish\n", b""),
        (b"4321,25:USERID:UNIX:joe", None),
        (b"", None),
        (b":::" + b"y" * 256, None),
        (b":::" + b"y" * 257, b"y" * 257),
        (b":::" + b"y" * 4000 + b"\n", b"y" * 257),
        (b" " * 5000, None),
    ],
)
def test_answers(monkeypatch, answer, text):
    with IdentResponder([answer]) as responder:
        assert ask(monkeypatch, responder) == text
        assert responder.asked == [(b"4321 , 25\r\n", "127.0.0.1")]


def test_silence_is_waited_for_once(monkeypatch):
    with IdentResponder([None]) as responder:
        before = time.monotonic()
        assert ask(monkeypatch, responder, 0.1) is None
        assert 0.1 <= time.monotonic() - before < 30


def test_nobody_there(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(ident, "PORT", port)
    assert ident.ask(("127.0.0.1", 25), ("127.0.0.1", 4321), 60) is None
    assert ident.ask(("192.0.2.1", 25), ("127.0.0.1", 4321), 60) is None  # an address that can't be bound


@pytest.mark.parametrize("timeout", [1 << 22, (1 << 64) - 1])
def test_any_patience_can_be_asked_for(monkeypatch, timeout):
    with IdentResponder([b":::joe\n"]) as responder:
        assert ask(monkeypatch, responder, timeout) == b"joe"
