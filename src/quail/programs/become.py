"""How a program of ours turns into the next one of its command line: by exec, or at once if that is one of ours too.

    run_program(argv, environ)      in place of exec; does not return
    call_again(argv, environ)       the same, but returns when the program and all that it became may be called again
    preload(argv, environ)          in a parent that forks for each connection, once, before

Starting an interpreter takes longer than most programs run. So a file that is nothing but a launcher of this very code (of a
home's bin/, or a console script of this virtual environment) is not exec'd: its main() is called, in this process, with
environment, arguments and signals as exec would have left them. Whatever else the file says, it is exec'd. So it is after
an upgrade: if the launcher, or the package, is another file than it was when it was loaded, what is on disk is run.

Descriptors that are to be closed on exec are not closed: whoever calls closes what it has opened.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import errno
import gc
import os
import sys
from _collections_abc import Callable, Mapping

import quail
from quail.inherited import be_environment
from quail.programs.run import Ended, live_on, lives_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_USUAL_PATH = b"/bin:/usr/bin"
_LONGEST_LAUNCHER = 4096
_GO_ON = frozenset((errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR))  # for another folder of $PATH
_HOME = ("import posix;posix.putenv('QMAILHOME',posix.environ.setdefault(b'QMAILHOME',b'", "'))")
_SEARCH = ("import sys;sys.path.insert(0,'", "')")
_MAIN = ("from quail.programs.", " import main")
# Lines that launchers have besides: those that look for a bundle (cli/bundles.py), and those of console scripts.
_NO_MATTER = (
    "", "# -*- coding: utf-8 -*-", "import re", "import sys", "import marshal", "except Exception:bundle=None",
    "if bundle:exec(bundle[0]);start(bundle)", "if __name__ == '__main__':", 'if __name__ == "__main__":',
)  # fmt: skip
_NO_MATTER_STARTS = (
    "sys.path+=[", "try:bundle=marshal.loads(open(",
    "    sys.argv[0] = ", "    if sys.argv[0].endswith(", "    sys.exit(main())",
    "        sys.argv[0] = ", "    elif sys.argv[0].endswith(",
)  # fmt: skip

_Identity = tuple[int, int, int, int]


class _Program:
    """A launcher as it was when it was read; module None: a file that must be exec'd."""

    __slots__ = ("home", "identity", "main", "module")

    def __init__(self, identity: _Identity, module: str | None, home: bytes | None) -> None:
        """`home` is what the launcher sets QMAILHOME to, if it does that."""
        self.identity, self.module, self.home = identity, module, home
        self.main: Callable[[], None] | None = None


_known: dict[bytes, _Program] = {}
_PACKAGE = os.path.abspath(quail.__file__)  # every upgrade replaces it: the version is in it


def run_program(
    argv: list[bytes], environ: Mapping[bytes, bytes] | None = None, *, name: bytes | None = None
) -> "NoReturn":
    """Become the program argv[0], found along $PATH of this process, with this environment (None: this process's own).

    `name`, if given, is looked for instead of argv[0]. OSError, as of exec, if nothing can be run.
    """
    given = dict(os.environb) if environ is None else environ
    _first(argv[0] if name is None else name, lambda path: _start(path, argv, given))
    raise AssertionError("exec returned")


def call_again(argv: list[bytes], environ: Mapping[bytes, bytes]) -> int:
    """As run_program(); but a program of ours whose module says SERVES_AGAIN ends without this process: its exit code.

    Such a program leaves nothing behind that could matter to the next connection but the working directory, the umask and
    descriptors 0 and 1: no other uid, no limits, no descriptors, no children. One that becomes another takes that one's word.
    """
    live_on(True)
    try:
        run_program(argv, environ)
    except Ended as ended:
        return ended.code
    finally:
        live_on(False)


def spawn_program(argv: list[bytes], environ: Mapping[bytes, bytes], connection: int) -> int:
    """Start a program that is not ours, by name, with the connection as its descriptors 0 and 1; its process id.

    Costs half of fork and exec, since nothing of this process's memory is copied. OSError, as of exec.
    """
    actions = [(os.POSIX_SPAWN_DUP2, connection, 0), (os.POSIX_SPAWN_DUP2, connection, 1)]
    return _first(argv[0], lambda path: os.posix_spawn(path, argv, environ, file_actions=actions))


def _first(name: bytes, start: "Callable[[bytes], int]") -> int:
    """What start() makes of the first of the program's possible places that has it. OSError, as of exec."""
    trouble: OSError | None = None
    for path in _candidates(name):
        try:
            return start(path)
        except OSError as error:
            if error.errno not in _GO_ON:
                raise
            if trouble is None or error.errno != errno.ENOENT:
                trouble = error
    raise trouble or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def preload(argv: list[bytes]) -> bool:
    """Load the programs of ours on a command line, whose children then start without exec; whether argv[0] is one.

    Chains such as `rblsmtpd -r list qmail-smtpd` need no rules of their own: any word that leads to a program of ours counts.
    A program that loads more for some calls may have a function load_for, of the words behind it, that does so beforehand.
    """
    for at, word in enumerate(argv):
        program = next(filter(None, map(_look, _candidates(word))), None)
        ours = program is not None and program.module is not None and _load(program)
        if word is argv[0] and not ours:
            return False
        if program is not None and program.module is not None:
            more = getattr(sys.modules[program.module], "load_for", None)
            if more is not None:
                more(argv[at + 1 :])
    # What is loaded stays: children that collect garbage need not look at it, nor copy its pages for that.
    gc.collect()
    gc.freeze()
    return True


def _candidates(name: bytes) -> list[bytes]:
    """Where a program may be."""
    if b"/" in name:
        return [name]
    if not name:
        return []
    return [(folder or b".") + b"/" + name for folder in os.environb.get(b"PATH", _USUAL_PATH).split(b":")]


def _start(path: bytes, argv: list[bytes], environ: Mapping[bytes, bytes]) -> "NoReturn":
    """Does not return, or raises OSError."""
    program = _known.get(path)
    if program is None or program.module is not None:
        program = _look(path)
    if program is not None and program.module is not None and os.access(path, os.X_OK) and _load(program):
        _call(path, program, argv, environ)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them for itself
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    os.execve(path, argv, environ)  # noqa: S606  no shell: this is what chain-loading programs are for


def _look(path: bytes) -> _Program | None:
    """The program there, if it is a file that can be looked at."""
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        program = _known.get(path)
        if program is None:
            program = _known[path] = _Program(identity, *_read(path, status.st_size))
            program.identity = identity
        if program.module is not None and (program.identity != identity or _package() != _package_loaded):
            return _Program(identity, None, None)
        return program
    except OSError:
        return None


def _package() -> _Identity | None:
    try:
        status = os.stat(_PACKAGE)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


_package_loaded = _package()


def _read(path: bytes, size: int) -> tuple[str | None, bytes | None]:
    """The module that a launcher calls, and its home; (None, None) for any other file. OSError."""
    if size > _LONGEST_LAUNCHER:
        return None, None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.read(fd, _LONGEST_LAUNCHER)
    finally:
        os.close(fd)
    try:
        first, *lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError:
        return None, None
    module = home = None
    leads_here = _is_this_interpreter(first[2:])
    if first[:2] != "#!" or not (leads_here or first.endswith(" -IS")):
        return None, None
    for line in lines:
        if line.startswith(_MAIN[0]) and line.removesuffix(";main()").endswith(_MAIN[1]):
            module = line.removeprefix("from ").partition(" ")[0]
        elif line.startswith(_SEARCH[0]) and line.endswith(_SEARCH[1]):
            leads_here = line[len(_SEARCH[0]) : -len(_SEARCH[1])] == os.path.dirname(os.path.dirname(_PACKAGE))
        elif line.startswith(_HOME[0]) and line.endswith(_HOME[1]) and "\\" not in line:
            home = line[len(_HOME[0]) : -len(_HOME[1])].encode()
        elif line not in _NO_MATTER and not line.startswith(_NO_MATTER_STARTS):
            return None, None
    return (module, home) if leads_here else (None, None)


def _is_this_interpreter(path: str) -> bool:
    """Of a virtual environment, this one: others have other code."""
    own = sys.executable
    return os.path.dirname(path) == os.path.dirname(own) and os.path.realpath(path) == os.path.realpath(own)


def _load(program: _Program) -> bool:
    """Whether it is there now. What can't be loaded, by this uid or in the middle of an upgrade, is left to exec."""
    if program.main is None:
        assert program.module is not None
        try:
            __import__(program.module)
            program.main = sys.modules[program.module].main
        except Exception:
            program.module = None
    return program.main is not None


def _call(path: bytes, program: _Program, argv: list[bytes], environ: Mapping[bytes, bytes]) -> None:
    """Does not return: main() ends the process."""
    be_environment(environ)
    if program.home is not None:
        os.environb.setdefault(b"QMAILHOME", program.home)
    sys.argv = [os.fsdecode(word) for word in argv]
    for number in _handled():
        signal.signal(number, signal.SIG_DFL)
    if callable(signal.getsignal(signal.SIGXFSZ)):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a new interpreter does for itself
    _rename(path)
    assert program.main is not None
    assert program.module is not None
    live_on(lives_on() and getattr(sys.modules[program.module], "SERVES_AGAIN", False))
    program.main()


def _handled() -> list[int]:
    """Signals that have handlers, which exec would have taken away."""
    return [number for number in _SIGNALS if callable(signal.getsignal(number))]


_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1,
            signal.SIGUSR2, signal.SIGCONT, signal.SIGTSTP, signal.SIGPIPE)  # fmt: skip


def _rename(path: bytes) -> None:
    """Be called in lists of processes as if exec'd; whoever looks for qmail-smtpd there finds it."""
    try:
        fd = os.open(b"/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, path.rpartition(b"/")[2][:15])
        finally:
            os.close(fd)
    except OSError:
        pass
