"""What remote delivery goes by: one state of its control files, and of this host's addresses."""

import ipaddress

from quail.control.reader import Control
from quail.delivery.remote.routes import SmtpRoutes
from quail.net.interfaces import local_addresses


class Settings:
    """Not changed after it is made: HUP makes another. connect_timeout, timeout: seconds.

    own_names: names of this host in lower case. sources: the local address for connections, by IP version (4, 6).
    """

    __slots__ = ("connect_timeout", "helo", "own_addresses", "own_names", "routes", "sources", "timeout", "use_ipv6")

    def __init__(self, control: Control) -> None:
        """ConfigError for a malformed file, TemporaryError for one that can't be read."""
        self.helo = control.required("helohost")
        self.connect_timeout = control.integer("timeoutconnect")
        self.timeout = control.integer("timeoutremote")
        self.routes = SmtpRoutes(control.pairs("smtproutes"), control.path("smtproutes"))
        self.sources = control.addresses("outgoingip")
        self.own_names = {name.lower() for name in (self.helo, control.required("me"))}
        self.own_addresses: frozenset[str] = frozenset()
        self.use_ipv6 = False
        self.look_at_interfaces()

    def look_at_interfaces(self) -> None:
        """Take the addresses that this host has now. TemporaryError if the kernel does not tell."""
        self.own_addresses = frozenset(address.decode() for address in local_addresses())
        # Without an address that reaches beyond the link there is no use in asking for others' IPv6 addresses.
        self.use_ipv6 = any(
            ":" in address and not (ip := ipaddress.ip_address(address)).is_link_local and not ip.is_loopback
            for address in self.own_addresses
        )

    def is_own(self, address: str) -> bool:
        """Whether mail sent to this IP address would come back to this host (RFC 5321 s5.1)."""
        if address in self.own_addresses:
            return True
        ip = ipaddress.ip_address(address)
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        if mapped is not None:
            return self.is_own(str(mapped))
        return ip.is_loopback or ip.is_unspecified
