"""usage: preline [ -frdFRD ] program [ arg ... ]

In a dot-qmail file: run the program with the lines of qmail-local's $UFLINE (From_), $RPLINE (Return-Path) and $DTLINE
(Delivered-To) before the message. -f, -r, -d leave one out; -F, -R, -D put it in again. Exits as the program does; 100 if it
can't be run or is called wrongly; 111 if it can't be run now, is killed, or does not read the whole message.
"""

import os

from quail.delivery.command import feed
from quail.errors import UsageError
from quail.programs.run import program

_LINES = {"f": b"UFLINE", "r": b"RPLINE", "d": b"DTLINE"}


@program("preline")
def main(args: list[bytes]) -> int:
    wanted, command = _options(args)
    lines = {letter: os.environb.get(name) for letter, name in _LINES.items()}
    if not command or None in lines.values():
        raise UsageError
    return feed(command, b"".join(line for letter, line in lines.items() if line and wanted[letter]))


def _options(args: list[bytes]) -> tuple[dict[str, bool], list[bytes]]:
    """Which lines are wanted, and the command."""
    wanted = dict.fromkeys(_LINES, True)
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        letters = left.pop(0)[1:].decode("latin-1")
        if letters == "-":
            break
        for letter in letters:
            if letter.lower() not in wanted:
                raise UsageError
            wanted[letter.lower()] = letter.isupper()
    return wanted, left


if __name__ == "__main__":
    main()
