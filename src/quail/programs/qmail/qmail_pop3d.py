"""usage: qmail-pop3d maildir

Serves one POP3 client that has logged in, on descriptors 0 and 1, from maildir (qmail-pop3d(8)). Exit 0 after any session, or
if there is no maildir; 1 if it runs as root, 111 if its control file can't be read.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.control.reader import Control
from quail.errors import QuailError
from quail.net.pump import PeerGoneError, Pump
from quail.programs.run import home, program, say
from quail.services.popd.session import NO_MAILDIR, MaildirError, serve

_START_TIMEOUT = 60  # seconds for a reply before there is a session
_NAMED = 3  # failures; a mailbox may have a hundred thousand of them


@program("qmail-pop3d", takes=(0, None))
def main(args: list[bytes]) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if not os.getuid():
        say("qmail-pop3d invoked as uid 0, terminating")
        return 1
    try:
        if not args:
            Pump(0, 1, _START_TIMEOUT).write(NO_MAILDIR)
            return 0
        try:
            quirks = bool(Control(f"{home()}/control").integer("pop3quirks"))
        except QuailError:
            Pump(0, 1, _START_TIMEOUT).write(b"-ERR [SYS/TEMP] unable to read controls\r\n")
            raise
        return _serve(args[0], quirks=quirks)
    except PeerGoneError:
        return 0


def _serve(maildir: bytes, *, quirks: bool) -> int:
    try:
        os.chdir(maildir)  # names are short from here
    except OSError:
        Pump(0, 1, _START_TIMEOUT).write(NO_MAILDIR)
        return 0
    try:
        served = serve(0, 1, ".", quirks=quirks)
    except MaildirError as error:
        say(f"qmail-pop3d: {error}")
        return 0
    for failure in served.failures[:_NAMED]:
        say(f"qmail-pop3d: unable to unlink {os.fsdecode(failure.filename or maildir)}: {failure.strerror}")
    if len(served.failures) > _NAMED:
        say(f"qmail-pop3d: unable to unlink {len(served.failures) - _NAMED} more")
    return 0


if __name__ == "__main__":
    main()
