"""Children of tcpserver that serve one connection after another: what a fork costs is paid once in a hundred connections.

After a session the child tells its exit status, and gets the next connection, over a socket that it shares with the parent.
Which programs may do that is theirs to say (programs/become.py); every other child ends, and the parent hears of it by wait().
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os
import struct
import time
from _collections_abc import Callable

from quail.inherited import be_environment
from quail.net.ucspi import Address
from quail.services.tcpserver.child import Child, Visit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

MOST_SESSIONS = 100  # of one child: what it may have leaked goes with it
MOST_IDLE = 8  # children that wait for a connection
LONGEST_IDLE = 10.0  # seconds
_STATUS = struct.Struct("=i")
_DESCRIPTOR = struct.Struct("=i")
_LONGEST_ADDRESS = 256


class Link:
    """The parent's view of a child: busy with a connection, or idle since a moment of time.monotonic()."""

    __slots__ = ("idle_since", "pid", "sessions", "socket")

    def __init__(self, own: socket.socket) -> None:
        self.socket = own
        self.pid = 0
        self.sessions = 1
        self.idle_since = 0.0

    def give(self, connection: socket.socket, remote: Address) -> bool:
        """Hand the child its next connection, and say whose it is, which the kernel forgets when the client has gone already;
        False if the child has gone.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(connection.fileno()))]
        try:
            self.socket.sendmsg([" ".join(map(str, remote)).encode()], rights, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        self.sessions += 1
        return True

    def status(self) -> int | None:
        """How the session has ended, as wait() would tell it; None if the child has nothing to say, or no more.

        Not waited for: of a child that has ended, a child of its own, such as recordio's, may hold the other end open.
        """
        try:
            data = self.socket.recv(_STATUS.size, socket.MSG_DONTWAIT)
        except OSError:
            return None
        if len(data) < _STATUS.size:
            return None
        status: int = _STATUS.unpack(data)[0]
        return status


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a link; the child's is the second."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


class Idle:
    """Children that wait, the last one first: its memory is warm."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._links: list[Link] = []
        self._clock = clock

    def __len__(self) -> int:
        return len(self._links)

    def put(self, link: Link) -> bool:
        """Keep it, if there are not too many and it has not served too long."""
        if len(self._links) >= MOST_IDLE or link.sessions >= MOST_SESSIONS:
            return False
        link.idle_since = self._clock()
        self._links.append(link)
        return True

    def take(self) -> Link | None:
        """One to serve the next connection."""
        return self._links.pop() if self._links else None

    def forget(self, link: Link) -> None:
        """It has gone."""
        if link in self._links:
            self._links.remove(link)

    def patience(self) -> float | None:
        """Milliseconds until overdue() has something to tell; None if it never will."""
        if not self._links:
            return None
        return max(0.0, self._links[0].idle_since + LONGEST_IDLE - self._clock()) * 1000

    def overdue(self) -> list[Link]:
        """Those that have waited too long; they are forgotten."""
        now, gone = self._clock(), []
        while self._links and self._links[0].idle_since + LONGEST_IDLE <= now:
            gone.append(self._links.pop(0))
        return gone


def serve_on(
    child: Child, visit: Visit, link: socket.socket, next_visit: Callable[[socket.socket, Address], Visit]
) -> "NoReturn":
    """In the child: serve, and go on as long as the parent has connections and the programs let this process live.

    The first connection was accepted before the fork. `next_visit` makes what is known of a later one; OSError if its
    client has gone.
    """
    try:
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (
        OSError
    ):  # root has started tcpserver where -u may not go: no session after this one could be brought back here
        os._exit(child.serve(visit))
    environ = dict(os.environb)
    nothing = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    umask = os.umask(0o077)
    os.umask(umask)
    code = child.serve(visit)
    while True:
        visit.connection.close()  # of a client who was denied it is still open
        be_environment(environ)
        for standard in (0, 1):
            os.dup2(nothing, standard)
        os.umask(umask)
        try:
            os.fchdir(here)
            link.send(_STATUS.pack(code << 8), socket.MSG_NOSIGNAL)
            given = _next(link)
        except OSError:  # the parent has gone
            os._exit(code)
        if given is None:
            os._exit(0)
        connection, remote = given
        try:
            visit = next_visit(connection, remote)
        except OSError as error:
            connection.close()
            code = child.gone(error)
        else:
            code = child.serve(visit)


def _next(link: socket.socket) -> tuple[socket.socket, Address] | None:
    """The next connection, and whose it is; None if there will not be one."""
    data, rights, _, _ = link.recvmsg(_LONGEST_ADDRESS, socket.CMSG_SPACE(_DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC)
    if not data or not rights:
        return None
    ip, port, *more = data.decode().split(" ")
    remote = (ip, int(port), int(more[0]), int(more[1])) if more else (ip, int(port))
    return socket.socket(fileno=_DESCRIPTOR.unpack(rights[0][2])[0]), remote
