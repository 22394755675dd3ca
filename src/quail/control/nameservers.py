"""control/nameservers: which name servers are asked instead of those of /etc/resolv.conf.

Lines ADDRESS, ADDRESS:PORT or [IPV6]:PORT. An IPv6 address may end in %INTERFACE.
"""

from quail.control.reader import ip_version, parse_list
from quail.errors import ConfigError

DNS_PORT = 53
Server = tuple[str, int]
"""An IP address, that of IPv6 perhaps with %SCOPE, and a port."""


def parse_nameservers(path: str, data: bytes) -> list[Server]:
    """The servers in their order. ConfigError for a line that is none."""
    return [_server(path, number, text) for number, text in parse_list(path, data)]


def _server(path: str, number: int, line: bytes) -> Server:
    text = line.decode("ascii", "backslashreplace")
    if is_address(text):
        return text, DNS_PORT
    host, _, port = text.rpartition(":")
    if text[:1] == "[" and text[-1:] == "]":
        host, port = text, str(DNS_PORT)
    six = host[:1] == "[" and host[-1:] == "]"
    address = host[1:-1] if six else host
    # Without brackets it can't be told where an IPv6 address ends.
    if not is_address(address) or six != (":" in address):
        remedy = "write an IP address, or one with a port: 192.0.2.53:5353 or [2001:db8::53]:5353"
        raise ConfigError(path, number, f"{text} is not the address of a name server", remedy)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ConfigError(path, number, f"{text} does not end in a port", "write a number up to 65535 after the colon")
    return address, int(port)


def is_address(text: str) -> bool:
    """Whether it is an IP address, that of IPv6 perhaps with a scope."""
    address, scoped, scope = text.partition("%")
    version = ip_version(address)
    return version == 6 and bool(scope) == bool(scoped) if version != 4 else not scoped
