"""Servers that a control file names by address: lines ADDRESS, ADDRESS:PORT or [IPV6]:PORT.

An IPv6 address may end in %INTERFACE.
"""

from quail.control.reader import ip_version, parse_list
from quail.errors import ConfigError

Server = tuple[str, int]
"""An IP address, that of IPv6 perhaps with %SCOPE, and a port."""


def parse_servers(path: str, data: bytes, port: int, what: str, example: str) -> list[Server]:
    """The servers in their order; `port` is that of lines without one. ConfigError for a line that is no server, which says
    that it is not the address of `what`, and what `example` looks like.
    """
    return [parse_server(path, number, text, port, what, example) for number, text in parse_list(path, data)]


def parse_server(path: str, number: int, line: bytes, usual_port: int, what: str, example: str) -> Server:
    """One line."""
    text = line.decode("ascii", "backslashreplace")
    if is_address(text):
        return text, usual_port
    host, _, port = text.rpartition(":")
    if text[:1] == "[" and text[-1:] == "]":
        host, port = text, str(usual_port)
    six = host[:1] == "[" and host[-1:] == "]"
    address = host[1:-1] if six else host
    # Without brackets it can't be told where an IPv6 address ends.
    if not is_address(address) or six != (":" in address):
        remedy = f"write an IP address, or one with a port: {example}"
        raise ConfigError(path, number, f"{text} is not the address of {what}", remedy)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ConfigError(path, number, f"{text} does not end in a port", "write a number up to 65535 after the colon")
    return address, int(port)


def is_address(text: str) -> bool:
    """Whether it is an IP address, that of IPv6 perhaps with a scope."""
    address, scoped, scope = text.partition("%")
    version = ip_version(address)
    return version == 6 and bool(scope) == bool(scoped) if version != 4 else not scoped
