"""Copying streams between descriptors until they end: one way, or two ways between a peer and a program.

No more is read before what was read is written, so memory is bounded, and a reader that is slow slows its writer down.
"""

import os
import select
from _collections_abc import Callable

from quail.net.line_ends import Plain

READ_SIZE = 1 << 16
_STEP = 4096  # so much a descriptor that is ready takes without blocking (PIPE_BUF, pipe(7)); a multiple of 256

Watch = Callable[[bytes], None]
"""Told of everything that is read, before it is written; of b"" at the end."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of data. OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def filtered(stream: Plain, source: int, sink: int) -> None:
    """Copy source to sink, through a filter, to its end. OSError of either."""
    while data := os.read(source, READ_SIZE):
        write_all(sink, stream.feed(data))
    write_all(sink, stream.close())


class Way:
    """One direction: from a descriptor through a filter to another."""

    __slots__ = ("_filter", "_left", "_watch", "closes", "ended", "sink", "source")

    def __init__(
        self, source: int, sink: int, stream: Plain, watch: Watch | None = None, *, closes: bool = True
    ) -> None:
        """`closes`: the sink is closed when the source has ended or can't be read."""
        self.source, self.sink, self.closes = source, sink, closes
        self.ended = False
        self._filter, self._watch = stream, watch
        self._left = b""

    @property
    def wants(self) -> tuple[int, int]:
        """A descriptor, and the event to wait for there."""
        return (self.sink, select.POLLOUT) if self._left else (self.source, select.POLLIN)

    def step(self) -> None:
        """Do what the descriptor is ready for. What can't be written or read ends it."""
        try:
            if self._left:
                self._left = self._left[os.write(self.sink, self._left[:_STEP]) :]
            elif data := os.read(self.source, _STEP):
                if self._watch is not None:
                    self._watch(data)
                self._left = self._filter.feed(data)
            else:
                self._finish()
        except BlockingIOError:
            pass  # somebody who shares the descriptor has made it so; poll says when
        except OSError:
            self._stop()

    def _finish(self) -> None:
        left = self._filter.close()
        if self._watch is not None:
            self._watch(b"")
        write_all(self.sink, left)  # a byte at most
        self._stop()

    def _stop(self) -> None:
        self.ended = True
        if self.closes:
            os.close(self.sink)


def exchange(there: Way, back: Way) -> None:
    """Copy both ways until `back` has ended. The four descriptors are different ones."""
    while not back.ended:
        poll = select.poll()
        ways = {}
        for way in (there, back):
            if not way.ended:
                fd, event = way.wants
                ways[fd] = way
                poll.register(fd, event)
        for fd, _ in poll.poll():
            ways[fd].step()
