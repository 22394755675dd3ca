"""usage: svstat dir ...

Say of each dir whether its service is up, for how long, and what is wanted of it; one line each. Exit 0, also if there are
directories of which nothing is known, of which the lines say so.
"""

import os
import time

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.run import output, program
from quail.supervise.elsewhere import Here
from quail.supervise.servicedir import OK, STATUS, is_running, read_status
from quail.supervise.status import sentence


@program("svstat")
def main(args: list[bytes]) -> int:
    here = Here()
    for name in map(os.fsdecode, args):
        output(os.fsencode(f"{name}: {_standing(name)}\n"))
        try:
            here.back()
        except OSError as error:
            raise TemporaryError(f"unable to set directory: {words(error)}") from error
    return 0


def _standing(name: str) -> str:
    what = "chdir"
    try:
        os.chdir(name)
        what = "stat down"
        normally_down = _is_there("down")
        what = f"open {OK}"
        if not is_running():
            return "supervise not running"
        what = f"open {STATUS}"
        data = read_status()
    except OSError as error:
        if what == f"open {STATUS}" and error.filename is None:
            what = f"read {STATUS}"
        return f"unable to {what}: {words(error)}"
    try:
        return sentence(data, int(time.time()), normally_down=normally_down)
    except ValueError:
        return f"unable to read {STATUS}: bad format"


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
