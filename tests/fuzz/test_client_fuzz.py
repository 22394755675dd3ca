"""The client's fuzz target on its corpus and on some mutants of it, and what the machine's work grows with."""

import sys

import pytest
from tests.fuzz.client_target import check, corpus, fuzz
from tests.fuzz.engine import seeded
from tests.unit.smtp.client_talk import GREETING, PIPELINING, ClientTalk

KEPT = list(corpus())


@pytest.mark.parametrize("data", [data for _, data in KEPT], ids=[name for name, _ in KEPT])
def test_corpus(data):
    check(data)
    for choice in range(32):
        for cut in (0, 1, 6, 255):
            check(bytes((choice, cut)) + data[2:])


def test_mutants():
    assert fuzz(3000, seeded()) == 3000


@pytest.mark.long
def test_many_mutants():
    assert fuzz(200_000, seeded()) == 200_000


def calls(data, piece):
    """How many calls, of Python functions and of C ones, the machine makes for these bytes."""
    talk = ClientTalk(GREETING, PIPELINING)
    talk.begin(*[b"a@b"] * 100)
    count = 0

    def step(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(step)
    try:
        for at in range(0, len(data), piece):
            talk.client.receive(data[at : at + piece])
            while talk.client.next_event() is not None:
                pass
    finally:
        sys.setprofile(None)
    return count


NASTY = {
    "one endless line": lambda n: b"250 " + b"x" * n,
    "one endless reply": lambda n: b"250-x\r\n" * (n // 7),
    "empty lines": lambda n: b"250-" + b"\n250-" * (n // 5),
    "carriage returns": lambda n: b"250 " + b"\r" * n,
}


@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
@pytest.mark.parametrize("nasty", NASTY)
def test_work_is_linear_in_the_input(nasty, piece):
    small, large = (calls(NASTY[nasty](size), piece) for size in (5_000, 20_000))
    assert large <= 4.4 * small + 100
