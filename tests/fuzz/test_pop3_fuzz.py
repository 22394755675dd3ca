"""The fuzz target on its corpus and on some mutants of it, and what the machines' work grows with."""

import os
import random
import sys

import pytest
from tests.fuzz.pop3_target import check, corpus, fuzz
from tests.unit.pop3.pop3_talk import LoginTalk, SessionTalk

KEPT = list(corpus())


@pytest.mark.parametrize("data", [data for _, data in KEPT], ids=[name for name, _ in KEPT])
def test_corpus(data):
    check(data)
    for head in range(0, 256, 5):
        check(bytes((head,)) + data[1:])


def test_mutants():
    seed = int(os.environ.get("QUAIL_SEED") or random.randrange(1 << 32))
    print(f"QUAIL_SEED={seed}")
    assert fuzz(1500, seed) == 1500


@pytest.mark.long
def test_many_mutants():
    seed = int(os.environ.get("QUAIL_SEED") or random.randrange(1 << 32))
    print(f"QUAIL_SEED={seed}")
    assert fuzz(200_000, seed) == 200_000


def operations(talk, data, piece):
    """How many calls, of Python functions and of C ones, it takes."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        for at in range(0, len(data), piece):
            talk.send(data[at : at + piece])
    finally:
        sys.setprofile(None)
    return calls


SMALL, LARGE = 5_000, 20_000
NASTY = {
    "one endless command": lambda n: b"x" * n,
    "empty lines": lambda n: b"\n" * n,
    "carriage returns": lambda n: b"\r" * n,
    "log-ins": lambda n: b"USER a\nPASS b\n" * (n // 14),
    "a session": lambda n: b"RETR 1\nTOP 2 0\nDELE 1\nRSET\nSTAT\nLIST\n" * (n // 42),
    "numbers": lambda n: b"RETR 99999999999999999999999999999999999999999\n" * (n // 47),
}


@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
@pytest.mark.parametrize("nasty", NASTY)
def test_work_is_linear_in_the_input(nasty, piece):
    def session():
        return SessionTalk(b"a: b\n\nc\n" * 3, b"\n", max_bad_commands=1 << 30)

    def log_in():
        return LoginTalk(*[(1,)] * LARGE, max_bad_commands=1 << 30, max_commands=1 << 30, max_attempts=1 << 30)

    for talk in (session, log_in):
        small, large = (operations(talk(), NASTY[nasty](size), piece) for size in (SMALL, LARGE))
        assert large <= 4.4 * small + 200


@pytest.mark.parametrize("lines", [b"9999999", b"0"], ids=["top", "header"])
@pytest.mark.parametrize("message", [b"\n" * 20_000, b"\r" * 20_000, b"a" * 20_000, b".\r\n" * 7_000], ids=range(4))
def test_top_is_linear_in_the_message(message, lines):
    command = b"TOP 1 " + lines + b"\r\n"
    for piece in (1, 4096):
        small, large = (
            operations(SessionTalk(message[: len(message) // part], piece=piece), command, 100) for part in (4, 1)
        )
        assert large <= 4.4 * small + 200
