"""Descriptors passed over Unix sockets (SCM_RIGHTS, unix(7))."""

import array
import socket
from _collections_abc import Iterable

MAX_AT_ONCE = 64  # accepted with one read
SPACE = socket.CMSG_SPACE(4 * MAX_AT_ONCE)
FLAGS = int(socket.MSG_CMSG_CLOEXEC)  # a number: combining enums costs each read, and touches pages after a fork


def received(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what recvmsg gave, in their order; they are the caller's to close."""
    found = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return found.tolist()


def rights(descriptor: int) -> list[tuple[int, int, bytes]]:
    """What sendmsg needs to pass one descriptor on."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]).tobytes())]
