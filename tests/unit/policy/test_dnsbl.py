"""rblsmtpd's decision, and its talk with whom it turns away. As observed with Debian's ucspi-tcp 0.88-7, but for IPv6."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.errors import TemporaryError
from quail.policy.dnsbl import TurnedAway, by_environment, by_lists, name_in_list

UNSURE = b"451 temporary RBL lookup error"


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        (b"127.0.0.2", b"2.0.0.127.list.test"),
        (b"1.2.3", b"3.2.1.list.test"),
        (b"", b".list.test"),
        (b"2001:db8::1f", b"f.1." + b"0." * 22 + b"8.b.d.0.1.0.0.2.list.test"),
        (b"fe80::1%eth0", b"1." + b"0." * 28 + b"8.e.f.list.test"),
        (b"::ffff:192.0.2.1", b"1.2.0.192.list.test"),
        (b"no:address.x", b"x.no:address.list.test"),
    ],
)
def test_names_in_lists(ip, name):
    assert name_in_list(ip, b"list.test") == name
    assert name_in_list(ip, b"") == name.removesuffix(b".list.test")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"", None),
        (b"no", b"451 no"),
        (b"-no", b"553 no"),
        (b"-", b"553 "),
        (b"x\1y\x80\x7fz", b"451 x?y??z"),
        (b"q" * 201, b"451 " + b"q" * 200),
        (b"-" + b"q" * 201, b"553 " + b"q" * 200),
    ],
)
def test_by_environment(value, line):
    assert by_environment(value) == line


def look_up(kind, name):
    base = name.removeprefix(b"2.0.0.127.")
    if base == b"fail":
        raise TemporaryError("no server answers")
    return {(b"listed", "r"): b"bad\n", (b"other", "r"): b"worse", (b"good", "a"): b"*"}.get((base, kind), b"")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("", None),
        ("r:listed", b"451 bad?"),
        ("b r:listed", b"553 bad?"),
        ("r:listed b", b"451 bad?"),
        ("b B r:listed", b"451 bad?"),
        ("r:none r:other", b"451 worse"),
        ("r:listed b r:other", b"451 bad?"),
        ("r:none b r:other", b"553 worse"),
        ("r:good", None),
        ("a:listed r:listed", b"451 bad?"),
        ("a:good r:listed", None),
        ("r:listed a:good", b"451 bad?"),
        ("r:fail", None),
        ("r:fail c", None),
        ("c r:fail", UNSURE),
        ("b c r:fail", UNSURE),
        ("c C r:fail", None),
        ("b r:fail r:listed", b"451 bad?"),
        ("r:fail b r:listed", b"451 bad?"),
        ("a:fail r:listed", None),
        ("c a:fail r:listed", b"451 bad?"),
        ("b c a:fail r:listed", b"451 bad?"),
        ("b c a:fail", None),
        ("c a:fail a:good r:listed", None),
    ],
)
def test_by_lists(options, line):
    parsed = [(word[0], word[2:].encode()) for word in options.split()]
    assert by_lists(parsed, b"127.0.0.2", look_up) == line


SESSION = (
    b"HELO x\r\nehlo\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\nRSET\r\nNOOP \r\nVRFY x\r\nhelox\n noop\nHELO\tx\n\r\nNOOP\r\r\n"
    + b"x" * 5000
    + b"\nquit now\r\nNOOP\r\n"
)
POLITE, NO, BYE = b"250 rblsmtpd.local\r\n", b"553 no\r\n", b"221 rblsmtpd.local\r\n"
ANSWERS = POLITE * 3 + NO * 2 + POLITE * 2 + NO * 7 + BYE


@given(st.lists(st.integers(0, len(SESSION)), max_size=9))
def test_what_is_said(cuts):
    talk = TurnedAway(b"553 no")
    assert talk.greeting() == b"220 rblsmtpd.local\r\n"
    edges = [0, *sorted(cuts), len(SESSION)]
    answers = b""
    for start, end in itertools.pairwise(edges):
        if not talk.ended:
            answers += talk.feed(SESSION[start:end])
    assert answers == ANSWERS
    assert talk.ended


def test_a_line_without_an_end_takes_no_memory():
    talk = TurnedAway(b"451 no")
    for _ in range(100):
        assert talk.feed(b"noop" * 1000) == b""
    assert len(talk._command) < 10
    assert talk.feed(b"\n") == b"451 no\r\n"
    assert talk.feed(b"quit") == b""
    assert not talk.ended
