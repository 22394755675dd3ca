"""usage: multilog [ action ... ]

Append the lines of stdin, selected and stamped as the actions say, to log directories that rotate themselves. Exit 0 at the
end of stdin and on TERM, 111 if a directory or a file can't be used at the start.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.programs.run import program, say
from quail.supervise.events import Events
from quail.supervise.multilog.logger import Logger, follow
from quail.supervise.multilog.script import parse


@program("multilog")
def main(args: list[bytes]) -> None:
    os.umask(0o022)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # whoever hears alerts may go away; the lines are logged all the same
    _fill()
    events = Events(signal.SIGTERM, signal.SIGALRM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGALRM))
    follow(Logger(parse(args), say=_say, alert=_alert), events)


def _fill() -> None:
    """No file of ours may have the number of a descriptor that we were started without."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free


def _say(text: str) -> None:
    say(f"multilog: {text}")


def _alert(lines: bytes) -> None:
    try:
        while lines:
            lines = lines[os.write(2, lines) :]
    except OSError:
        pass  # nobody is there to be alarmed


if __name__ == "__main__":
    main()
