"""Another checkpassword (control/checkpassword): it judges, becomes the user, and runs what becomes the session.

checkpassword's contract (checkpwd of D. J. Bernstein): name NUL secret NUL challenge NUL on descriptor 3; it exits 1 for a
wrong password, 2 or 111 for trouble, or runs the program behind its own arguments. That is this module: it tells authd by
descriptor 4 that it has come so far, gets the client's connection by it, and serves.

Under qmail-popup descriptors 0 and 1 are the client. Here they are the null device: this process is the user's before authd
knows it, and while popd may still have to tell the client no. Two that own one connection can stop each other.
"""

import os
import resource
import signal
import socket
import sys
from typing import NoReturn

import quail
from quail.delivery.settings import DEFAULT_PATH
from quail.net import descriptors
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
        null = os.open(os.devnull, os.O_RDWR)
        parked = [os.dup(fd) for fd in (null, null, readable, authd.fileno())]
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

    said, is_accepted = "", False
    try:
        prepare: Prepare = getattr(importlib.import_module(module), name)
        serve = prepare(Control(f"{home}/control"))
        user = os.environb.get(b"USER", b"")
        authd.sendall(frame(accepted(Login(user, os.getuid(), os.getgid(), os.fsencode(os.getcwd())))))
        client, rest = _go_on(authd)
        is_accepted = True
        said = serve_until_told(client, serve, maildir, rest)
    except BaseException as error:
        said = repr(error)
    finally:
        words = said.encode(errors="backslashreplace")[:MAX_WORDS]
        try:
            authd.sendall(frame(words if is_accepted else refused_for(said)))  # words are no verdict: some begin with N
        finally:
            os._exit(0)


def _go_on(authd: socket.socket) -> tuple[int, bytes]:
    """Wait for authd's word: the client's connection, and what the client has sent already. SystemExit if authd has gone."""
    splitter = Splitter(MAX_REQUEST)
    held: list[int] = []
    while True:
        data, ancillary, _, _ = authd.recvmsg(1 << 16, descriptors.SPACE, descriptors.FLAGS)
        held += descriptors.received(ancillary)
        if not data:
            raise SystemExit
        for payload in splitter.feed(data):
            return held[0], payload
