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

_Address = ident.Address
Run = Callable[[list[bytes], dict[bytes, bytes]], object]
"""Becomes a program with an environment; returns only by OSError."""


class _DroppedError(Exception):
    """The connection can't be served; the text is what the log says of it."""


class Child:
    """All that does not depend on the peer, made before there is any."""

    def __init__(self, settings: Settings, run: Run, environ: dict[bytes, bytes]) -> None:
        """`environ` is what the program gets, but for what is told of the connection."""
        self._settings = settings
        self._run = run
        self._environ = environ
        self._name_of: Callable[[str, bool], bytes | None] | None = None
        if settings.wants_names:
            from quail.net import lookup  # noqa: PLC0415  loads an event loop, which -H and -l make unnecessary

            self._name_of = lambda ip, confirmed: lookup.name_of(ip, confirmed=confirmed)

    def serve(self, fd: int, family: int, remote: _Address) -> int:
        """Serve the connection, which becomes descriptors 0 and 1. Returns an exit code if the program does not run."""
        try:
            return self._serve(fd, family, remote)
        except _DroppedError as error:
            self._say(ERRORS, b"warning: dropping connection, " + error.args[0])
            return EXIT_TEMPORARY

    def _serve(self, fd: int, family: int, remote: _Address) -> int:
        settings = self._settings
        pid = os.getpid()
        if settings.verbosity == ALL:
            shown = ucspi.six(remote[0]) if settings.as_six else ucspi.four(remote[0])
            self._say(ALL, b"pid %d from %b" % (pid, shown.encode()))
        connection = socket.socket(family, socket.SOCK_STREAM, 0, fileno=fd)
        self._set_options(connection)
        if settings.banner:
            self._greet(fd)
        try:
            local: _Address = connection.getsockname()
        except OSError as error:
            raise _DroppedError(b"unable to get local address: " + words(error).encode()) from error
        local_host = self._name(local[0]) if settings.local_host is None else settings.local_host
        host = self._name(remote[0], confirmed=settings.paranoid) if settings.look_up_host else None
        info = ident.ask(local, remote, settings.ident_timeout) if settings.look_up_info else None
        if info is not None:
            info = info.partition(b"\0")[0]  # no more fits into an environment
        environ = self._environ
        told = [
            *ucspi.protocol(remote[0], as_six=settings.as_six),
            *ucspi.ends(
                "LOCAL", local[0], local[1], local_host, as_six=settings.as_six, interface=_interface(local[0])
            ),
            *ucspi.ends("REMOTE", remote[0], remote[1], host, as_six=settings.as_six),
            *ucspi.information(info),
        ]
        for name, value in told:
            if value is not None:
                environ[name] = value
        deny = settings.rules is not None and self._judge(settings.rules, ucspi.four(remote[0]).encode(), host, info)
        if settings.verbosity == ALL:
            ends = (
                ucspi.field(local_host), ucspi.six(local[0]).encode(), local[1],
                ucspi.field(host), ucspi.six(remote[0]).encode(), ucspi.field(info), remote[1],
            )  # fmt: skip
            self._say(ALL, b"%b %d %b:%b:%d %b:%b:%b:%d" % (b"deny" if deny else b"ok", pid, *ends))
        if deny:
            return EXIT_PERMANENT
        for standard in (0, 1):
            os.dup2(fd, standard)
        connection.close()
        try:
            self._run(settings.command, environ)
        except OSError as error:
            raise _DroppedError(b"unable to run %b: %b" % (settings.command[0], words(error).encode())) from error
        return EXIT_TEMPORARY  # it never comes here

    def _set_options(self, connection: socket.socket) -> None:
        try:
            if not self._settings.keep_ip_options:
                connection.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
            if self._settings.no_delay:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # a connection without them is as good

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

    def _judge(self, path: bytes, ip: bytes, host: bytes | None, info: bytes | None) -> bool:
        """Whether the rules deny the peer; the variables that they set are put into the environment."""
        try:
            for order in _orders(path, ip, host, info):
                if order is None:
                    return True
                name, equals, value = order.partition(b"=")
                if name and equals:
                    self._environ[name] = value
        except FileNotFoundError as error:
            if not self._settings.missing_rules_allow:
                raise _unreadable(path, error) from error
        except (OSError, PeerError) as error:
            raise _unreadable(path, error) from error
        return False

    def _say(self, least: int, line: bytes) -> None:
        """One line in one write, so that those of other processes do not get into it."""
        say(self._settings, least, line)


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


def _interface(ip: str) -> bytes | None:
    return os.fsencode(ip.partition("%")[2]) or None
