"""How the chain loaders of daemontools go on: with the rest of their command line, in their own place."""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import errno
import os
import pwd
from _collections_abc import Callable, Mapping

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.become import run_program

_USUAL_PATH = b"/bin:/usr/bin"
_GO_ON = frozenset((errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR))  # for another folder of $PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeVar

    T = TypeVar("T")


def go_on(command: list[bytes], environ: Mapping[bytes, bytes] | None = None, *, anew: bool = False) -> "NoReturn":
    """Become that program, with this environment or the process's own; TemporaryError if it can't be run.

    It is looked for along this process's own $PATH.
    `anew`: by exec, even if it is one of ours, because it matters what the process has had before.
    """
    if not command[0]:
        raise TemporaryError("unable to run : access denied")  # a folder of $PATH is what it would lead to
    try:
        if anew:
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them for itself
                signal.signal(number, signal.SIG_DFL)
            _execute(command)
        run_program(command, environ)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(command[0])}: {words(error)}") from error


def _execute(command: list[bytes]) -> None:
    """Does not return, or raises OSError. It imports nothing: the new user may not be able to read the library."""
    trouble: OSError | None = None
    folders = [b""] if b"/" in command[0] else os.environb.get(b"PATH", _USUAL_PATH).split(b":")
    for folder in folders:
        path = command[0] if b"/" in command[0] else (folder or b".") + b"/" + command[0]
        try:
            os.execve(path, command, os.environb)  # noqa: S606  no shell: this is what chain loaders are for
        except OSError as error:
            if error.errno not in _GO_ON:
                raise
            if trouble is None or error.errno != errno.ENOENT:
                trouble = error
    if trouble is not None:
        raise trouble


def attempt(what: str, call: "Callable[[], T]") -> "T":
    """What call returns; TemporaryError for its OSError: `unable to WHAT: ...`."""
    try:
        return call()
    except OSError as error:
        raise TemporaryError(f"unable to {what}: {words(error)}") from error


def account(name: bytes) -> tuple[int, int]:
    """The uid and gid of a user; TemporaryError if there is none of that name."""
    try:
        entry = pwd.getpwnam(os.fsdecode(name))
    except (KeyError, ValueError):
        raise TemporaryError(f"unknown account {os.fsdecode(name)}") from None
    return entry.pw_uid, entry.pw_gid


def options(args: list[bytes], known: str) -> tuple[str, list[bytes]]:
    """The option letters in front of a command line, none of which takes an argument, in their order; and what is left.

    ValueError with the first letter that is not among the `known` ones.
    """
    letters = ""
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        word = left.pop(0)[1:].decode("latin-1")
        if word[0] == "-":  # whatever comes behind it
            break
        for letter in word:
            if letter not in known:
                raise ValueError(letter)
        letters += word
    return letters, left
