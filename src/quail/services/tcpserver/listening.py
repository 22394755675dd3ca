"""The socket that tcpserver accepts connections on, and the account that it goes on as."""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import errno
import os

from quail.errors import TemporaryError
from quail.net import naming
from quail.net.ucspi import MAPPED
from quail.oserrors import words
from quail.services.tcpserver.settings import Settings

_ANY = frozenset((b"", b"0"))
_LARGEST_ID = (1 << 32) - 2


def listen(settings: Settings) -> socket.socket:
    """A non-blocking listener: on an IPv4 socket if the address is one of IPv4, since programs may look what they have got;
    else on an IPv6 socket, if the machine has IPv6 and -4 is not given, so that both kinds of peers may come if the address
    is that of all interfaces. TemporaryError with the words of the original.
    """
    address = _address(settings)
    port = naming.port(settings.port)
    try:
        listener = _socket(address, settings)
    except OSError as error:
        raise TemporaryError(f"unable to create socket: {words(error)}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(_place(listener.family, address, port, settings.interface))
    except OSError as error:
        raise TemporaryError(f"unable to bind: {words(error)}") from error
    try:
        listener.listen(settings.backlog)
    except OSError as error:
        raise TemporaryError(f"unable to listen: {words(error)}") from error
    return listener


def _socket(address: str, settings: Settings) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    if not settings.four_only and (not address or ":" in address):
        try:
            listener = socket.socket(socket.AF_INET6, kind)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            return listener
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EINVAL, errno.EPFNOSUPPORT}:
                raise
    return socket.socket(socket.AF_INET, kind)


def _place(family: int, address: str, port: int, interface: bytes) -> tuple[str, int] | tuple[str, int, int, int]:
    """What bind() takes. OSError for an IPv6 address where there are none."""
    if family == socket.AF_INET:
        if ":" in address:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return address or "0.0.0.0", port  # noqa: S104  it is asked for
    if not address:
        return "::", port, 0, 0
    bare, _, scope = address.partition("%")
    return bare, port, 0, naming.interface(interface or os.fsencode(scope))


def _address(settings: Settings) -> str:
    """The IP address of the host, one of IPv4 in its usual form; empty for all of this machine's."""
    if settings.host in _ANY:
        return ""
    found = naming.addresses(settings.host, want_ipv6=not settings.four_only)[0]
    return found.removeprefix(MAPPED) if "." in found else found


def drop_privileges(settings: Settings) -> None:
    """Go on as -u and -g say, with no other group. TemporaryError."""
    for wanted, name in ((settings.gid, "gid"), (settings.uid, "uid")):
        if not wanted:
            continue
        try:
            if wanted > _LARGEST_ID:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if name == "gid":
                os.setgroups([wanted])
                os.setgid(wanted)
            else:
                os.setuid(wanted)
        except OSError as error:
            raise TemporaryError(f"unable to set {name}: {words(error)}") from error
