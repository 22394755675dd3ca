"""qsmhook as a process: what the program gets, and how it ends."""

import pytest
from tests.programs.launch import launch
from tests.programs.queue_home import QueueHome

MESSAGE = b"Subject: x\n\nFrom here\n"
UFLINE, RPLINE, DTLINE = "From s@x Mon\n", "Return-Path: <s@x>\n", "Delivered-To: v-joe@y\n"
USAGE = b"qsmhook: usage: qsmhook [ -DFlMnPs ] [ -x prefix ] program [ arg ... ]\n"


@pytest.fixture
def home(tmp_path):
    home = QueueHome(
        tmp_path / "home", SENDER="s@x", HOST="y", LOCAL="v-joe", UFLINE=UFLINE, RPLINE=RPLINE, DTLINE=DTLINE
    )
    home.script("show", 'for word; do echo "<$word>"; done; cat')
    return home


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], UFLINE),
        (["-n"], ""),
        (["-P"], UFLINE + RPLINE),
        (["-l"], UFLINE + DTLINE),
        (["-nPl"], RPLINE + DTLINE),
        (["-P", "-l", "-n", "--"], RPLINE + DTLINE),
        (["-DFMs"], UFLINE),
    ],
    ids=str,
)
def test_lines_before_the_message(home, options, lines):
    assert home.run("qsmhook", *options, "cat", stdin=MESSAGE) == (0, lines.encode() + MESSAGE, b"")


@pytest.mark.parametrize(
    ("word", "filled_in"),
    [
        ("%g", "s@x"),
        ("%h", "y"),
        ("%u", "v-joe"),
        ("a%u@%hb%g", "a" + "v-joe@y" + "bs@x"),
        ("%%", "%"),
        ("%%u", "%u"),
        ("%%%u", "%v-joe"),
        ("%%%%", "%%"),
        ("100%", "100%"),
        ("%z%", "%z%"),
        ("", ""),
    ],
)
def test_letters_of_arguments(home, word, filled_in):
    assert home.run("qsmhook", "-n", "show", word, stdin=b"") == (0, f"<{filled_in}>\n".encode(), b"")


def test_what_is_filled_in_is_not_looked_at_again(home):
    assert home.run("qsmhook", "-n", "show", "%u", "a b", LOCAL="%h %g") == (0, b"<%h %g>\n<a b>\n", b"")
    assert home.run("qsmhook", "-n", "show", "%g", SENDER="") == (0, b"<>\n", b"")


@pytest.mark.parametrize(
    ("options", "local"),
    [
        (["-xv-"], "joe"),
        (["-x", "v-"], "joe"),
        (["-x", "w-"], "v-joe"),
        (["-x", "w-", "-x", "v-"], "joe"),
        (["-x", "v-", "-x", "j"], "joe"),
        (["-x", "V-"], "v-joe"),
        (["-x", "v-joe"], ""),
        (["-x", ""], "v-joe"),
    ],
    ids=str,
)
def test_a_prefix_is_taken_away(home, options, local):
    assert home.run("qsmhook", "-n", *options, "show", "%u") == (0, f"<{local}>\n".encode(), b"")


@pytest.mark.parametrize("args", [[], ["-n"], ["-z", "cat"], ["-x"], ["-x", "cat"]], ids=str)
def test_called_wrongly(home, args):
    code, out, error = home.run("qsmhook", *args)
    assert (code, out) == (100, b"")
    assert error.endswith(USAGE)


@pytest.mark.parametrize("missing", ["SENDER", "HOST", "LOCAL", "UFLINE"])
def test_outside_of_a_delivery(home, missing):
    assert home.run("qsmhook", "cat", **{missing: None}) == (
        100, b"", f"qsmhook: fatal: {missing} not set\n".encode(),
    )  # fmt: skip
    assert launch("qsmhook", "cat").returncode == 100


def test_lines_that_are_not_wanted_need_not_be_there(home):
    assert home.run("qsmhook", "-n", "cat", stdin=MESSAGE, UFLINE=None, RPLINE=None, DTLINE=None) == (0, MESSAGE, b"")


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("cat > seen; exit 67", 67, b""),
        ("cat > seen; exit 0", 0, b""),
        ("kill -9 $$", 111, b"qsmhook: fatal: child crashed\n"),
    ],
)
def test_every_ending(home, script, code, words):
    home.script("run", script)
    assert home.run("qsmhook", "run", stdin=MESSAGE) == (code, b"", words)


def test_a_program_that_is_not_there_or_does_not_read(home):
    assert home.run("qsmhook", "none", stdin=MESSAGE) == (
        100, b"", b"qsmhook: fatal: unable to run none: file does not exist\n",
    )  # fmt: skip
    assert home.run("qsmhook", "true", stdin=b"x" * 500_000) == (
        111, b"", b"qsmhook: fatal: unable to copy input: broken pipe\n",
    )  # fmt: skip
