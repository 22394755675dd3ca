"""usage: svscan [ dir ]

Start supervise for each folder of dir, by default the current one, and for the folder log in it. Never exits, but for 111 if
it can't enter dir.
"""

import os

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.become import preload, run_program
from quail.programs.run import program, say
from quail.supervise.scan import Scanner
from quail.supervise.title import show_command

_SUPERVISE = b"supervise"


@program("svscan")
def main(args: list[bytes]) -> int:
    if args:
        folder = os.fsdecode(args[0])
        try:
            os.chdir(folder)
        except OSError as error:
            raise TemporaryError(f"unable to chdir to {folder}: {words(error)}") from error
    # Where supervise is this version's own, its code is loaded once for all of them, and no interpreter starts for each.
    preload([_SUPERVISE])
    Scanner(_supervise, lambda text: say(f"svscan: warning: {text}")).run()
    return 0


def _supervise(name: str) -> None:
    argv = [_SUPERVISE, os.fsencode(name)]
    show_command(argv)  # if supervise is not exec'd
    run_program(argv)


if __name__ == "__main__":
    main()
