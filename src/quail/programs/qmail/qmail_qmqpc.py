"""usage: qmail-qmqpc < message 1< envelope

Hand the message on descriptor 0, for the envelope on descriptor 1, to one of control/qmqpservers: a qmail-queue for hosts
without a queue. Prints nothing. Exit 0 when the server has it; 11 address too long, 31 refused for good, 51 out of memory, 53
write error, 54 read error or early end, 55 no server known, 56 no network, 61 no home, 71 refused for now, 72 connection timed
out, 73 connection refused, 74 communication failed, 81 bug, 91 envelope of another form.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.control.qmqpservers import usable_qmqpservers
from quail.control.reader import read_file
from quail.errors import QuailError
from quail.programs.run import end, home
from quail.queue import exits, qmqp
from quail.queue.descriptors import FailedError, read_envelope, read_message

_SERVERS = "control/qmqpservers"


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        code = _run()
    except FailedError as failed:
        code = failed.code
    except QuailError:
        code = exits.NO_CONFIGURATION
    except MemoryError:
        code = exits.OUT_OF_MEMORY
    except Exception:
        code = exits.BUG
    end(code)


def _run() -> int:
    try:
        os.chdir(home())
    except OSError:
        return exits.NO_HOME
    servers = usable_qmqpservers(_SERVERS, read_file(_SERVERS) or b"")
    if not servers:
        return exits.NO_CONFIGURATION
    message = read_message()
    sender, recipients = read_envelope()
    return qmqp.send(servers, sender, recipients, message.size, message.chunks())


if __name__ == "__main__":
    main()
