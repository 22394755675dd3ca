"""usage: qmail-clean

Remove files of a queue for a qmail-send: commands on descriptor 0, answers on descriptor 1 (qmail-clean(8)). Exit 0 when there
are no more commands, 100 if answers can't be written, 111 if it can't begin.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import time

from quail.errors import EXIT_PERMANENT, TemporaryError
from quail.oserrors import words
from quail.programs.run import READ_SIZE, enter_home, program
from quail.queue.cleaner import Cleaner

_COMMANDS, _ANSWERS = 0, 1


@program("qmail-clean")
def main(_: list[bytes]) -> int:
    enter_home()
    try:
        os.chdir("queue")
    except OSError as error:
        raise TemporaryError(f"unable to chdir to queue: {words(error)}") from error
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    cleaner = Cleaner()
    cleaner.sweep(time.time())
    while data := os.read(_COMMANDS, READ_SIZE):
        answers = cleaner.feed(data, time.time())
        try:
            while answers:
                answers = answers[os.write(_ANSWERS, answers) :]
        except OSError:
            return EXIT_PERMANENT
    return 0


if __name__ == "__main__":
    main()
