"""Two descriptors, one peer, a limit on every wait: how a program that serves one connection drives a protocol machine.

Under tcpserver and inetd the descriptors are 0 and 1, and may be a socket, a pipe or a terminal. A socket that blocks gets the
limit as an option of its own (SO_RCVTIMEO, SO_SNDTIMEO, socket(7)), so that a read or a write is one system call, and
TCP_NODELAY, since what is written is whole. All others are polled.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os
import select
import struct

from quail.errors import QuailError

READ_SIZE = 65536
_WRITE_SIZE = 4096  # so much a descriptor that is ready takes without blocking (PIPE_BUF, pipe(7))

_SLOW = "timed out while writing to the peer"


class PeerGoneError(QuailError):
    """Nothing can be written to the peer any more, or it has stopped to read."""


class Pump:
    """Waits at most `timeout` seconds at a time; None waits for ever."""

    __slots__ = ("_input", "_output", "_readable", "_wait", "_writable")

    def __init__(self, input_fd: int, output_fd: int, timeout: float | None) -> None:
        self._input = input_fd
        self._output = output_fd
        self._wait = None if timeout is None else timeout * 1000
        self._readable = self._writable = None
        if not _limited(input_fd, socket.SO_RCVTIMEO, timeout):
            self._readable = select.poll()
            self._readable.register(input_fd, select.POLLIN)
        if not _limited(output_fd, socket.SO_SNDTIMEO, timeout):
            self._writable = select.poll()
            self._writable.register(output_fd, select.POLLOUT)

    def read(self) -> bytes | None:
        """What has come; b"" when no more will come, None when nothing came in time."""
        try:
            if self._readable is not None and not self._readable.poll(self._wait):
                return None
            return os.read(self._input, READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Write all of data; PeerGoneError when that is not possible in time."""
        view = memoryview(data)
        try:
            while view:
                if self._writable is None:
                    view = view[os.write(self._output, view) :]
                elif self._writable.poll(self._wait):
                    view = view[os.write(self._output, view[:_WRITE_SIZE]) :]
                else:
                    raise PeerGoneError(_SLOW)
        except BlockingIOError as error:
            raise PeerGoneError(_SLOW) from error
        except OSError as error:
            raise PeerGoneError(f"unable to write to the peer: {error.strerror}") from error


def _limited(fd: int, option: int, timeout: float | None) -> bool:
    """Have the kernel limit each wait for this socket; False if it is none, or one that never waits."""
    try:
        if not os.get_blocking(fd):
            return False
        link = socket.socket(fileno=fd)
    except OSError:
        return False
    try:
        seconds, rest = divmod(max(1, int((timeout or 0) * 1e6)) if timeout is not None else 0, 1_000_000)
        link.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, rest))
        if link.family in (socket.AF_INET, socket.AF_INET6):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        return False
    finally:
        link.detach()
    return True
