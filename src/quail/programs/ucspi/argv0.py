"""usage: argv0 realname program [ arg ... ]

Runs the program realname, which finds itself called `program`. Exit 100 for a wrong call, 111 if it can't be run.
"""

import os

from quail.errors import TemporaryError, UsageError
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import program


@program("argv0", takes=(2, None))
def main(args: list[bytes]) -> None:
    name, *argv = args
    if not argv[0]:
        # The interpreter does not start programs without a name; many of them would not bear it.
        raise UsageError
    try:
        run_program(argv, name=name)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(name)}: {words(error)}") from error


if __name__ == "__main__":
    main()
