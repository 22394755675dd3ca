"""Addresses for the network of a box, by netlink(7): whole prefixes that are local by a route, as `ip route add local` does it.

Such an address is no interface's, so a host that binds it is a stranger to Quail. Call these inside the box's network.
"""

import os
import socket
import struct

_NEWADDR, _NEWROUTE = 20, 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 1, 4, 0x200, 0x400
_DST, _OIF = 1, 4
_ADDRESS, _LOCAL = 1, 2
_TABLE_LOCAL, _BOOT, _HOST_SCOPE, _LOCAL_TYPE, _NO_DAD = 255, 3, 254, 2, 2


def _ask(kind, payload):
    head = struct.pack("=IHHII", 16 + len(payload), kind, _REQUEST | _ACK | _EXCLUSIVE | _CREATE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(head + payload)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


def _packed(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data


def local_prefix(prefix):
    """Every address of the prefix is this network's."""
    address, _, bits = prefix.partition("/")
    family, packed = _packed(address)
    scope = _HOST_SCOPE if family == socket.AF_INET else 0
    payload = struct.pack("=BBBBBBBBI", family, int(bits), 0, 0, _TABLE_LOCAL, _BOOT, scope, _LOCAL_TYPE, 0)
    loopback = struct.pack("=I", socket.if_nametoindex("lo"))
    _ask(_NEWROUTE, payload + _attribute(_DST, packed) + _attribute(_OIF, loopback))


def own_address(address):
    """One more address of the loopback interface: Quail takes it for this host's own."""
    family, packed = _packed(address)
    bits = 8 * len(packed)
    payload = struct.pack(
        "=BBBBI", family, bits, _NO_DAD if family == socket.AF_INET6 else 0, 0, socket.if_nametoindex("lo")
    )
    _ask(_NEWADDR, payload + _attribute(_LOCAL, packed) + _attribute(_ADDRESS, packed))
