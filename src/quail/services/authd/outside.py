"""Another checkpassword (control/checkpassword): it judges, becomes the user, and runs what becomes the session.

checkpassword's contract (facts 4.8; checkpwd of D. J. Bernstein): name NUL secret NUL challenge NUL on descriptor 3; the
client on 0 and 1; it exits 1 for a wrong password, 2 or 111 for trouble, or runs the program behind its own arguments.
That is this module: it tells authd by descriptor 4 that it has come so far, waits to be told to go on, and serves.
"""

import os
import resource
import signal
import socket
import sys
from typing import NoReturn

import quail
from quail.delivery.settings import DEFAULT_PATH
from quail.net.authd_protocol import MAX_REQUEST, Request
from quail.net.frames import Splitter, frame
from quail.services.authd.session import MAX_WORDS, serve_until_told
from quail.services.authd.settings import Prepare
from quail.users.check import Login, accepted, refused_for

_SECRET, _AUTHD = 3, 4  # descriptors
_MOST = 512  # bytes, of checkpassword's contract
_START = "import sys;sys.path.insert(0,sys.argv[1]);from quail.services.authd.outside import main;main()"


def judge(
    command: list[bytes],
    client: int,
    authd: socket.socket,
    request: Request,
    prepare: Prepare,
    *,
    home: str,
    maildir: str,
    system: bool,
    nofile: tuple[int, int],
) -> NoReturn:
    """Become the command, in a process just forked."""
    status = 111
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        contract = b"%b\0%b\0%b\0" % (request.user, request.secret, request.challenge)
        if len(contract) > _MOST:
            os._exit(1)  # no password that this program knows
        readable, writable = os.pipe()
        os.write(writable, contract)
        parked = [os.dup(fd) for fd in (client, client, readable, authd.fileno())]
        parked = [_above(fd) for fd in parked]
        for fd, place in zip(parked, (0, 1, _SECRET, _AUTHD), strict=True):
            os.dup2(fd, place)
        os.closerange(_AUTHD + 1, os.sysconf("SC_OPEN_MAX"))
        resource.setrlimit(resource.RLIMIT_NOFILE, nofile)
        library = os.path.dirname(os.path.dirname(os.path.abspath(quail.__file__)))
        session = (prepare.__module__, prepare.__qualname__, home, maildir, "system" if system else "single")
        program = [os.path.realpath(sys.executable), "-IS", "-c", _START, library, *session]
        environment = {
            b"PATH": os.environb.get(b"PATH", DEFAULT_PATH),
            b"QMAILHOME": os.fsencode(home),
            b"PROTO": b"TCP",
            b"TCPREMOTEIP": request.peer,
        }
        os.execvpe(command[0], [*command, *map(os.fsencode, program)], environment)  # noqa: S606  no shell
    except OSError as error:
        os.write(2, b"authd: alert: unable to run %b: %b\n" % (command[0], str(error).encode(errors="replace")))
    finally:
        os._exit(status)


def _above(fd: int) -> int:
    """Out of the way of the numbers that mean something."""
    while fd <= _AUTHD:
        fd = os.dup(fd)
    return fd


def main() -> None:
    """What checkpassword runs: already the user, in the user's home."""
    module, name, home, maildir, mode = sys.argv[2:]
    authd = socket.socket(fileno=_AUTHD)
    authd.set_inheritable(False)
    if mode == "system" and os.getuid() == 0:
        authd.sendall(frame(refused_for("the program in control/checkpassword would have the session run as root")))
        os._exit(111)
    import importlib  # noqa: PLC0415

    from quail.control.reader import Control  # noqa: PLC0415

    said = ""
    try:
        prepare: Prepare = getattr(importlib.import_module(module), name)
        serve = prepare(Control(f"{home}/control"))
        user = os.environb.get(b"USER", b"")
        authd.sendall(frame(accepted(Login(user, os.getuid(), os.getgid(), os.fsencode(os.getcwd())))))
        rest = _go_on(authd)
        said = serve_until_told(0, serve, maildir, rest)
    except BaseException as error:
        said = f"{said} {error!r}".strip()
    finally:
        try:
            authd.sendall(frame(said.encode(errors="backslashreplace")[:MAX_WORDS]))
        finally:
            os._exit(0)


def _go_on(authd: socket.socket) -> bytes:
    """Wait for authd's word, which is what the client has sent already. SystemExit if authd has gone, or says no."""
    splitter = Splitter(MAX_REQUEST)
    while data := authd.recv(1 << 16):
        for payload in splitter.feed(data):
            return payload
    raise SystemExit
