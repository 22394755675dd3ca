"""The clients that ask a host one thing and show what it says: who@, date@, finger@, http@, tcpcat; and mconnect, for more.

Complaints are those of tcpclient, which their originals are made of.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os

from quail.errors import EXIT_TEMPORARY, TemporaryError
from quail.net.copying import READ_SIZE, Way, exchange, write_all
from quail.net.dial import Dialler
from quail.net.line_ends import AddCr, Plain


def ask(host: bytes, port: bytes, request: bytes, stream: Plain) -> int:
    """Send the request, and copy the answer through a filter to stdout. 0, or an exit code if there is no connection."""
    connection = _dial(host, port)
    if connection is None:
        return EXIT_TEMPORARY
    try:
        connection.sendall(request)
        data = connection.recv(READ_SIZE)
    except OSError:
        data = b""  # the host does not want to talk
    while data:
        write_all(1, stream.feed(data))
        try:
            data = connection.recv(READ_SIZE)
        except OSError:
            break
    write_all(1, stream.close())
    return 0


def talk(host: bytes, port: bytes) -> int:
    """Send the lines of stdin with a CR each, and copy what comes to stdout, until the host ends the connection. Exit code."""
    connection = _dial(host, port)
    if connection is None:
        return EXIT_TEMPORARY
    back = connection.fileno()
    exchange(Way(0, os.dup(back), AddCr(), closes=False), Way(back, 1, Plain(), closes=False))
    return 0


def _dial(host: bytes, port: bytes) -> socket.socket | None:
    try:
        return Dialler(_say).dial(host, port)
    except TemporaryError as error:
        _say(f"fatal: {error}")
        return None


def _say(text: str) -> None:
    try:
        write_all(2, os.fsencode(f"tcpclient: {text}\n"))
    except OSError:
        pass  # nobody is there to be told
