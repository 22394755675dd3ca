"""usage: checkpassword program [arg ...]

Reads name, password and time stamp from descriptor 3, each ended by a NUL, and runs the program as that user, in the
user's home. Exit 1 if the password is wrong or nobody may come in by that name, 2 if called wrongly, 111 if it can't be
told or the program can't be run; else as the program does.
"""

import os
import time

from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.errors import QuailError, TemporaryError
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import home, program, say
from quail.users import argon
from quail.users.check import ANY, Attempt, Checker, Login, apart

_INPUT = 3  # descriptor
_MOST = 512  # bytes
_LEAST = 0.25  # seconds that a no takes: hashes of several kinds, or nobody's, do not take the same
_WRONG, _MISUSE, _TROUBLE = 1, 2, 111
_PR_SET_DUMPABLE = 4  # prctl(2)


@program("checkpassword")
def main(args: list[bytes]) -> int:
    try:
        data = _read()
    except OSError as error:
        say(f"checkpassword: fatal: unable to read descriptor 3: {words(error)}")
        return _MISUSE
    fields = data.split(b"\0")
    if not args or len(data) > _MOST or not 3 <= len(fields) <= 4 or fields[-1]:
        say(
            "checkpassword: fatal: called wrongly: it takes a program, and name NUL password NUL time stamp NUL on descriptor 3"
        )
        return _MISUSE
    try:
        place = home()
        is_system = Control(f"{place}/control").line("mode") == SYSTEM.encode()
        checker = Checker(place, system=is_system)
        challenge = fields[2] if len(fields) == 4 else b""
        start = time.monotonic()
        login = apart(checker, Attempt(fields[0], fields[1], challenge, ANY))
        if login is None:
            left = start + _LEAST - time.monotonic()
            if left > 0:
                time.sleep(left)
            return _WRONG
        _become(login, is_system=is_system)
        run_program(args, os.environb)
    except QuailError as error:
        say(f"checkpassword: fatal: {error}")
    except OSError as error:
        say(f"checkpassword: fatal: unable to run {os.fsdecode(args[0])}: {words(error)}")
    return _TROUBLE


def load_for(_words: list[bytes]) -> None:
    """See become.preload: what a parent loads once, so that no connection has to."""
    argon.load()


def _read() -> bytes:
    """All of descriptor 3, or as much as shows that it is too much; closed behind it: the program must not find the
    password.
    """
    parts = []
    left = _MOST + 1
    while left and (part := os.read(_INPUT, left)):
        parts.append(part)
        left -= len(part)
    os.close(_INPUT)
    return b"".join(parts)


def _become(login: Login, *, is_system: bool) -> None:
    """Uid, one group, home and environment of the user; in a single home everybody is its owner. TemporaryError."""
    import ctypes  # noqa: PLC0415  loaded by the check already

    try:
        if is_system:
            os.setgroups([login.gid])
            os.setresgid(login.gid, login.gid, login.gid)
            os.setresuid(login.uid, login.uid, login.uid)
            # A program of ours goes on in this process, which has been root: the user's other processes must not look into
            # it.
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        os.chdir(login.home)
    except OSError as error:
        raise TemporaryError(
            f"unable to become {os.fsdecode(login.name)} in {os.fsdecode(login.home)}: {words(error)}"
        ) from error
    os.environb[b"USER"] = login.name
    os.environb[b"HOME"] = login.home
    os.environb[b"SHELL"] = login.shell


if __name__ == "__main__":
    main()
