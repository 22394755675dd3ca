"""usage: qmail-queue < message 1< envelope

Queue the message on descriptor 0 for the envelope on descriptor 1 (F sender NUL, T recipient NUL ..., NUL). Prints nothing.
Exit 0 when it is durable; 11 address too long, 31 refused for good (an envelope above 8 MB is), 51 out of memory, 52 timeout,
53 write error or disk full, 54 read error or early end, 61 no home, 62 no queue, 71 refused for now, 81 bug, 91 envelope of
another form.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.programs.run import end, home
from quail.queue import exits
from quail.queue.descriptors import FailedError, read_envelope, read_message
from quail.queue.submit import enqueue

TIME_LIMIT = 86_400  # seconds

_IGNORED = ("SIGPIPE", "SIGHUP", "SIGINT", "SIGQUIT", "SIGPROF", "SIGVTALRM", "SIGXCPU", "SIGXFSZ")


def main() -> None:
    """Entry point."""
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(exits.TIMEOUT))
    signal.alarm(TIME_LIMIT)
    try:
        code = _run()
    except FailedError as failed:
        code = failed.code
    except MemoryError:
        code = exits.OUT_OF_MEMORY
    except Exception:
        code = exits.BUG
    end(code)


def _run() -> int:
    os.umask(0o033)
    try:
        os.chdir(home())
    except OSError:
        return exits.NO_HOME
    message = read_message()
    sender, recipients = read_envelope()
    return exits.code(enqueue(sender, recipients, message, home="."))


if __name__ == "__main__":
    main()
