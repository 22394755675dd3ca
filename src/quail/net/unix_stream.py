"""Connections to the sockets of this machine's own services."""

import socket


def connect(path: str) -> socket.socket:
    """Connected to a stream socket of the file system, non-blocking. OSError, and nothing is left open, if nobody listens, too
    many wait, or there are no more descriptors.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
