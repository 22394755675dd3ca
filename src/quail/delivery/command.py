"""Commands that the programs for dot-qmail files run: condredirect, bouncesaying, except, preline and their like.

A command is found by PATH and has our descriptors, environment and folder, as with execvp(3). Its exit code decides what
becomes of the message, as qmail-command(8) says of a program line's: 111 is a failure for now.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import errno
import os
from _collections_abc import Iterator

from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, PermanentError, TemporaryError
from quail.oserrors import is_temporary, words

HARD = frozenset((64, 65, 70, 76, 77, 78, 100, 112))  # exit codes of a program line that no later attempt will mend
SHELL = b"/bin/sh"
_READ_SIZE = 1 << 16
_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ)  # which the interpreter ignores


class CrashedError(TemporaryError):
    """The command was killed."""

    def __init__(self) -> None:
        super().__init__("child crashed")


def run(command: list[bytes]) -> int:
    """Its exit code. CrashedError; OSError, as of execvp, if it can't be run.

    The message, descriptor 0, is where the command has left it.
    """
    return _code_of(_spawn(command))


def verdict(code: int) -> int:
    """What the exit code of a program line makes of its delivery: 0, 100 or 111."""
    return EXIT_PERMANENT if code in HARD else EXIT_TEMPORARY if code else 0


def succeeds(command: list[bytes]) -> bool:
    """Whether it exits with 0. TemporaryError if it can't tell: exit 111, killed, or not to be run for now.

    The message, descriptor 0, is where the command has left it.
    """
    try:
        code = run(command)
    except OSError as error:
        code = _unable(error)
    if code == EXIT_TEMPORARY:
        raise TemporaryError("temporary child error")
    return code == 0


def feed(command: list[bytes], prefix: bytes, *, must_read: bool = True) -> int:
    """Run it with the prefix and then our descriptor 0 on its descriptor 0; its exit code.

    TemporaryError if it is killed, or, where it must read all of that, has not; TemporaryError or PermanentError if it can't
    be run. What fits into a pipe counts as read.
    """
    sigpipe = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        reading, writing = os.pipe()
        rest = _fill(writing, prefix)  # before it can end, so that it is not by chance how it ends
        try:
            pid = _spawn(command, [(os.POSIX_SPAWN_DUP2, reading, 0)])
        except OSError as error:
            kind = TemporaryError if is_temporary(error) else PermanentError
            raise kind(f"unable to run {os.fsdecode(command[0])}: {words(error)}") from error
        os.close(reading)
        try:
            _copy(rest, writing)
        except OSError as error:
            os.close(writing)
            code = _code_of(pid)  # it has its say before we have ours
            if not must_read and isinstance(error, BrokenPipeError):
                return code
            raise TemporaryError(f"unable to copy input: {words(error)}") from error
        os.close(writing)
        return _code_of(pid)
    finally:
        signal.signal(signal.SIGPIPE, sigpipe)


def _fill(fd: int, prefix: bytes) -> memoryview:
    """Write to the pipe, as far as it goes, the prefix and the first of descriptor 0; what of that is left."""
    try:
        data = memoryview(prefix + os.read(0, _READ_SIZE))
    except OSError as error:
        raise TemporaryError(f"unable to copy input: {words(error)}") from error
    os.set_blocking(fd, False)
    try:
        data = data[os.write(fd, data) :]
    finally:
        os.set_blocking(fd, True)
    return data


def _copy(first: memoryview, fd: int) -> None:
    data: bytes | memoryview = first or os.read(0, _READ_SIZE)
    while data:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        data = os.read(0, _READ_SIZE)


def _unable(error: OSError) -> int:
    """The exit code of a process that could not become the command."""
    return EXIT_TEMPORARY if is_temporary(error) else EXIT_PERMANENT


def _code_of(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        raise CrashedError
    return code


def _spawn(command: list[bytes], actions: "list[tuple[int, int, int]] | None" = None) -> int:
    """The process's number; OSError as of execvp. What the kernel will not run, but is a program, is a shell's script."""
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in _places(command[0]):
        try:
            return _spawn_file(path, command, actions)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                return _spawn_file(SHELL, [b"sh", path, *command[1:]], actions)
            if error.errno == errno.EACCES:
                failure = error
            elif b"/" in command[0] or error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                raise
    raise failure


def _places(name: bytes) -> Iterator[bytes]:
    """The files that it may be."""
    if b"/" in name:
        yield name
        return
    if not name:
        return
    for folder in os.environb.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        yield (folder or b".") + b"/" + name


def _spawn_file(path: bytes, command: list[bytes], actions: "list[tuple[int, int, int]] | None") -> int:
    return os.posix_spawn(path, command, os.environb, file_actions=actions or (), setsigdef=_DEFAULT)
