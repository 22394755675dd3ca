"""usage: tcp-env [ -rR ] [ -t timeout ] program [ arg ... ]

Run a program with what there is to tell of the TCP connection on descriptor 0 in its environment (tcp-environ(5)), for inetd.
Exits as the program does, or 111 if it does not come to that. Source: the page tcp-env(1).
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os

from quail.errors import QuailError, TemporaryError, UsageError
from quail.net import ident, options, ucspi
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import program

_USAGE = "usage: tcp-env [ -rR ] [ -t timeout ] program [ arg ... ]"
_IDENT_TIMEOUT = 30  # seconds
_PROTOCOLS = (b"TCP", b"TCP6")
_TROUBLE = b"softdnserror"


@program("tcp-env")
def main(args: list[bytes]) -> None:
    try:
        _main(args)
    except (QuailError, OSError) as error:
        if _is_connection(2):
            os._exit(TemporaryError.exit_code)  # inetd's: whoever is at the other end has no use for our words
        if isinstance(error, OSError):
            raise
        raise TemporaryError(str(error) or _USAGE) from error


def _main(args: list[bytes]) -> None:
    found, command = options.parse("tcp-env", args, "rRt:")
    if not command:
        raise UsageError
    asks, timeout = True, _IDENT_TIMEOUT
    for letter, value in found:
        if letter == "t":
            timeout = options.number(value)
        else:
            asks = letter == "r"
    environ = dict(os.environb)
    if environ.get(b"PROTO") not in _PROTOCOLS:
        environ = {**ucspi.without(environ), **_told(timeout if asks else None)}
    try:
        run_program(command, environ)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(command[0])}: {words(error)}") from error


def _told(ident_timeout: int | None) -> dict[bytes, bytes]:
    """The variables of the connection. TemporaryError if there is none."""
    try:
        connection = socket.socket(fileno=os.dup(0))
        local, remote = connection.getsockname(), connection.getpeername()
        is_tcp = connection.family in {socket.AF_INET, socket.AF_INET6} and connection.type == socket.SOCK_STREAM
        connection.close()
    except OSError as error:
        raise TemporaryError(f"unable to get the ends of the connection: {words(error)}") from error
    if not is_tcp:
        raise TemporaryError("descriptor 0 is not a TCP connection")
    told = ucspi.known(local, remote)
    for end, ip in ((b"LOCAL", local[0]), (b"REMOTE", remote[0])):
        name = _name(ip)
        if name is not None:
            told[b"TCP%bHOST" % end] = told[b"TCP6%bHOST" % end] = name
    if ident_timeout is not None:
        text = ident.ask(local, remote, ident_timeout)
        if text is not None:
            # No more fits into an environment.
            told[b"TCPREMOTEINFO"] = told[b"TCP6REMOTEINFO"] = text.partition(b"\0")[0]
    return told


def _name(ip: str) -> bytes | None:
    from quail.net import lookup  # noqa: PLC0415  loads an event loop

    try:
        return lookup.first_name(ip)
    except TemporaryError:
        return _TROUBLE


def _is_connection(fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(0), os.fstat(fd))
    except OSError:
        return False


if __name__ == "__main__":
    main()
