"""usage: qmail-send

Refuse, and name qmail-start: the queue of Quail is no process that descriptors could be given to. Exit 111, always.
"""

import os

from quail.errors import TemporaryError
from quail.programs.run import program

WHY = "the queue runs together with its deliveries: call qmail-start or quail serve, which start both"
_LOG = 0


@program("qmail-send")
def main(_: list[bytes]) -> int:
    try:
        os.write(_LOG, f"alert: cannot start: {WHY}\n".encode())
    except OSError:
        pass  # there is no log
    raise TemporaryError(WHY)


if __name__ == "__main__":
    main()
