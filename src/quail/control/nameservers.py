"""control/nameservers: which name servers are asked instead of those of /etc/resolv.conf (quail.control.endpoints)."""

from quail.control.endpoints import Server, is_address, parse_servers

__all__ = ["DNS_PORT", "Server", "is_address", "parse_nameservers"]

DNS_PORT = 53


def parse_nameservers(path: str, data: bytes) -> list[Server]:
    """The servers in their order. ConfigError for a line that is none."""
    return parse_servers(path, data, DNS_PORT, "a name server", "192.0.2.53:5353 or [2001:db8::53]:5353")
