"""Handing a message to a QMQP server, in the words of qmail-queue's exit codes.

Imported by a program that runs once per message: keep it lean.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import errno
from _collections_abc import Iterable

from quail.control.endpoints import Server
from quail.errors import PeerError
from quail.qmqp.client import ACCEPTED, LATER, NEVER, Reply, request
from quail.qmtp.netstring import MAX_LENGTH
from quail.queue import exits

CONNECT_PATIENCE = 10.0  # seconds for a server to take the connection
PATIENCE = 60.0  # seconds for each piece of the message, and for the reply
_READ_SIZE = 4096
_PIECE = 1 << 16

_CODES = {ACCEPTED: exits.QUEUED, LATER: exits.REFUSED_FOR_NOW, NEVER: exits.REFUSED}


def send(servers: list[Server], sender: bytes, recipients: list[bytes], size: int, chunks: Iterable[bytes]) -> int:
    """Give the message, `size` bytes in `chunks`, to the first server that takes a connection; the exit code.

    No other is tried once there is a connection: that one may have taken the message.
    """
    head, tail = request(sender, recipients, size)
    if len(head) + size + len(tail) > MAX_LENGTH:
        return exits.REFUSED  # by every server there is
    code = exits.NO_CONFIGURATION
    for server in servers:
        connection = _connect(server)
        if isinstance(connection, int):
            code = connection
            continue
        try:
            return _exchange(connection, head, chunks, tail)
        finally:
            connection.close()
    return code


def _connect(server: Server) -> socket.socket | int:
    """A connection, or the code of what has kept it from being made."""
    ip, port = server
    bare, _, scope = ip.partition("%")
    six = ":" in bare
    try:
        connection = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError:
        return exits.NO_NETWORK
    try:
        connection.settimeout(CONNECT_PATIENCE)
        connection.connect((bare, port, 0, _index(scope)) if six else (bare, port))
    except OSError as error:
        connection.close()
        late = isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT
        return exits.CONNECT_TIMEOUT if late else exits.CONNECT_FAILED
    return connection


def _index(interface: str) -> int:
    try:
        return int(interface) if interface.isdigit() else socket.if_nametoindex(interface) if interface else 0
    except OSError:
        return 0  # the kernel says what is wrong with it


def _exchange(connection: socket.socket, head: bytes, chunks: Iterable[bytes], tail: bytes) -> int:
    """What the server makes of it. Whoever can't be heard may have taken it."""
    connection.settimeout(PATIENCE)
    reply = Reply()
    try:
        waiting = head
        for chunk in chunks:
            waiting += chunk
            if len(waiting) >= _PIECE:
                _write(connection, waiting)
                waiting = b""
        _write(connection, waiting + tail)
        letter = None
        while letter is None:
            data = connection.recv(_READ_SIZE)
            if not data:
                return exits.BROKEN_TALK
            letter = reply.feed(data)
    except (OSError, PeerError):
        return exits.BROKEN_TALK
    return _CODES[letter]


def _write(connection: socket.socket, data: bytes) -> None:
    """The time is for each piece that the server takes, not for them all."""
    view = memoryview(data)
    while view:
        view = view[connection.send(view, socket.MSG_NOSIGNAL) :]
