"""The relays of control/smtproutes: where mail goes without a look at the MX records (qmail-remote(8)).

    relay   relay:port   192.0.2.1:port   [192.0.2.1]:port   [2001:db8::1]:port   qmtp: or lmtp: before any of these
    lmtp:/path/to/socket

`qmtp:` and `lmtp:` are Quail's own: the relay takes QMTP, or LMTP by TCP or by a Unix socket. Digits after such a word are a
port, so that qmtp:209 is a relay by the name of qmtp.
"""

from quail.control.reader import MAX_SOCKET_PATH, ip_version
from quail.errors import ConfigError

SMTP, QMTP, LMTP = "smtp", "qmtp", "lmtp"
PORTS = {SMTP: 25, QMTP: 209, LMTP: 24}  # LMTP has none of its own, and must not have 25 (RFC 2033 s5); 24 is usual

_HOST = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
_REMEDY = "write host:relay, host:relay:port, or host: for its MX"


class Relay:
    """host: name or IP address, without brackets. is_ip: which of the two. protocol: SMTP, QMTP or LMTP.

    Of a Unix socket host is the path, which begins with /, and port 0.
    """

    __slots__ = ("host", "is_ip", "port", "protocol")

    def __init__(self, host: bytes, *, is_ip: bool, port: int, protocol: str) -> None:
        self.host, self.is_ip, self.port, self.protocol = host, is_ip, port, protocol


def parse_relay(path: str, number: int, value: bytes) -> Relay | None:
    """The relay that the value of a line names, None if it is empty: use MX. ConfigError names path and line `number`."""

    def wrong(reason: str, remedy: str = _REMEDY) -> ConfigError:
        return ConfigError(path, number, f"{value.decode('ascii', 'backslashreplace')!r} {reason}", remedy)

    if not value:
        return None
    if b" " in value or b"\t" in value:
        raise wrong("has a blank in it", "remove the blank")
    protocol, rest = SMTP, value
    first, colon, after = value.partition(b":")
    word = first.decode("ascii", "replace").lower()
    if colon and word in (QMTP, LMTP) and not after.isdigit():
        protocol, rest = word, after
    if protocol == LMTP and rest[:1] == b"/":
        if rest[-1:] == b"/" or len(rest) > MAX_SOCKET_PATH:
            raise wrong("can't be the path of a socket", f"write a path of at most {MAX_SOCKET_PATH} bytes after lmtp:")
        return Relay(rest, is_ip=False, port=0, protocol=LMTP)
    if rest[:1] == b"[":
        host, bracket, port = rest[1:].partition(b"]")
        is_ip = bracket != b"" and ip_version(host.decode("latin-1")) != 0
        if not is_ip:
            raise wrong("has no IP address in its brackets")
        if port and port[:1] != b":":
            raise wrong("goes on after its brackets")
        colon, port = port[:1], port[1:]
    else:
        host, colon, port = rest.partition(b":")
        if ip_version(rest.decode("latin-1")) == 6:
            raise wrong("is an IPv6 address without brackets", "write it in brackets: [2001:db8::1]")
        is_ip = ip_version(host.decode("latin-1")) == 4
        if not host or host.translate(None, _HOST):
            raise wrong("names no host")
        if not is_ip and host.rstrip(b".").rpartition(b".")[2].isdigit():
            raise wrong("is neither a name nor an IP address")  # no top-level domain is a number
    if colon and not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise wrong("has no port after its last colon", "write a number from 1 to 65535 there")
    return Relay(host, is_ip=is_ip, port=int(port) if colon else PORTS[protocol], protocol=protocol)
