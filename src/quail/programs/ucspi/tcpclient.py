"""usage: tcpclient [ -46hHrRdDqQv ] [ -i localip ] [ -p localport ] [ -T timeoutconn ] [ -l localname ] [ -t timeoutinfo ] [ -I interface ] host port program

Connects to a TCP port and runs program, with the connection as its descriptors 6 and 7 (tcpclient(1)). Exits as the program does; 100
for a wrong call, 111 if there is no connection or the program can't be run.
"""  # noqa: E501  the usage line is the original's

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os

from quail.control.reader import ip_version
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, QuailError, TemporaryError, UsageError
from quail.net import ident, options, ucspi
from quail.net.dial import Dialler
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import program, say

_SILENT, _ERRORS, _ALL = range(3)
_SWITCHES = {
    "q": ("verbosity", _SILENT), "Q": ("verbosity", _ERRORS), "v": ("verbosity", _ALL),
    "h": ("look_up_host", True), "H": ("look_up_host", False),
    "r": ("look_up_info", True), "R": ("look_up_info", False),
    "d": ("no_delay", False), "D": ("no_delay", True),
}  # fmt: skip
_FROM_PEER, _TO_PEER = 6, 7


class _Settings:
    """What the options say, but for those of the connection. ident_timeout is in seconds."""

    __slots__ = ("ident_timeout", "local_host", "look_up_host", "look_up_info", "no_delay", "verbosity")

    def __init__(self) -> None:
        self.verbosity = _ERRORS
        self.look_up_host = self.look_up_info = True
        self.no_delay = False
        self.ident_timeout = 26
        self.local_host: bytes | None = None


@program("tcpclient")
def main(args: list[bytes]) -> int | None:
    settings = _Settings()
    try:
        return _main(args, settings)
    except QuailError as error:
        if settings.verbosity != _SILENT:
            raise
        return EXIT_PERMANENT if isinstance(error, UsageError) else error.exit_code


def _main(args: list[bytes], settings: _Settings) -> int | None:
    found, words_left = options.parse("tcpclient", args, "dDvqQhHrRi:p:t:T:l:46I:")
    dialler = Dialler(lambda text: say(f"tcpclient: {text}") if settings.verbosity != _SILENT else None)
    for letter, value in found:
        _option(settings, dialler, letter, value)
    if len(words_left) < 3:
        raise UsageError
    host, port, *command = words_left
    connection = dialler.dial(host, port)
    if connection is None:
        return EXIT_TEMPORARY
    environ = {**os.environb}
    for name, told in _told(settings, dialler, connection).items():
        if told is not None:
            environ[name] = told
        else:
            environ.pop(name, None)
    _hand_over(connection)
    try:
        run_program(command, environ)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(command[0])}: {words(error)}") from error


def _option(settings: _Settings, dialler: Dialler, letter: str, value: bytes) -> None:
    if letter in _SWITCHES:
        setattr(settings, *_SWITCHES[letter])
    elif letter == "i":
        dialler.local_ip = value.decode("ascii", "replace")
        if not ip_version(dialler.local_ip):
            raise UsageError
    elif letter == "p":
        dialler.local_port = options.number(value) % (1 << 16)
    elif letter == "t":
        settings.ident_timeout = options.number(value)
    elif letter == "T":
        first, plus, second = value.partition(b"+")
        plus = plus if not first.strip(b"0123456789") else b""
        dialler.patience = (options.number(first), options.number(second) if plus else dialler.patience[1])
    elif letter == "l":
        settings.local_host = value
    elif letter == "4":
        dialler.four_only = True
    elif letter == "6":
        dialler.as_six = True
    else:
        dialler.interface = value


def _told(settings: _Settings, dialler: Dialler, connection: socket.socket) -> dict[bytes, bytes | None]:
    """What the program is told of the connection: TCP variables, for IPv6 too, as by the original. None: unset."""
    local, remote = connection.getsockname(), connection.getpeername()
    if settings.verbosity == _ALL:
        say(f"tcpclient: connected to {dialler.shown(remote[0])} port {remote[1]}")
    if settings.no_delay:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    local_host = settings.local_host if settings.local_host is not None else _name(local[0])
    host = _name(remote[0]) if settings.look_up_host else None
    info = ident.ask(local, remote, settings.ident_timeout) if settings.look_up_info else None
    if info is not None:
        info = info.partition(b"\0")[0]  # no more fits into an environment
    known = ucspi.known(local, remote, as_six=dialler.as_six)
    return {
        **{name: value for name, value in known.items() if not name.startswith(b"TCP6")},
        b"TCPLOCALHOST": local_host,
        b"TCPREMOTEHOST": host,
        b"TCPREMOTEINFO": info,
    }


def _name(ip: str) -> bytes | None:
    from quail.net import lookup  # noqa: PLC0415  loads an event loop, which -H and -l make unnecessary

    return lookup.name_of(ip)


def _hand_over(connection: socket.socket) -> None:
    """Make the connection the descriptors that a client has it on."""
    fd = connection.detach()
    for place in (_FROM_PEER, _TO_PEER):
        if fd == place:
            os.set_inheritable(fd, True)
        else:
            os.dup2(fd, place)
    if fd not in (_FROM_PEER, _TO_PEER):
        os.close(fd)


if __name__ == "__main__":
    main()
