"""The exit codes of qmail-queue as its callers read them: every code there is, written out."""

import pytest

from quail.queue import exits
from quail.queue.handover import Reply

FILES = "Z qq trouble creating files in queue (#4.3.0)"
PERMANENT = "D qq permanent problem (#5.3.0)"
OTHER = "Z qq temporary problem (#4.3.0)"
TABLE = {
    **dict.fromkeys(range(1, 256), OTHER),
    **dict.fromkeys(range(11, 41), PERMANENT),
    11: "D envelope address too long for qq (#5.1.3)",
    31: "D mail server permanently rejected message (#5.3.0)",
    51: "Z qq out of memory (#4.3.0)",
    52: "Z qq timeout (#4.3.0)",
    53: "Z qq write error or disk full (#4.3.0)",
    54: "Z qq read error (#4.3.0)",
    55: "Z qq unable to read configuration (#4.3.0)",
    56: "Z qq trouble making network connection (#4.3.0)",
    61: "Z qq trouble in home directory (#4.3.0)",
    62: FILES,
    63: FILES,
    64: FILES,
    65: FILES,
    66: FILES,
    71: "Z mail server temporarily rejected message (#4.3.0)",
    72: "Z connection to mail server timed out (#4.4.1)",
    73: "Z connection to mail server rejected (#4.4.1)",
    74: "Z communication with mail server failed (#4.4.2)",
    81: "Z qq internal bug (#4.3.0)",
    91: "Z qq internal bug (#4.3.0)",
    115: "D envelope address too long for qq (#5.1.3)",
    120: "Z unable to exec qq (#4.3.0)",
}


def shown(reply):
    return f"{reply.letter.decode()} {reply.text.decode()}"


def test_every_code():
    assert {code: shown(exits.reply(code)) for code in range(1, 256)} == TABLE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"Dvirus found (#5.7.1)", "D virus found (#5.7.1)"),
        (b"Ztry at night (#4.7.1)", "Z try at night (#4.7.1)"),
        (b"Dvirus found (#5.7.1)\n", "D virus found (#5.7.1)"),
        (b"Dtwo\nlines\n", "D two\nlines"),
        (b"Dup to\0the zero byte", "D up to"),
        (b"Dno", "D no"),
        (b"Dn", OTHER),
        (b"Dn\n", "D n"),
        (b"Dn\0more", "D n"),
        (b"D\n\n\n", "D qq permanent problem (#5.3.0)"),
        (b"Z\0\0", OTHER),
        (b"D\n", OTHER),
        (b"", OTHER),
        (b"something else", "Z omething else"),
        (b"D" + b"x" * 300, "D " + "x" * 254),
    ],
)
def test_words_of_its_own(words, said):
    for code in exits.OWN_WORDS:
        assert shown(exits.reply(code, words)) == said


@pytest.mark.parametrize("code", sorted(set(TABLE) - {82, 88}))
def test_words_count_with_no_other_code(code):
    assert shown(exits.reply(code, b"Dhear me")) == TABLE[code]


@pytest.mark.parametrize(
    ("letter", "text", "code"),
    [
        (b"K", b"17", 0),
        (b"D", b"envelope address too long for qq (#5.1.3)", 11),
        (b"D", b"mail server permanently rejected message (#5.3.0)", 31),
        (b"D", b"anything", 31),
        (b"D", b"no disk", 31),
        (b"D", b"qq internal bug (#4.3.0)", 31),
        (b"D", b"too many recipients (#5.5.3)", 31),
        (b"Z", b"qq out of memory (#4.3.0)", 51),
        (b"Z", b"qq write error or disk full (#4.3.0)", 53),
        (b"Z", b"queue disk is nearly full, try again later (#4.3.1)", 53),
        (b"Z", b"qq read error (#4.3.0)", 54),
        (b"Z", b"qq trouble in home directory (#4.3.0)", 61),
        (b"Z", b"qq trouble creating files in queue (#4.3.0)", 62),
        (b"Z", b"mail system is stopping, try again later (#4.3.2)", 71),
        (b"Z", b"qq internal bug (#4.3.0)", 81),
    ],
)
def test_back_to_a_code(letter, text, code):
    assert exits.code(Reply(letter, text)) == code
