"""Hosts, ports and interfaces, as command lines of ucspi-tcp name them. What can't be found is said in the original's words."""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os

from quail.control.reader import ip_version
from quail.errors import TemporaryError
from quail.net.options import number

_PORTS = 1 << 16


def addresses(host: bytes, *, want_ipv6: bool) -> list[str]:
    """The IP addresses of a host, at least one; of an address, itself without its brackets. TemporaryError."""
    text = host.decode("ascii", "replace")
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if ip_version(bare.partition("%")[0]):
        return [bare]
    from quail.net import lookup  # noqa: PLC0415  loads an event loop, which an address makes unnecessary

    name = os.fsdecode(host)
    try:
        found = lookup.addresses(host, want_ipv6=want_ipv6)
    except TemporaryError as error:
        raise TemporaryError(f"temporarily unable to figure out IP address for {name}: {error}") from error
    if not found:
        raise TemporaryError(f"no IP address for {name}")
    return found


def port(text: bytes) -> int:
    """The port of a service, by its number or its name. TemporaryError."""
    if not text.strip(b"0123456789"):
        return number(text) % _PORTS
    try:
        return socket.getservbyname(os.fsdecode(text), "tcp")
    except (OSError, ValueError) as error:
        raise TemporaryError(f"unable to figure out port number for {os.fsdecode(text)}") from error


def interface(name: bytes) -> int:
    """Its number; 0 if there is none of this name: the kernel then says what is wrong with an address that needs one."""
    try:
        return socket.if_nametoindex(os.fsdecode(name)) if name else 0
    except OSError:
        return 0
