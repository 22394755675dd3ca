"""usage: svc [ -udopchaitkx ] dir ...

Tell the supervise of each dir what to do: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt,
t term, k kill; in the order of the letters. Exit 0, also if there are directories where that can't be done, which are named;
100 for an unknown letter.
"""

import os

from quail.errors import EXIT_PERMANENT, TemporaryError
from quail.oserrors import words
from quail.programs.run import program, say
from quail.supervise.elsewhere import Here
from quail.supervise.servicedir import send

_LETTERS = b"udopchaitkx"
_HELP = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill"


@program("svc")
def main(args: list[bytes]) -> int:
    commands, folders, unknown = _parse(args)
    if unknown:
        say(f"svc: illegal option -- {os.fsdecode(unknown)}")
        say(_HELP)
        return EXIT_PERMANENT
    here = Here()
    for name in map(os.fsdecode, folders):
        trouble = _control(name, commands)
        if trouble is not None:
            say(f"svc: warning: {trouble}")
        try:
            here.back()
        except OSError as error:
            raise TemporaryError(f"unable to set directory: {words(error)}") from error
    return 0


def _parse(args: list[bytes]) -> tuple[bytes, list[bytes], bytes]:
    """Each letter once, in their order; the directories; the first letter that is none, or nothing."""
    letters: dict[int, None] = {}
    for count, arg in enumerate(args):
        if arg[:2] == b"--":  # whatever comes behind it
            return bytes(letters), args[count + 1 :], b""
        if not arg.startswith(b"-") or arg == b"-":
            return bytes(letters), args[count:], b""
        for letter in arg[1:]:
            if letter not in _LETTERS:
                return b"", [], bytes((letter,))
            letters[letter] = None
    return bytes(letters), [], b""


def _control(name: str, commands: bytes) -> str | None:
    """What went wrong, if so."""
    try:
        os.chdir(name)
    except OSError as error:
        return f"unable to chdir to {name}: {words(error)}"
    try:
        sent = send(commands)
    except OSError as error:
        return f"unable to control {name}: {words(error)}"
    return None if sent else f"unable to control {name}: supervise not running"


if __name__ == "__main__":
    main()
