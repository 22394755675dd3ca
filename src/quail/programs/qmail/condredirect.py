"""usage: condredirect newaddress program [ arg ... ]

In a dot-qmail file: run the program with the message; if it exits with 0, send the message on to newaddress with its sender,
say `condredirect: qp N` on stderr, and exit 99, so that the rest of the file is skipped. Exit 111 if the program does, is
killed, or the message is not queued now; 100 if it is refused for good or called wrongly; 0 if the program exits otherwise.
"""

import os

from quail.delivery.command import succeeds
from quail.delivery.resend import message, queue, variable
from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.run import home, program, say

_DONE = 99


@program("condredirect", takes=(2, None))
def main(args: list[bytes]) -> int:
    if not succeeds(args[1:]):
        return 0
    dtline, sender = variable("DTLINE"), variable("SENDER")
    try:
        os.lseek(0, 0, os.SEEK_SET)
    except OSError as error:
        raise TemporaryError(f"unable to rewind: {words(error)}") from error
    number = queue(sender, args[:1], message(dtline), home=home())
    say(f"condredirect: qp {number}")
    return _DONE


if __name__ == "__main__":
    main()
