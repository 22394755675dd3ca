"""Asking a peer's host who holds its end of a connection (RFC 1413). Whatever it says is the peer's word, no more."""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import select
import time

from quail.errors import TemporaryError
from quail.net.ucspi import Address

PORT = 113
_LONGEST = 257  # bytes of an answer's text that are kept
_MOST_READ = 4096  # bytes of an answer that are looked at
_LONGEST_WAIT = 1 << 20  # seconds: a dozen days; the kernel takes no more than twice that
_BLANKS = b" \t\r"


def ask(local: Address, remote: Address, timeout: float) -> bytes | None:
    """Who the remote end of the connection belongs to; None if that can't be found out in `timeout` seconds altogether.

    The text is what follows the third colon of the answer, without its blanks: of an error, nothing.
    """
    deadline = time.monotonic() + min(timeout, _LONGEST_WAIT)
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError:
        return None
    try:
        sock.bind((local[0], 0, *local[2:]))
        _connect(sock, (remote[0], PORT, *remote[2:]), deadline)
        sock.send(b"%d , %d\r\n" % (remote[1], local[1]))
        return _text(sock, deadline)
    except (OSError, TemporaryError):
        return None
    finally:
        sock.close()


def _connect(sock: socket.socket, address: tuple[object, ...], deadline: float) -> None:
    try:
        sock.connect(address)
    except BlockingIOError:
        _wait(sock, select.POLLOUT, deadline)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect") from None


def _wait(sock: socket.socket, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(sock.fileno(), event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TemporaryError("timed out")


def _text(sock: socket.socket, deadline: float) -> bytes | None:
    answer = b""
    while len(answer) < _MOST_READ:
        _wait(sock, select.POLLIN, deadline)
        part = sock.recv(_MOST_READ - len(answer))
        if not part:
            return None  # before the end of the line: no answer
        answer += part
        line, ended, _ = answer.partition(b"\n")
        text = b":".join(line.translate(None, _BLANKS).split(b":")[3:])
        if ended or len(text) >= _LONGEST:
            return text[:_LONGEST]
    return None
