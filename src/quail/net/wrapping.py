"""A program wrapped by a copier: recordio and fixcrio.

The process that was started becomes the program, so that whoever started it has its pid and exit status; a child of it stands
between the program and its descriptors 0 and 1.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import sys
from _collections_abc import Callable

from quail.errors import EXIT_TEMPORARY, TemporaryError
from quail.net.copying import Way, exchange
from quail.oserrors import words

Connect = Callable[[int, int, int, int], tuple[Way, Way]]
"""Of descriptors from the peer and to the program, from the program and to the peer: the two ways between them."""


def wrap(connect: Connect) -> None:
    """Fork the copier; returns in the process that is to become the program, on new descriptors 0 and 1. TemporaryError."""
    try:
        to_program, from_copier = os.pipe(), os.pipe()
    except OSError as error:
        raise TemporaryError(f"unable to create pipe: {words(error)}") from error
    (program_input, input_end), (output_end, program_output) = to_program, from_copier
    try:
        pid = os.fork()
    except OSError as error:
        raise TemporaryError(f"unable to fork: {words(error)}") from error
    if not pid:
        code = EXIT_TEMPORARY
        try:
            # A program, or a peer, that has gone is found out by writing.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.close(program_input)
            os.close(program_output)
            exchange(*connect(0, input_end, output_end, 1))
            code = 0
        except Exception:
            sys.excepthook(*sys.exc_info())  # a bug
        finally:
            os._exit(code)
    for end in (input_end, output_end):
        os.close(end)
    _become(program_input, 0)
    _become(program_output, 1)


def _become(fd: int, standard: int) -> None:
    if fd == standard:
        os.set_inheritable(fd, True)
        return
    os.dup2(fd, standard)
    os.close(fd)
