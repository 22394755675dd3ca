"""A plain poll loop, for services that fork or that answer from memory: epoll, streams of frames, signals as descriptors.

No thread, no timer objects and no callbacks from anywhere else: a process that runs it may fork at any time.
"""

import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from types import FrameType

from quail.errors import PeerError
from quail.net import descriptors
from quail.net.frames import Splitter

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
CHUNK = 1 << 18  # bytes read at once
MAX_BUFFERS = 64  # sent with one write


class Loop:
    """Descriptors and what to call when they are ready. A callback gets the epoll event mask."""

    def __init__(self) -> None:
        """One epoll descriptor, closed on exec."""
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        self._arrived: list[int] = []
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self.unflushed: set[FrameStream] = set()

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call back while fd is ready for events (level-triggered); hang-ups are always told."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events from now on."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget fd; call before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call back from once(), never in the middle of other code."""
        if self._wakeup is None:
            self._wakeup = socket.socketpair()
            for end in self._wakeup:
                end.setblocking(False)
            signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
            self.add(self._wakeup[0].fileno(), READ, self._drain)
        self._signals[number] = callback
        signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.append(number)

    def _drain(self, _events: int) -> None:
        assert self._wakeup is not None
        try:
            while self._wakeup[0].recv(4096):
                pass
        except BlockingIOError:
            pass

    def once(self, timeout: float | None) -> None:
        """Write what streams were given, wait up to `timeout` seconds (None: for ever), and serve what is ready."""
        while self.unflushed:
            self.unflushed.pop().flush()
        for fd, events in self._epoll.poll(-1 if timeout is None else max(timeout, 0)):
            callback = self._callbacks.get(fd)  # an earlier callback of this round may have removed it
            if callback is not None:
                callback(events)
        while self._arrived:
            self._signals[self._arrived.pop(0)]()

    def close(self) -> None:
        """Give back the descriptors; signals are left to the caller."""
        self._epoll.close()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for end in self._wakeup:
                end.close()


class Listener:
    """Accepts connections on a listening socket; when the process runs out of descriptors it waits for resume()."""

    def __init__(self, loop: Loop, sock: socket.socket, on_connection: Callable[[socket.socket], None]) -> None:
        """Accepts from now on."""
        self._loop = loop
        self._sock = sock
        self._on_connection = on_connection
        self._accepting = False
        self.resume()

    def resume(self) -> None:
        """Accept again: call when a connection has ended."""
        if not self._accepting:
            self._accepting = True
            self._loop.add(self._sock.fileno(), READ, self._ready)

    def stop(self) -> None:
        """Leave further connections to whoever inherits the socket next."""
        if self._accepting:
            self._accepting = False
            self._loop.remove(self._sock.fileno())

    def _ready(self, _events: int) -> None:
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            self.stop()
            return
        self._on_connection(connection)


class FrameStream:
    """A non-blocking stream of frames in a loop, with descriptors if wanted.

    on_frames gets each lot of frames (and the stream), on_end is called once when the peer has gone, broke the format, or
    an error ended it; the stream is closed by then. Descriptors that come along are queued in `descriptors`, in the order
    of their frames.
    """

    __slots__ = (
        "_events", "_high_water", "_loop", "_on_end", "_on_frames", "_out", "_paused", "_space", "_splitter", "descriptors",
        "sock", "unsent",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        limit: int,
        on_frames: "Callable[[FrameStream, list[bytes]], None]",
        on_end: "Callable[[FrameStream, str], None]",
        *,
        high_water: int = sys.maxsize,
        takes_descriptors: bool = False,
    ) -> None:
        """`limit` is the longest frame accepted; while more than `high_water` is unsent nothing is read. Both in bytes.

        takes_descriptors: whether the peer may send some; from others they end the stream, before they are this process's.
        """
        sock.setblocking(False)
        self.sock = sock
        self.descriptors: deque[int] = deque()
        self.unsent = 0  # bytes
        self._loop = loop
        self._splitter = Splitter(limit)
        self._on_frames = on_frames
        self._on_end = on_end
        self._out: deque[tuple[bytes | memoryview, int]] = deque()
        self._high_water = high_water
        self._paused = False
        self._space = descriptors.SPACE if takes_descriptors else 0
        self._events = READ
        loop.add(sock.fileno(), READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self.flush()
        if events & ~WRITE and self.sock.fileno() >= 0:
            self._read()

    def _read(self) -> None:
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(CHUNK, self._space, descriptors.FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))
            return
        if ancillary:
            self.descriptors.extend(descriptors.received(ancillary))
        if flags & socket.MSG_CTRUNC:
            self._end("descriptors were lost: not asked for, too many at once, or none left in this process")
            return
        if not data:
            self._end("")
            return
        try:
            frames = self._splitter.feed(data)
        except PeerError as error:
            self._end(str(error))
            return
        if frames:
            self._on_frames(self, frames)

    def drain(self) -> None:
        """Read what has come, without waiting for the loop: of a peer that is known to have ended."""
        if self.sock.fileno() >= 0:
            self._read()

    def send(self, data: bytes, descriptor: int = -1) -> None:
        """Queue whole frames for the peer; they are written together when the loop goes round, or by flush().

        The descriptor goes with the first byte and is closed here once sent.
        """
        if self.sock.fileno() < 0:
            if descriptor >= 0:
                os.close(descriptor)
            return
        self._out.append((data, descriptor))
        self.unsent += len(data)
        self._loop.unflushed.add(self)

    def flush(self) -> None:
        """Write what the socket takes now; the loop writes the rest."""
        out = self._out
        while out and self.sock.fileno() >= 0:
            buffers: list[bytes | memoryview] = [out[0][0]]
            descriptor = out[0][1]
            if descriptor < 0:
                for data, other in out:
                    if other >= 0 or len(buffers) > MAX_BUFFERS:
                        break
                    buffers.append(data)
                del buffers[0]
            try:
                if descriptor >= 0:
                    sent = self.sock.sendmsg(buffers, descriptors.rights(descriptor))
                else:
                    sent = self.sock.sendmsg(buffers)
            except BlockingIOError:
                break
            except OSError:
                # The peer reads no more, but what it has sent before it went must still be read: reading finds the end.
                self._discard()
                break
            self._forget(sent)
        self._listen()

    def _forget(self, sent: int) -> None:
        self.unsent -= sent
        out = self._out
        while sent:
            data, descriptor = out.popleft()
            if descriptor >= 0:
                os.close(descriptor)
            if sent < len(data):
                out.appendleft((memoryview(data)[sent:], -1))
                return
            sent -= len(data)

    def pause(self, paused: bool) -> None:
        """Stop reading from the peer, or go on. A peer that has gone is noticed all the same."""
        self._paused = paused
        self._listen()

    def _listen(self) -> None:
        events = 0 if self._paused or self.unsent > self._high_water else READ
        if self._out:
            events |= WRITE
        if events != self._events and self.sock.fileno() >= 0:
            self._events = events
            self._loop.change(self.sock.fileno(), events)

    def _end(self, reason: str) -> None:
        self.close()
        self._on_end(self, reason)

    def close(self) -> None:
        """Close the socket and every descriptor not handed on; calls nothing back."""
        if self.sock.fileno() < 0:
            return
        self._loop.remove(self.sock.fileno())
        self.sock.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self._discard()

    def _discard(self) -> None:
        for _, descriptor in self._out:
            if descriptor >= 0:
                os.close(descriptor)
        self._out.clear()
        self.unsent = 0
