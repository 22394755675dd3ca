"""An event loop that a test turns by hand: no sleeping, its own clock, and callbacks from threads in the order they came."""

import queue
from collections import deque


class SteppedLoop:
    """Only what the services under test use of an event loop."""

    def __init__(self):
        self.now = 1000.0
        self._soon = deque()
        self._later = []
        self._count = 0
        self._from_threads = queue.SimpleQueue()
        self.readers = {}
        self.writers = {}

    def time(self):
        return self.now

    def call_soon(self, call, *args):
        self._soon.append((call, args))

    def call_later(self, delay, call, *args):
        self._count += 1
        self._later.append((self.now + delay, self._count, call, args))

    def call_soon_threadsafe(self, call, *args):
        self._from_threads.put((call, args))

    def add_reader(self, fd, call, *args):
        self.readers[fd] = (call, args)

    def remove_reader(self, fd):
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd, call, *args):
        self.writers[fd] = (call, args)

    def remove_writer(self, fd):
        return self.writers.pop(fd, None) is not None

    def turn(self):
        """Everything that need not wait; what threads have to say does."""
        while self._soon:
            call, args = self._soon.popleft()
            call(*args)

    def wait_for_thread(self):
        """The next callback out of a thread, and all that follows."""
        call, args = self._from_threads.get(timeout=30)
        call(*args)
        self.turn()

    def pass_time(self, seconds):
        """The clock moves on, and what was due in between is called in its order."""
        end = self.now + seconds
        while due := [item for item in self._later if item[0] <= end]:
            item = min(due, key=lambda item: item[:2])
            self._later.remove(item)
            self.now = max(self.now, item[0])
            item[2](*item[3])
            self.turn()
        self.now = end

    def ready(self, fd, *, write=False):
        """The descriptor's callback, as if it were ready."""
        call, args = (self.writers if write else self.readers)[fd]
        call(*args)
        self.turn()


class FakeTransport:
    """What a protocol sees of its connection; `written` is what it sent."""

    def __init__(self, sock=None, peername=("192.0.2.1", 1234)):
        self.written = b""
        self.closed = self.aborted = False
        self.reading = True
        self._extra = {"socket": sock, "peername": peername}

    def get_extra_info(self, name, default=None):
        return self._extra.get(name, default)

    def write(self, data):
        assert not self.aborted
        self.written += data

    def get_write_buffer_size(self):
        return 0  # the peer takes all at once

    def take(self):
        written, self.written = self.written, b""
        return written

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = self.aborted = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True
