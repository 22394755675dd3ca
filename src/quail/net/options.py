"""Options as the tools of ucspi-tcp and daemontools take them, and their numbers.

Letters may stand together (`-HRl0`); a value is what is left of its word, or the next word. A lone `-`, or a word that does not
start with one, ends the options and stays; a word that starts with `--` ends them and is dropped.
"""

import os

from quail.errors import UsageError

_MOST_DIGITS = 40
_WORD = 1 << 64  # numbers count round, as in the unsigned long of the originals


def parse(name: str, args: list[bytes], letters: str) -> tuple[list[tuple[str, bytes]], list[bytes]]:
    """The options in their order, each with its value (b"" if it takes none), and the words behind them.

    `letters` are the options there are, a colon behind each that takes a value. What is wrong is said on stderr in the name of
    the program; UsageError, without a text, is for the usage line.
    """
    found: list[tuple[str, bytes]] = []
    at = 0
    while at < len(args):
        word = args[at]
        if word[:1] != b"-" or word == b"-":
            break
        at += 1
        if word[:2] == b"--":
            break
        place = 1
        while place < len(word):
            letter = chr(word[place])
            place += 1
            kind = -1 if letter == ":" else letters.find(letter)
            if kind < 0:
                _complain(name, b"illegal option -- %c" % word[place - 1])
            if letters[kind + 1 : kind + 2] != ":":
                found.append((letter, b""))
                continue
            value, place = word[place:], len(word)
            if not value:
                if at == len(args):
                    _complain(name, b"option requires an argument -- %c" % ord(letter))
                value = args[at]
                at += 1
            found.append((letter, value))
    return found, args[at:]


def _complain(name: str, what: bytes) -> None:
    try:
        os.write(2, b"%b: %b\n" % (name.encode(), what))
    except OSError:
        pass  # nobody is there to be told
    raise UsageError


def number(text: bytes) -> int:
    """The decimal digits that text starts with, as a number; 0 if there are none."""
    value, digits = 0, b"0123456789"
    for byte in text[:_MOST_DIGITS]:
        if byte not in digits:
            break
        value = value * 10 + byte - 48
    return value % _WORD
