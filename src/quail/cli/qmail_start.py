"""usage: qmail-start [ defaultdelivery [ logger arg ... ] ]

Run the home's queue and deliveries in the foreground. Exit 0 after TERM, 111 if it can't be started.

It is `quail serve` without anything that listens to the network, which has run scripts of its own at such a site, and with
the environment passed on. The log is the original's: to descriptor 1, or to a logger that runs as qmaill.
"""

import os
import sys
from functools import partial

from quail.cli.home import DEFAULT_HOME, must_be_home
from quail.cli.serve import serve_home
from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.delivery.settings import DEFAULT_PATH
from quail.errors import EXIT_TEMPORARY, PermanentError, QuailError
from quail.inherited import restore_environment
from quail.oserrors import words
from quail.services import lspawn
from quail.supervise.log import LineLog
from quail.supervise.logprogram import LogProgram
from quail.supervise.tree import Member
from quail.users.accounts import Accounts

SERVICES = ("queue", "users", "lspawn", "rspawn")
_LOGGER = "qmaill"
NAME = "qmail-send"  # what qmail-start becomes at other sites, and what scripts look for that signal it by its name
_OUTPUT, _ERROR = 1, 2


def main() -> None:
    """Entry point."""
    restore_environment()
    args = [os.fsencode(word) for word in sys.argv[1:]]
    log_program: LogProgram | None = None
    code = 0
    try:
        home = os.path.abspath(os.environ.get("QMAILHOME") or DEFAULT_HOME)
        must_be_home(home)
        if args[1:]:
            log_program = LogProgram(args[1:], _identity(home))
        else:
            os.dup2(_OUTPUT, _ERROR)  # the services write to descriptor 2
        _serve(home, args[0] if args else b"", log_program)
    except QuailError as error:
        _say(str(error))
        code = EXIT_TEMPORARY
    except OSError as error:
        _say(f"{error.filename}: {words(error)}" if isinstance(error.filename, str) else words(error))
        code = EXIT_TEMPORARY
    if log_program is not None:
        log_program.finish()
    sys.exit(code)


def _serve(home: str, default_delivery: bytes, log_program: LogProgram | None) -> None:
    run_lspawn = partial(lspawn.run, default_delivery=_lines(default_delivery), environment=_environment(home))

    def adapt(member: Member) -> None:
        if member.name == "lspawn":
            member.run = run_lspawn

    serve_home(
        home,
        only=SERVICES,
        log=log_program.log if log_program is not None else LineLog(stamp=os.isatty(_ERROR)),
        log_program=log_program,
        process_name=NAME,
        adapt=adapt,
    )


def _identity(home: str) -> tuple[int, int] | None:
    """Who the logger is."""
    if (Control(f"{home}/control").line("mode") or b"") != SYSTEM.encode():
        return None
    if os.geteuid() != 0:
        raise PermanentError(f"{home} is a system home: only root can serve it")
    account = Accounts.load()[_LOGGER]
    return account.uid, account.gid


def _lines(default_delivery: bytes) -> bytes | None:
    """As dot-qmail lines; None to do as control/defaultdelivery says.

    So it is for an empty argument too: a script whose `cat` has found no file must not throw all mail away.
    """
    return default_delivery.rstrip(b"\n") + b"\n" if default_delivery.strip() else None


def _environment(home: str) -> dict[bytes, bytes]:
    """Ours, for users' programs: who calls qmail-start chooses it for them."""
    own = os.fsencode(home)
    return {b"PATH": own + b"/bin:" + DEFAULT_PATH, **os.environb, b"QMAILHOME": own}


def _say(text: str) -> None:
    """To the log, if there is one by now."""
    try:
        os.write(_ERROR, os.fsencode(f"qmail-start: fatal: {text}\n"))
    except OSError:
        pass  # nobody is there to be told


if __name__ == "__main__":
    main()
