"""The IP addresses of this host, as texts: what `user@[192.0.2.1]` may mean (control/localiphost). Linux."""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import array
import fcntl
import struct

from quail.errors import TemporaryError
from quail.oserrors import words

_SIOCGIFCONF = 0x8912  # netdevice(7): struct ifconf is a length and a pointer to struct ifreq
_NAME = 16  # bytes of an interface's name; its sockaddr follows, in which family and port come before the address
_ADDRESS = _NAME + 4
_ENTRY = _NAME + (24 if struct.calcsize("P") == 8 else 16)
_SIX = "/proc/net/if_inet6"


def local_addresses() -> frozenset[bytes]:
    """IPv4 and IPv6 addresses of all interfaces, and 0.0.0.0, which every host takes for itself."""
    found = {b"0.0.0.0"}
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            found.update(_four(sock.fileno()))
        finally:
            sock.close()
        with open(_SIX, "rb") as file:
            found.update(_six(line) for line in file)
    except FileNotFoundError:
        pass  # a kernel without IPv6
    except OSError as error:
        raise TemporaryError(f"unable to figure out my IP addresses: {words(error)}") from error
    return frozenset(found)


def _four(sock: int) -> list[bytes]:
    room = 64
    while True:
        buffer = array.array("B", bytes(room * _ENTRY))
        request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        size = struct.unpack_from("i", fcntl.ioctl(sock, _SIOCGIFCONF, request))[0]
        if size < len(buffer):  # else there may be more than we had room for
            break
        room *= 2
    entries = range(_ADDRESS, size, _ENTRY)
    return [socket.inet_ntoa(buffer[at : at + 4].tobytes()).encode() for at in entries]


def _six(line: bytes) -> bytes:
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0].decode())).encode()
