"""usage: recordio program [ arg ... ]

Runs a program, and logs on descriptor 2 what goes in and out of its descriptors 0 and 1. Exits as the program does; 100 for a
wrong call, 111 if it can't be run.
"""

import os

from quail.errors import TemporaryError
from quail.net.copying import Watch, Way, write_all
from quail.net.line_ends import Plain
from quail.net.recording import lines
from quail.net.wrapping import wrap
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import program


@program("recordio", takes=(1, None))
def main(args: list[bytes]) -> None:
    pid = os.getpid()

    def watch(mark: bytes) -> Watch:
        return lambda data: _log(lines(pid, mark, data))

    def connect(peer_in: int, program_in: int, program_out: int, peer_out: int) -> tuple[Way, Way]:
        return (
            Way(peer_in, program_in, Plain(), watch(b"<")),
            Way(program_out, peer_out, Plain(), watch(b">"), closes=False),
        )

    wrap(connect)
    try:
        run_program(args)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(args[0])}: {words(error)}") from error


def _log(text: bytes) -> None:
    try:
        write_all(2, text)
    except OSError:
        pass  # nobody is there to be told


if __name__ == "__main__":
    main()
