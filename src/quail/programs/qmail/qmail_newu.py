"""usage: qmail-newu

Make users/cdb of users/assign: from then on deliveries go by it. Exit 0, or 111 if that can't be done: the old users/cdb stays.
"""

import os

from quail.errors import ConfigError, TemporaryError
from quail.oserrors import words
from quail.programs.run import READ_SIZE, home, program, say
from quail.storage.durable import replace_file
from quail.users.assign import compile_cdb, parse
from quail.users.lock import Lock

ASSIGN = "users/assign"
CDB = "users/cdb"
TMP = "users/cdb.tmp"


@program("qmail-newu")
def main(_args: list[bytes]) -> int:
    os.umask(0o033)
    try:
        _make()
    except TemporaryError as error:
        say(f"qmail-newu: fatal: {error}")
        if error.__cause__ is not None:
            cause = error.__cause__
            say(f"qmail-newu: {words(cause) if isinstance(cause, OSError) else cause}")
        return error.exit_code
    return 0


def _make() -> None:
    """Raises with the original's words; the cause says more."""
    step = "unable to chdir"
    try:
        os.chdir(home())
        step = f"unable to open {ASSIGN}"
        os.close(
            os.open(ASSIGN, os.O_RDONLY | os.O_CLOEXEC)
        )  # what is wrong with it is said before what is with the lock
        step = f"unable to open {TMP}"
        with Lock("users"):
            step = f"unable to open {ASSIGN}"
            fd = os.open(ASSIGN, os.O_RDONLY | os.O_CLOEXEC)
            step = f"unable to read {ASSIGN}"
            data = compile_cdb(parse(_read(fd), ASSIGN))
            step = f"unable to write {TMP}"
            replace_file(CDB, data, tmp=TMP)
    except ConfigError as error:
        raise TemporaryError(f"bad format in {ASSIGN}") from error
    except OSError as error:
        if error.filename == TMP:
            step = f"unable to move {TMP} to {CDB}" if error.filename2 else f"unable to open {TMP}"
        raise TemporaryError(step) from error


def _read(fd: int) -> bytes:
    try:
        parts = []
        while part := os.read(fd, READ_SIZE):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
