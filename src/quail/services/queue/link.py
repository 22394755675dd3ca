"""The queue's connection to lspawn: jobs out, reports in. A plain socket, because descriptors travel with jobs."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

from quail.errors import PeerError
from quail.net import descriptors, lspawn_protocol
from quail.net.frames import Splitter
from quail.queue.group import Group

_AGAIN = 0.2  # seconds between attempts to connect
_CHUNK = 1 << 16
_MAX_BUFFERS = 64


class Link:
    """Reconnects by itself; `lost` is called when deliveries in flight have lost their service, `ready` when jobs can go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        *,
        report: Callable[[int, bytes, bytes], None],
        lost: Callable[[], None],
        ready: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """Call connect() once."""
        self._loop = loop
        self._path = path
        self._report = report
        self._lost = lost
        self._ready = ready
        self._log = log
        self._socket: socket.socket | None = None
        self._splitter = Splitter(lspawn_protocol.MAX_REPORT)
        self._out: deque[tuple[bytes | memoryview, int]] = deque()
        self._flush_due = False
        self._closed = False
        self._complained = False

    def connect(self) -> None:
        """Now, and again until it works."""
        if self._closed:
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self._path)
        except OSError as error:
            sock.close()
            if not self._complained:
                self._complained = True
                self._log(f"alert: oh no! no connection to {self._path}: {error}; trying again")
            self._loop.call_later(_AGAIN, self.connect)
            return
        self._complained = False
        self._socket = sock
        self._splitter = Splitter(lspawn_protocol.MAX_REPORT)
        self._loop.add_reader(sock.fileno(), self._read)
        self._ready()

    def start(self, group: Group) -> bool:
        """Hand a group of one over; False when that can't be done now."""
        if self._socket is None:
            return False
        message = group.message
        (delivery,) = group.deliveries
        flags, body, descriptor = 0, message.body or b"", -1
        if message.fd >= 0:
            flags, body = lspawn_protocol.DESCRIPTOR, b""
            try:
                # Opened anew, not duplicated: users' programs move the place in it, each for itself.
                descriptor = os.open(f"/proc/self/fd/{message.fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                self._log(f"warning: no descriptor for delivery {delivery.number}: {error}; will try again later")
                return False
        job = lspawn_protocol.encode_job(delivery.number, group.sender, delivery.address, flags, body)
        self._out.append((job, descriptor))
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        return True

    def _flush(self) -> None:
        self._flush_due = False
        sock, out = self._socket, self._out
        if sock is None:
            return
        try:
            while out:
                data, descriptor = out[0]
                if descriptor >= 0:
                    sent = sock.sendmsg([data], descriptors.rights(descriptor))
                    os.close(descriptor)
                    out[0] = (data, -1)
                else:
                    buffers: list[bytes | memoryview] = []
                    for other, its_descriptor in out:
                        if its_descriptor >= 0 or len(buffers) == _MAX_BUFFERS:
                            break
                        buffers.append(other)
                    sent = sock.sendmsg(buffers)
                while sent:
                    data, _ = out[0]
                    if sent < len(data):
                        out[0] = (memoryview(data)[sent:], -1)
                        break
                    sent -= len(data)
                    out.popleft()
        except BlockingIOError:
            self._loop.add_writer(sock.fileno(), self._writable)
        except OSError:
            self._end()

    def _writable(self) -> None:
        assert self._socket is not None
        self._loop.remove_writer(self._socket.fileno())
        self._flush()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        try:
            for payload in self._splitter.feed(data):
                report = lspawn_protocol.decode_report(payload)
                self._report(report.tag, report.letter, report.text)
        except PeerError as error:
            self._log(f"alert: {error}")
            self._end()
            return
        self._ready()

    def _end(self) -> None:
        """The service is gone: all that was on its way is not known to be delivered."""
        self._drop()
        self._log("alert: oh no! lost spawn connection! connecting again")
        self._lost()
        self._loop.call_later(_AGAIN, self.connect)

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for _, descriptor in self._out:
            if descriptor >= 0:
                os.close(descriptor)
        self._out.clear()

    def close(self) -> None:
        """For good."""
        self._closed = True
        self._drop()
