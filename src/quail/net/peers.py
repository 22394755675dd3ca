"""Which addresses of peers count as one where something is counted for each: connections, wrong passwords."""

from ipaddress import IPv6Address, ip_address


def network(peer: str) -> bytes:
    """What a peer counts as: an address of IPv4 by itself, one of IPv6 with its /64, which one guest has whole. What is no
    address counts by itself.
    """
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer.encode()
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:8].hex().encode()
        address = address.ipv4_mapped
    return str(address).encode()
