"""Options in djb's way."""

import pytest

from quail.errors import UsageError
from quail.net.options import number, parse

LETTERS = "vHRl:c:"


@pytest.mark.parametrize(
    ("words", "found", "left"),
    [
        ([], [], []),
        ([b"-vH", b"0", b"-R"], [("v", b""), ("H", b"")], [b"0", b"-R"]),
        ([b"-HRl0", b"0"], [("H", b""), ("R", b""), ("l", b"0")], [b"0"]),
        ([b"-l", b"0", b"-c5"], [("l", b"0"), ("c", b"5")], []),
        ([b"-l", b"-v"], [("l", b"-v")], []),
        ([b"-l", b""], [("l", b"")], []),
        ([b"-v", b"--", b"-H"], [("v", b"")], [b"-H"]),
        ([b"--anything", b"-H"], [], [b"-H"]),
        ([b"-", b"-H"], [], [b"-", b"-H"]),
        ([b"", b"-H"], [], [b"", b"-H"]),
    ],
)
def test_words(words, found, left):
    assert parse("x", words, LETTERS) == (found, left)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([b"-Z"], b"x: illegal option -- Z\n"),
        ([b"-v:"], b"x: illegal option -- :\n"),
        ([b"-\xff"], b"x: illegal option -- \xff\n"),
        ([b"-vl"], b"x: option requires an argument -- l\n"),
    ],
)
def test_what_is_wrong_is_said_at_once(capfdbinary, words, told):
    with pytest.raises(UsageError, match=r"^$"):
        parse("x", words, LETTERS)
    assert capfdbinary.readouterr().err == told


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", 0), (b"abc", 0), (b"12x", 12), (b"-3", 0), (b"007", 7), (b" 5", 0), (b"1" * 30, int("1" * 30) % 2**64),
        (b"9" * 100_000, int("9" * 40) % 2**64),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert number(text) == value
