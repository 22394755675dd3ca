"""The process of one session: forked by authd, it is the user before it reads a byte of the client's (delivery/shed.py).

The client has been accepted by then, and hears nothing more from anybody else: where there can be no session, it is told here.

It keeps the client's connection, a socket to authd, to which it says at its end what came of it, and a pipe that has its
end when serve has. When authd dies the session goes on; when serve stops or dies it ends behind the reply that it is at.
"""

import fcntl
import os
import signal
import socket
from typing import NoReturn

from quail.delivery import shed
from quail.net.frames import frame
from quail.oserrors import is_temporary, words
from quail.services.authd.settings import Serve
from quail.users.check import Login

MAX_WORDS = 1000  # bytes for the log
_CLIENT, _WORDS = 3, 4  # descriptors
_F_SETSIG = 10  # fcntl(2)


def run(
    client: int,
    authd: socket.socket,
    life: int,
    login: Login,
    *,
    serve: Serve,
    maildir: str,
    rest: bytes,
    name: str,
    nofile: tuple[int, int],
    system: bool,
) -> NoReturn:
    """The life of the process. life: descriptor whose end means serve's. name: what ps shows. system: whether to become
    the user.
    """
    said = ""
    connection = os.fstat(client)
    try:
        trouble = "the process can't become the user"
        try:
            kept = [client, authd.fileno(), *_alarm(life)]
            uid, gid = (login.uid, login.gid) if system else (None, None)
            shed.become(name, kept, nofile=nofile, uid=uid, gid=gid)
            trouble = "the home can't be entered"
            os.chdir(login.home)
        except OSError as error:
            said = f"can't be served: {trouble}: {words(error)}"
            for fd in (_CLIENT, client):  # in its new place, or in its old one yet
                if _is(fd, connection):
                    _tell(fd, serve.excuse(lasting=not is_temporary(error)))
                    break
        else:
            said = serve_until_told(_CLIENT, serve, maildir, rest)
    except BaseException as error:
        said = repr(error)
    finally:
        try:
            os.write(_WORDS, frame(said.encode(errors="backslashreplace")[:MAX_WORDS]))
        finally:
            os._exit(0)


def serve_until_told(client: int, serve: Serve, maildir: str, rest: bytes) -> str:
    """TERM makes the client seem to say nothing more: what it is being answered comes to its end, and nothing after it."""
    try:
        os.set_blocking(client, True)
        sock = socket.socket(fileno=os.dup(client))
    except OSError:
        _tell(client, serve.excuse(lasting=False))
        raise

    def hang_up(*_: object) -> None:
        try:
            sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it has gone already

    signal.signal(signal.SIGTERM, hang_up)
    with sock:
        return serve(client, maildir, rest)


def _is(fd: int, connection: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), connection)
    except OSError:
        return False


def _tell(client: int, reply: bytes) -> None:
    """As far as it takes it at once."""
    try:
        os.write(client, reply)
    except OSError:
        pass


def _alarm(life: int) -> list[int]:
    """A descriptor of our own on the pipe, by which the kernel sends TERM when its other end is closed."""
    try:
        own = os.open(f"/proc/self/fd/{life}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # no /proc
        return []
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, _F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    return [own]
