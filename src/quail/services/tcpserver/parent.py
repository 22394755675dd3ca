"""The parent of tcpserver: accept, fork, count. Between two connections it waits for the next one, or for a child's end.

A child that runs a program of ours may serve several connections, one after another (again.py).
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import _socket as socket  # the public module takes as long to load as the interpreter itself
import errno
import gc
import os
import select
import sys
from _collections_abc import Callable

from quail.errors import EXIT_TEMPORARY
from quail.net.ucspi import Address
from quail.oserrors import words
from quail.services.tcpserver.again import Idle, Link, pair, serve_on
from quail.services.tcpserver.child import NO_ADDRESS, Child, Visit, say, set_options, unable_to_run
from quail.services.tcpserver.settings import ALL, ERRORS, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

Spawn = Callable[[list[bytes], dict[bytes, bytes], int], int]
"""Starts a program with an environment and a connection on descriptors 0 and 1; its process id. OSError, as of exec."""

_SHORT_OF = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_RESTS = 1000  # milliseconds that nothing is accepted when the machine has run out of something
_GONE = (BlockingIOError, InterruptedError, ConnectionError)  # a client that has not waited


class Parent:
    """One listener and the children that serve its connections."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        child: Child,
        spawn: Spawn | None,
        environ: dict[bytes, bytes],
    ) -> None:
        """Handles TERM and the ends of children from now on.

        `environ` is what the program gets besides what is told of its connection. `spawn` runs a program that is not ours.
        """
        self._settings = settings
        self._listener = listener
        self._child = child
        self._environ = environ
        # Nothing is to be asked, judged or logged in the child's name, so that it need not run any code of ours.
        self._spawn = None if settings.verbosity == ALL or settings.takes_time else spawn
        # A child that is another program at once has its handlers and descriptors taken away by exec.
        self._leaves = settings.takes_time or spawn is None
        self._children: set[int] = set()  # those that have a connection
        self._links: dict[int, Link] = {}  # by descriptor
        self._idle = Idle()
        # The kernel's handler writes here, so that no child's end is missed between a look and a wait.
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ends = select.poll()
        self._ends.register(self._woken, select.POLLIN)
        self._all = select.poll()
        self._all.register(self._woken, select.POLLIN)
        self._all.register(listener.fileno(), select.POLLIN)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
        # Exec makes the default of a handler, but goes on to ignore what is ignored: so these need no work in a child.
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, _nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGCHLD))

    def serve(self) -> "NoReturn":
        """Serve until a TERM, which leaves the children running."""
        gc.collect()
        gc.freeze()
        self._tell_status()
        limit, woken = self._settings.limit, self._woken
        while True:
            ready = (self._all if len(self._children) < limit else self._ends).poll(self._idle.patience())
            accepting = False
            for fd, _ in ready:
                if fd == woken:
                    self._reap()
                elif fd in self._links:
                    self._hear(self._links[fd])
                else:
                    accepting = True
            for link in self._idle.overdue():
                self._let_go(link)
            if accepting:
                self._accept()

    def _accept(self) -> None:
        try:
            # The method behind accept(), which asks the kernel for what is known here.
            fd, remote = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
            connection = socket.socket(self._listener.family, socket.SOCK_STREAM, 0, fileno=fd)
        except _GONE:
            return
        except OSError as error:
            if error.errno in _SHORT_OF:
                self._ends.poll(_RESTS)
            return
        if self._settings.verbosity == ALL:
            self._tell_status(1)
        pid = 0
        try:
            if len(self._idle):
                pid = self._handed(connection, remote)
            if not pid:
                visit = Visit(connection, remote, self._settings, self._environ)
                pid = self._spawned(visit) if self._spawn is not None else self._forked(visit)
        except OSError as error:
            say(self._settings, ERRORS, NO_ADDRESS + words(error).encode())
        finally:
            connection.close()
        if pid:
            self._children.add(pid)
        else:
            self._tell_status()

    def _drop(self, why: bytes) -> None:
        say(self._settings, ERRORS, b"warning: dropping connection, " + why)

    def _spawned(self, visit: Visit) -> int:
        """The process id of the program, 0 if it can't be run."""
        assert self._spawn is not None
        set_options(visit.connection, self._settings)
        try:
            return self._spawn(self._settings.command, visit.environ, visit.connection.fileno())
        except OSError as error:
            self._drop(unable_to_run(self._settings, error))
            return 0

    def _handed(self, connection: socket.socket, remote: Address) -> int:
        """The process id of a child that was waiting for a connection; 0 if there is none any more."""
        while (link := self._idle.take()) is not None:
            if link.give(connection, remote):
                return link.pid
            self._let_go(link)
        return 0

    def _forked(self, visit: Visit) -> int:
        """The child's process id, 0 if there can't be one; does not return in the child."""
        own = its = None
        if self._spawn is None:
            try:
                own, its = pair()
            except OSError:
                pass  # there are more children than descriptors for links: this one serves once
        try:
            pid = os.fork()
        except OSError as error:
            self._drop(b"unable to fork: " + words(error).encode())
            return 0
        if pid:
            if own is not None and its is not None:
                its.close()
                self._watch(Link(own), pid)
            return pid
        try:
            if self._leaves:
                self._leave()
            if own is not None and its is not None:
                own.close()  # else the link would never end for this child
                serve_on(self._child, visit, its, self._next_visit)
            code = self._child.serve(visit)
        except BaseException as error:
            say(self._settings, ERRORS, b"fatal: this is a bug: %b" % os.fsencode(repr(error)))
            sys.excepthook(*sys.exc_info())
            code = EXIT_TEMPORARY
        os._exit(code)

    def _next_visit(self, connection: socket.socket, remote: Address) -> Visit:
        return Visit(connection, remote, self._settings, self._environ)

    def _watch(self, link: Link, pid: int) -> None:
        link.pid = pid
        fd = link.socket.fileno()
        self._links[fd] = link
        for poll in (self._ends, self._all):
            poll.register(fd, select.POLLIN)

    def _let_go(self, link: Link) -> None:
        """The child ends as soon as it has nothing to do, if it has not ended."""
        fd = link.socket.fileno()
        if self._links.pop(fd, None) is not None:
            for poll in (self._ends, self._all):
                poll.unregister(fd)
        link.socket.close()

    def _hear(self, link: Link) -> None:
        status = link.status()
        if status is None:  # it has ended, or become another program: wait() will tell
            self._idle.forget(link)
            self._let_go(link)
            return
        self._ended(link.pid, status)
        if not self._idle.put(link):
            self._let_go(link)

    def _leave(self) -> None:
        """In a child that is not to be another program at once: what is the parent's alone goes."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._listener.detach())
        os.close(self._woken)
        os.close(self._wake)
        for link in self._links.values():  # of other children, which would not hear when the parent ends
            os.close(link.socket.detach())

    def _reap(self) -> None:
        try:
            while os.read(self._woken, 4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for link in [link for link in self._links.values() if link.pid == pid]:
                self._hear_last(link)
            self._ended(pid, status)

    def _hear_last(self, link: Link) -> None:
        """Of a child that has ended: what it has said of its session counts, not how it ended afterwards."""
        status = link.status()
        if status is not None:
            self._ended(link.pid, status)
        self._idle.forget(link)
        self._let_go(link)

    def _ended(self, pid: int, status: int) -> None:
        if pid in self._children:  # others had no connection, or were left by whoever exec'd this process
            self._children.remove(pid)
            say(self._settings, ALL, b"end %d status %d" % (pid, status))
            self._tell_status()

    def _tell_status(self, more: int = 0) -> None:
        say(self._settings, ALL, b"status: %d/%d" % (len(self._children) + more, self._settings.limit))


def _nothing(_number: int, _frame: object) -> None:
    pass


def fill_standard() -> None:
    """Open descriptors 0 to 2 on nothing if they are closed, so that no socket gets their numbers."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def hand_over(settings: Settings, listener: socket.socket, port_told: Callable[[bytes], None]) -> None:
    """Tell the port if that is wanted, and give up descriptors 0 and 1."""
    if settings.print_port:
        port_told(b"%d\n" % listener.getsockname()[1])
    nothing = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.close(nothing)
