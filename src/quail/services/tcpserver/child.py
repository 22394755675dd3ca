"""What a child of tcpserver does with its connection: who is it, may it come in, and then it is the program.

The order is the original's: the log's pid line, socket options, banner, names, ident, rules, the log's ok or deny line.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os
from _collections_abc import Callable, Iterator

from quail.cdb.reader import Reader
from quail.cdb.window import Window
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, PeerError
from quail.net import ident, ucspi
from quail.net.tcprules import addresses, instructions
from quail.oserrors import words
from quail.services.tcpserver.settings import ALL, ERRORS, Settings

_Address = ucspi.Address
Run = Callable[[list[bytes], dict[bytes, bytes]], int]
"""Becomes a program with an environment: returns its exit code if this process may go on (again.py). OSError, as of exec."""


NO_ADDRESS = b"warning: dropping connection, unable to get local address: "


class _DroppedError(Exception):
    """The connection can't be served; the text is what the log says of it."""


class Visit:
    """A connection that has been accepted, and what can be said of it without asking anybody.

    It is made by the parent: a child that does the same pays for each page of memory that it is the first to touch.
    """

    __slots__ = ("connection", "environ", "local", "remote", "shown_local", "shown_remote")

    def __init__(
        self, connection: socket.socket, remote: _Address, settings: Settings, usual: dict[bytes, bytes]
    ) -> None:
        """`usual` is the environment that does not depend on the peer. OSError if the connection has gone."""
        self.connection = connection
        self.remote = remote
        self.local: _Address = connection.getsockname()
        self.shown_local = ucspi.six(self.local[0]).encode()
        self.shown_remote = ucspi.six(remote[0]).encode()
        self.environ = {
            **usual,
            **ucspi.known(self.local, remote, as_six=settings.as_six),
        }
        if settings.local_host is not None:
            self.name_local_host(settings.local_host)

    def name_local_host(self, name: bytes | None) -> None:
        """Put it into the environment, if there is one."""
        if name is not None:
            self.environ[b"TCPLOCALHOST"] = self.environ[b"TCP6LOCALHOST"] = name


class Child:
    """All that does not depend on the peer, made before there is any."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._name_of: Callable[[str, bool], bytes | None] | None = None
        if settings.wants_names:
            from quail.net import lookup  # noqa: PLC0415  loads an event loop, which -H and -l make unnecessary

            self._name_of = lambda ip, confirmed: lookup.name_of(ip, confirmed=confirmed)

    def serve(self, visit: Visit) -> int:
        """Serve the connection, which becomes descriptors 0 and 1. Returns an exit code if no program runs, or if one has run
        and this process may go on.
        """
        try:
            return self._serve(visit)
        except _DroppedError as error:
            say(self._settings, ERRORS, b"warning: dropping connection, " + error.args[0])
            return EXIT_TEMPORARY

    def gone(self, error: OSError) -> int:
        """The exit code for a client of which nothing can be known any more."""
        say(self._settings, ERRORS, NO_ADDRESS + words(error).encode())
        return EXIT_TEMPORARY

    def _serve(self, visit: Visit) -> int:
        settings, environ = self._settings, visit.environ
        pid = 0
        if settings.verbosity == ALL:
            pid = os.getpid()
            say(settings, ALL, b"pid %d from %b" % (pid, environ[b"TCPREMOTEIP"]))
        set_options(visit.connection, settings)
        if settings.banner:
            self._greet(visit.connection.fileno())
        local_host = settings.local_host
        if local_host is None:
            local_host = self._name(visit.local[0])
            visit.name_local_host(local_host)
        host = info = None
        if settings.look_up_host:
            host = self._name(visit.remote[0], confirmed=settings.paranoid)
            if host is not None:
                environ[b"TCPREMOTEHOST"] = environ[b"TCP6REMOTEHOST"] = host
        if settings.look_up_info:
            info = ident.ask(visit.local, visit.remote, settings.ident_timeout)
            if info is not None:
                info = info.partition(b"\0")[0]  # no more fits into an environment
                environ[b"TCPREMOTEINFO"] = environ[b"TCP6REMOTEINFO"] = info
        deny = settings.rules is not None and self._judge(settings.rules, visit, host, info)
        if settings.verbosity == ALL:
            local = ucspi.field(local_host), visit.shown_local, visit.local[1]
            remote = ucspi.field(host), visit.shown_remote, ucspi.field(info), visit.remote[1]
            say(settings, ALL, b"%b %d %b:%b:%d %b:%b:%b:%d" % (b"deny" if deny else b"ok", pid, *local, *remote))
        if deny:
            return EXIT_PERMANENT
        fd = visit.connection.fileno()
        os.dup2(fd, 0)
        os.dup2(fd, 1)
        visit.connection.close()
        try:
            return self._run(settings.command, environ)
        except OSError as error:
            raise _DroppedError(unable_to_run(settings, error)) from error

    def _greet(self, fd: int) -> None:
        view = memoryview(self._settings.banner)
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError as error:
            raise _DroppedError(b"unable to print banner: " + words(error).encode()) from error

    def _name(self, ip: str, *, confirmed: bool = False) -> bytes | None:
        assert self._name_of is not None
        return self._name_of(ip, confirmed)

    def _judge(self, path: bytes, visit: Visit, host: bytes | None, info: bytes | None) -> bool:
        """Whether the rules deny the peer; the variables that they set are put into the environment."""
        try:
            for order in _orders(path, ucspi.four(visit.remote[0]).encode(), host, info):
                if order is None:
                    return True
                name, equals, value = order.partition(b"=")
                if name and equals:
                    visit.environ[name] = value
        except FileNotFoundError as error:
            if not self._settings.missing_rules_allow:
                raise _unreadable(path, error) from error
        except (OSError, PeerError) as error:
            raise _unreadable(path, error) from error
        return False


def set_options(connection: socket.socket, settings: Settings) -> None:
    """-O and -D."""
    try:
        if not settings.keep_ip_options:
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
        if settings.no_delay:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass  # a connection without them is as good


def unable_to_run(settings: Settings, error: OSError) -> bytes:
    """Why a connection is dropped when there is no program for it."""
    return b"unable to run %b: %b" % (settings.command[0], words(error).encode())


def say(settings: Settings, least: int, line: bytes) -> None:
    """A line of the log, if so much is wanted."""
    if settings.verbosity >= least:
        try:
            os.write(2, b"tcpserver: %b\n" % line)
        except OSError:
            pass  # nobody is there to be told


def _orders(path: bytes, ip: bytes, host: bytes | None, info: bytes | None) -> Iterator[bytes | None]:
    """What the first rule for this peer says; the file is opened afresh. OSError, PeerError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    reader = Reader(Window(fd, os.fstat(fd).st_size))
    for address in addresses(ip, host, info):
        data = reader.get(address)
        if data is not None:
            yield from instructions(data)
            return


def _unreadable(path: bytes, error: OSError | PeerError) -> _DroppedError:
    why = words(error) if isinstance(error, OSError) else "protocol error"
    return _DroppedError(b"unable to read %b: %b" % (path, why.encode()))
