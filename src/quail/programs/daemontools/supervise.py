"""usage: supervise dir

Keep the program ./run of dir running, as svc says, until it is told to exit: then 0. 100 for a wrong call, 111 if the directory
can't be supervised: by another supervise that has it, for example.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.run import program, say
from quail.supervise.supervisor import Supervisor


@program("supervise", takes=1)
def main(args: list[bytes]) -> int:
    folder = os.fsdecode(args[0])
    # A terminal or a log that is gone does not end the service.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
    try:
        os.chdir(folder)
    except OSError as error:
        raise TemporaryError(f"unable to chdir to {folder}: {words(error)}") from error
    Supervisor(folder, say, down=_is_down(folder)).run()
    return 0


def _is_down(folder: str) -> bool:
    try:
        os.stat("down")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TemporaryError(f"unable to stat {folder}/down: {words(error)}") from error
    return True


if __name__ == "__main__":
    main()
