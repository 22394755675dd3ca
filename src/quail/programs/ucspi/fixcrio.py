"""usage: fixcrio program [ arg ... ]

Runs a program, and gives each LF that goes in or out of its descriptors 0 and 1 a CR if it has none. Exits as the program does;
100 for a wrong call, 111 if it can't be run.
"""

import os

from quail.errors import TemporaryError
from quail.net.copying import Way
from quail.net.line_ends import FixCr
from quail.net.wrapping import wrap
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import program


@program("fixcrio", takes=(1, None))
def main(args: list[bytes]) -> None:
    wrap(_connect)
    try:
        run_program(args)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(args[0])}: {words(error)}") from error


def _connect(peer_in: int, program_in: int, program_out: int, peer_out: int) -> tuple[Way, Way]:
    return Way(peer_in, program_in, FixCr()), Way(program_out, peer_out, FixCr(), closes=False)


if __name__ == "__main__":
    main()
