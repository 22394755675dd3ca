"""Two descriptors, one peer, a limit on every wait: how a program that serves one connection drives a protocol machine.

Under tcpserver and inetd the descriptors are 0 and 1, and may be a socket, a pipe or a terminal.
"""

import os
import select

from quail.errors import QuailError

READ_SIZE = 65536
_WRITE_SIZE = 4096  # so much a descriptor that is ready takes without blocking (PIPE_BUF, pipe(7))


class PeerGoneError(QuailError):
    """Nothing can be written to the peer any more, or it has stopped to read."""


class Pump:
    """Waits at most `timeout` seconds at a time; None waits for ever."""

    __slots__ = ("_input", "_output", "_readable", "_wait", "_writable")

    def __init__(self, input_fd: int, output_fd: int, timeout: float | None) -> None:
        self._input = input_fd
        self._output = output_fd
        self._wait = None if timeout is None else timeout * 1000
        self._readable = select.poll()
        self._readable.register(input_fd, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(output_fd, select.POLLOUT)

    def read(self) -> bytes | None:
        """What has come; b"" when no more will come, None when nothing came in time."""
        try:
            if not self._readable.poll(self._wait):
                return None
            return os.read(self._input, READ_SIZE)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Write all of data; PeerGoneError when that is not possible in time."""
        view = memoryview(data)
        try:
            while view:
                if not self._writable.poll(self._wait):
                    raise PeerGoneError("timed out while writing to the peer")
                view = view[os.write(self._output, view[:_WRITE_SIZE]) :]
        except OSError as error:
            raise PeerGoneError(f"unable to write to the peer: {error.strerror}") from error
