"""usage: svok dir

Exit 0 if a supervise runs in dir, 100 if not, 111 if it can't be told.
"""

import os

from quail.errors import EXIT_PERMANENT, TemporaryError
from quail.oserrors import words
from quail.programs.run import program
from quail.supervise.servicedir import OK, is_running


@program("svok", takes=(1, None))
def main(args: list[bytes]) -> int:
    name = os.fsdecode(args[0])
    try:
        os.chdir(name)
    except OSError as error:
        raise TemporaryError(f"unable to chdir to {name}: {words(error)}") from error
    try:
        return 0 if is_running() else EXIT_PERMANENT
    except FileNotFoundError:
        return EXIT_PERMANENT
    except OSError as error:
        raise TemporaryError(f"unable to open {name}/{OK}: {words(error)}") from error


if __name__ == "__main__":
    main()
