"""The fuzz target on its corpus and on some mutants of it, and what the machine's work grows with."""

import sys

import pytest
from tests.fuzz.engine import seeded
from tests.fuzz.smtp_target import check, corpus, fuzz
from tests.unit.smtp.conversation import Talk, mail

from quail.smtp.body import Body

KEPT = list(corpus())


@pytest.mark.parametrize("data", [data for _, data in KEPT], ids=[name for name, _ in KEPT])
def test_corpus(data):
    check(data)
    for head in range(0, 256, 5):
        check(bytes((head,)) + data[1:])


def test_mutants():
    assert fuzz(1500, seeded()) == 1500


@pytest.mark.long
def test_many_mutants():
    assert fuzz(200_000, seeded()) == 200_000


def operations(data, piece):
    """How many calls, of Python functions and of C ones, the machine makes, and over how many bytes of text."""
    talk = Talk(max_bad_commands=0, max_junk_commands=0, max_recipients=0)
    calls = scanned = 0

    def count(frame, event, _argument):
        nonlocal calls, scanned
        if event in ("call", "c_call"):
            calls += 1
        elif event == "return" and frame.f_code is Body.feed.__code__:
            scanned += len(frame.f_locals["text"])

    sys.setprofile(count)
    try:
        for at in range(0, len(data), piece):
            talk.session.receive(data[at : at + piece])
            while (event := talk.session.next_event()) is not None:
                if event[0] == "end":
                    talk.session.message_done(b"250 2.0.0 ok")
        talk.session.take_output()
    finally:
        sys.setprofile(None)
    return calls, scanned


SMALL, LARGE = 5_000, 20_000
NASTY = {
    "one endless command": lambda n: b"x" * n,
    "empty lines": lambda n: b"\n" * n,
    "carriage returns": lambda n: b"\r" * n,
    "recipients": lambda n: b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<a@example.com>\r\n" * (n // 25),
    "quoted recipients": lambda n: b"MAIL FROM:<a@b>\r\n" + b'RCPT TO:<"a\\b\\c"@example.com>\r\n' * (n // 33),
    "transactions": lambda n: mail(b"x\r\n.\r\n") * (n // 80),
    "text in one line": lambda n: mail(b"x" * n),
    "empty text lines": lambda n: mail(b"\r\n" * (n // 2)),
    "dotted lines": lambda n: mail(b"\r\n." * (n // 3)),
    "dots at the ends": lambda n: mail(b".\r\n..\r\n" * (n // 7)),
    "nearly an end": lambda n: mail(b"x" + b"\r\n.\r" * (n // 4)),
    "an endless header": lambda n: mail(b"X: receive\r\n" * (n // 12)),
    "header without line ends": lambda n: mail(b"received" * (n // 8)),
    "bare LF at the end": lambda n: mail(b"abc\r\n" * (n // 5) + b"\n" + b"abc\r\n"),
    "bare LF everywhere": lambda n: mail(b"\n" * n),
    "bare CR everywhere": lambda n: mail(b"\r" * n),
}


@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
@pytest.mark.parametrize("nasty", NASTY)
def test_work_is_linear_in_the_input(nasty, piece):
    small, large = (operations(NASTY[nasty](size), piece) for size in (SMALL, LARGE))
    assert large[0] <= 4.4 * small[0] + 100
    assert large[1] <= 3 * LARGE + 5 * (LARGE // piece) + 100  # a fault is looked for twice; two bytes are held back


def test_the_count_would_notice_quadratic_work():
    """A receiver that looks at everything again with each piece."""
    scanned = 0
    body = Body(1 << 40, 1 << 40)
    seen = b""
    for _ in range(2000):
        seen += b"x"
        scanned += len(seen)
        body.feed(b"x")
    assert scanned > 3 * 2000 + 5 * 2000
