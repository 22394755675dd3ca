"""The queue's connections to lspawn and rspawn: jobs out, reports in. Plain sockets, because descriptors travel with jobs."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

from quail.errors import PeerError
from quail.net import descriptors, lspawn_protocol, rspawn_protocol
from quail.net.frames import Splitter
from quail.net.unix_stream import connect
from quail.queue.group import Group

_AGAIN = 0.2  # seconds between attempts to connect
_CHUNK = 1 << 16
_MAX_BUFFERS = 64
_NEEDS_UTF8 = (b"smtputf8", b"")  # attribute of a message that was handed in so


Report = tuple[int, bytes, bytes, bool]
"""Number of a delivery; K, Z or D; text; whether the host was down."""


class Wire(Protocol):
    """How jobs and reports of one delivery service are written."""

    path: str
    max_report: int

    def job(self, group: Group, *, by_descriptor: bool) -> bytes:
        """A frame. `by_descriptor`: the body comes along with it."""

    def report(self, frame: bytes) -> Report:
        """What a frame says; PeerError."""


class LocalWire:
    """lspawn's."""

    path = "run/lspawn.sock"
    max_report = lspawn_protocol.MAX_REPORT

    @staticmethod
    def job(group: Group, *, by_descriptor: bool) -> bytes:
        (delivery,) = group.deliveries
        flags = lspawn_protocol.DESCRIPTOR if by_descriptor else 0
        body = b"" if by_descriptor else group.message.body or b""
        return lspawn_protocol.encode_job(delivery.number, group.sender, delivery.address, flags, body)

    @staticmethod
    def report(frame: bytes) -> Report:
        report = lspawn_protocol.decode_report(frame)
        return report.tag, report.letter, report.text, False


class RemoteWire:
    """rspawn's."""

    path = "run/rspawn.sock"
    max_report = rspawn_protocol.MAX_REPORT

    @staticmethod
    def job(group: Group, *, by_descriptor: bool) -> bytes:
        message = group.message
        flags = rspawn_protocol.DESCRIPTOR if by_descriptor else 0
        if _NEEDS_UTF8 in message.accepted.attributes:
            flags |= rspawn_protocol.UTF8
        body = b"" if by_descriptor else message.body or b""
        recipients = [(delivery.number, delivery.address) for delivery in group.deliveries]
        return rspawn_protocol.encode_job(group.sender, flags, recipients, body)

    @staticmethod
    def report(frame: bytes) -> Report:
        return rspawn_protocol.decode_report(frame)


class Link:
    """Reconnects by itself; `lost` is called when deliveries in flight have lost their service, `ready` when jobs can go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wire: Wire,
        *,
        report: Callable[[int, bytes, bytes, bool], None],
        lost: Callable[[], None],
        ready: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """Call connect() once."""
        self._loop = loop
        self._wire = wire
        self._report = report
        self._lost = lost
        self._ready = ready
        self._log = log
        self._socket: socket.socket | None = None
        self._splitter = Splitter(self._wire.max_report)
        self._out: deque[tuple[bytes | memoryview, int]] = deque()
        self._flush_due = False
        self._closed = False
        self._complained = False

    def connect(self) -> None:
        """Now, and again until it works."""
        if self._closed:
            return
        try:
            sock = connect(self._wire.path)
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._log(f"alert: oh no! no connection to {self._wire.path}: {error}; trying again")
            self._loop.call_later(_AGAIN, self.connect)
            return
        self._complained = False
        self._socket = sock
        self._splitter = Splitter(self._wire.max_report)
        self._loop.add_reader(sock.fileno(), self._read)
        self._ready()

    def start(self, group: Group) -> bool:
        """Hand a group over; False when that can't be done now."""
        if self._socket is None:
            return False
        descriptor = -1
        if group.message.fd >= 0:
            try:
                # Opened anew, not duplicated: users' programs move the place in it, each for itself.
                descriptor = os.open(f"/proc/self/fd/{group.message.fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                number = group.deliveries[0].number
                self._log(f"warning: no descriptor for delivery {number}: {error}; will try again later")
                return False
        self._out.append((self._wire.job(group, by_descriptor=descriptor >= 0), descriptor))
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
                self._report(*self._wire.report(payload))
        except PeerError as error:
            self._log(f"alert: {error}")
            self._end()
            return
        self._ready()

    def _end(self) -> None:
        """The service is gone: all that was on its way is not known to be delivered."""
        self._drop()
        self._log(f"alert: oh no! lost spawn connection! connecting to {self._wire.path} again")
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
