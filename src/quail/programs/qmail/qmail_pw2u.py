"""usage: qmail-pw2u [ -/ohHuUC ] [ -cchar ] < passwd > users/assign

Write users/assign for the accounts of a passwd file, with the lines of users/append. -o leave out accounts without a home (as
without the option), -h stop at one, -H don't look at homes; -u take names with capitals, -U don't; -c the character
between name and extension, -C no extensions; -/ dot-qmail files are ~/.qmail-/EXT. Exit 0, 100 if called wrongly, else 111.
"""

from quail.control.reader import Control, read_file
from quail.errors import UsageError
from quail.programs.run import enter_home, output, program, read_input
from quail.users.passwd import SKIP_MISSING, STOP_MISSING, UNCHECKED, Files, Options, assign, owner_of

_HOMES = {ord("o"): SKIP_MISSING, ord("h"): STOP_MISSING, ord("H"): UNCHECKED}


@program("qmail-pw2u")
def main(args: list[bytes]) -> int:
    options = _parse(args)
    enter_home()
    # A single home has no account alias: its users are those of users/append.
    need_alias = Control().line("mode") != b"single"
    output(assign(read_input(), options, Files(read_file), owner_of, need_alias=need_alias))
    return 0


def _parse(args: list[bytes]) -> Options:
    options = Options()
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        letters = left.pop(0)[1:]
        if letters == b"-":
            break
        for at, letter in enumerate(letters):
            if letter in _HOMES:
                options.homes = _HOMES[letter]
            elif letter in b"uU":
                options.capitals = letter == ord("u")
            elif letter == ord("/"):
                options.dash = b"-/"
            elif letter == ord("C"):
                options.break_char = b""
            elif letter == ord("c"):
                value = letters[at + 1 :] or (left.pop(0) if left else b"")
                options.break_char = _break_char(value[:1])
                break
            else:
                raise UsageError
    if left:
        raise UsageError
    return options


def _break_char(char: bytes) -> bytes:
    if char in b":\n":  # the empty one too
        raise UsageError
    return char


if __name__ == "__main__":
    main()
