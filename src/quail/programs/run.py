"""The one runner of the classic programs.

A program is a module whose docstring starts with its usage line and goes on with its exit codes, and one function:

    '''usage: svok dir

    Exit 0 if supervise runs in dir, 100 if not, 111 if that cannot be told.'''

    @program("svok", takes=1)
    def main(args: list[bytes]) -> int: ...

The runner owns the arguments, the signals, the words on stderr and the exit code: 100 for a wrong call or a permanent
failure, 111 for a temporary one, a bug among them. What is said is `NAME: fatal: TEXT`, one line in one write.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import sys
from _collections_abc import Callable

from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, QuailError, TemporaryError, UsageError
from quail.inherited import restore_environment
from quail.message.logtext import escaped_but_bytes

READ_SIZE = 1 << 16


def program(
    name: str, *, takes: int | tuple[int, int | None] | None = None
) -> Callable[[Callable[[list[bytes]], int | None]], Callable[[], None]]:
    """Make a program's entry point, which ends the process, of a function from its arguments to its exit code.

    `takes` is how many arguments there must be: so many, or from so many to so many (None: any number more), or None to
    leave counting to the function, which may raise UsageError() to have the usage printed.
    """
    least, most = takes if isinstance(takes, tuple) else (takes or 0, takes)

    def decorate(body: Callable[[list[bytes]], int | None]) -> Callable[[], None]:
        def main() -> None:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            restore_environment()
            args = [os.fsencode(arg) for arg in sys.argv[1:]]
            try:
                if len(args) < least or (most is not None and len(args) > most):
                    raise UsageError
                code = body(args) or 0
            except UsageError as error:
                say(f"{name}: fatal: {error}" if str(error) else f"{name}: {_usage(body, name)}")
                code = EXIT_PERMANENT
            except QuailError as error:
                say(f"{name}: fatal: {error}", verbatim=error.verbatim or getattr(error.__cause__, "verbatim", False))
                code = error.exit_code
            except OSError as error:
                say(f"{name}: fatal: {_with_file(error)}")
                code = EXIT_TEMPORARY
            except MemoryError:
                live_on(False)
                say(f"{name}: fatal: out of memory")
                code = EXIT_TEMPORARY
            except Exception as error:
                live_on(False)
                say(f"{name}: fatal: this is a bug: {type(error).__name__}: {error}")
                sys.excepthook(*sys.exc_info())
                code = EXIT_TEMPORARY
            end(code)

        main.__doc__ = body.__doc__
        return main

    return decorate


class Ended(BaseException):
    """The program has come to its end, but not the process: see call_again() of become.py."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Process:
    """Whether this process lives on when a program ends in it."""

    lives_on = False


def live_on(whether: bool) -> None:
    """Whether the end of a program raises Ended, instead of ending the process."""
    _Process.lives_on = whether


def lives_on() -> bool:
    """See live_on()."""
    return _Process.lives_on


def end(code: int) -> None:
    """End the process at once. What the interpreter would tidy up first takes as long as many a program runs."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: it was closed from the start, and took nothing
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or EXIT_TEMPORARY * (stream is sys.stdout)
    if _Process.lives_on:
        raise Ended(code)
    os._exit(code)


def _usage(body: Callable[[list[bytes]], int | None], name: str) -> str:
    """The first line of the module's docstring; python -OO leaves none."""
    text: str | None = body.__globals__["__doc__"]
    return text.split("\n", 1)[0] if text else f"usage: {name}"


def _words(error: OSError) -> str:
    from quail.oserrors import words  # noqa: PLC0415  most runs need no words

    return words(error)


def _with_file(error: OSError) -> str:
    return (
        f"{os.fsdecode(error.filename)}: {_words(error)}" if isinstance(error.filename, str | bytes) else _words(error)
    )


def say(line: str, *, verbatim: bool = False) -> None:
    """Write one line on stderr. Names of files and what others have said may be in it: what would end the line, or direct a
    terminal, is escaped, unless it is to be `verbatim`. Bytes that came in through os.fsdecode and are no UTF-8 go out as they
    were.
    """
    try:
        os.write(2, os.fsencode(line if verbatim else escaped_but_bytes(line)) + b"\n")
    except OSError:
        pass  # nobody is there to be told


def output(data: bytes) -> None:
    """Write all of data on stdout."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError as error:
        raise TemporaryError(f"unable to write output: {_words(error)}") from error


def read_input() -> bytes:
    """All of stdin."""
    parts = []
    try:
        while part := os.read(0, READ_SIZE):
            parts.append(part)
    except OSError as error:
        raise TemporaryError(f"unable to read input: {_words(error)}") from error
    return b"".join(parts)


def read_file(path: str) -> bytes:
    """All of a file that the program cannot do without."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TemporaryError(f"unable to read {path}: {_words(error)}") from error


def write_file(path: str, tmp: str, data: bytes) -> None:
    """Replace path by data, by way of tmp, durably; the old file stays as it is until the new one is whole.

    The mode is 0644 less the umask. What cannot be done is said in the originals' words.
    """
    from quail.storage.durable import replace_file  # noqa: PLC0415  few need it, and never for a message

    try:
        replace_file(path, data, tmp=tmp)
    except OSError as error:
        if error.filename2 is not None:
            failed = f"unable to move {tmp} to {path}"
        elif error.filename == tmp:
            failed = f"unable to create {tmp}"
        else:
            failed = f"unable to write to {tmp}"
        raise TemporaryError(f"{failed}: {_words(error)}") from error


def home() -> str:
    """Where this installation lives: $QMAILHOME, else /var/qmail."""
    return os.fsdecode(os.environb.get(b"QMAILHOME") or b"/var/qmail")


def enter_home() -> None:
    """Make the home the current directory."""
    path = home()
    try:
        os.chdir(path)
    except OSError as error:
        raise TemporaryError(f"unable to chdir to {path}: {_words(error)}") from error
