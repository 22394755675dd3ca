"""What tcpserver and tcpclient tell the program that they run, and the log, of a connection (UCSPI-1996, tcp-environ(5)).

As in the IPv6 builds of ucspi-tcp: TCP* have the addresses of an IPv4 connection in their usual form, TCP6* the same ones as
IPv6 addresses (::ffff:192.0.2.1). What is not known is not in the environment at all.
"""

import os
from _collections_abc import Iterable, Mapping

MAPPED = "::ffff:"
_LONGEST_FIELD = 100
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_MASKED = bytes(byte if 33 <= byte <= 126 and byte not in b"%:" else ord("?") for byte in range(256))

_TOLD = frozenset((
    b"TCP6INTERFACE",
    *(b"TCP%b%b%b" % (kind, end, what) for kind in (b"", b"6") for end in (b"LOCAL", b"REMOTE")
      for what in (b"IP", b"PORT", b"HOST", b"INFO")),
))  # fmt: skip

Address = tuple[str, int] | tuple[str, int, int, int]
"""As getsockname and getpeername give it."""


def four(ip: str) -> str:
    """An IPv4 address in its usual form, if it was written as one of IPv6; any other as it is, without its interface."""
    if ip.startswith(MAPPED) and "." in ip:
        return ip[len(MAPPED) :]
    return _shortest(ip.partition("%")[0])


def six(ip: str) -> str:
    """An address in the form of IPv6, without its interface."""
    return _shortest(ip.partition("%")[0]) if ":" in ip else MAPPED + ip


def _shortest(ip: str) -> str:
    """The IPv6 builds write :: for a lone zero too, which inet_ntop does not; rules are written that way."""
    if ":" not in ip or "::" in ip:
        return ip
    groups = ip.split(":")
    if "0" not in groups:
        return ip
    at = groups.index("0")
    return ":".join(groups[:at]) + "::" + ":".join(groups[at + 1 :])


def is_six(ip: str) -> bool:
    """Whether it is an address of IPv6 alone."""
    return ":" in four(ip)


def known(local: Address, remote: Address, *, as_six: bool = False) -> dict[bytes, bytes]:
    """The variables of a connection that need no look-up, given both ends as getsockname and getpeername give them.

    `as_six`: everything as for an IPv6 connection. TCP6INTERFACE is there if the addresses count on one interface alone.
    """
    local_ip, _, interface = local[0].partition("%")
    wide_local, wide_remote = six(local_ip).encode(), six(remote[0]).encode()
    local_port, remote_port = b"%d" % local[1], b"%d" % remote[1]
    found = {
        b"PROTO": b"TCP6" if as_six or is_six(local_ip) else b"TCP",
        b"TCPLOCALIP": wide_local if as_six else four(local_ip).encode(),
        b"TCP6LOCALIP": wide_local,
        b"TCPLOCALPORT": local_port,
        b"TCP6LOCALPORT": local_port,
        b"TCPREMOTEIP": wide_remote if as_six else four(remote[0]).encode(),
        b"TCP6REMOTEIP": wide_remote,
        b"TCPREMOTEPORT": remote_port,
        b"TCP6REMOTEPORT": remote_port,
    }
    if interface:
        found[b"TCP6INTERFACE"] = os.fsencode(interface)
    return found


def without(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """An environment less all that is told of some other connection."""
    return {name: value for name, value in environ.items() if name not in _TOLD}


def name_text(labels: Iterable[bytes]) -> bytes:
    r"""A name of the DNS as it is told: lower case, and \ooo for bytes that are not a letter, a digit, - or _."""
    return b".".join(
        b"".join(b"%c" % byte if byte in _PLAIN else b"\\%03o" % byte for byte in label.lower()) for label in labels
    )


def field(text: bytes | None) -> bytes:
    """A name or what an ident server says, in a log line: printable, without blanks and colons, cut after 100 bytes."""
    if text is None:
        return b""
    cut = text[:_LONGEST_FIELD].translate(_MASKED)
    return cut + b"..." if len(text) >= _LONGEST_FIELD else cut
