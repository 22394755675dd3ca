"""The queue's connection: jobs in, with their descriptors, and reports out. docs/formats/local-sockets.md."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

from quail.errors import PeerError
from quail.net import descriptors
from quail.net.frames import Splitter
from quail.net.rspawn_protocol import DESCRIPTOR, MAX_JOB, Job, decode_job, encode_report

_CHUNK = 1 << 18
MAX_BYTES = 256 << 20  # of jobs without all their reports, before more are read


class Jobs:
    """One connection. `take` gets each job and its descriptor (-1: none), which it has to close; `gone` is called once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        take: "Callable[[Jobs, Job, int], None]",
        gone: "Callable[[Jobs], None]",
        log: Callable[[str], None],
    ) -> None:
        """Reads from now on."""
        self._loop = loop
        self._sock = sock
        self._take = take
        self._gone = gone
        self._log = log
        self._splitter = Splitter(MAX_JOB)
        self._descriptors: deque[int] = deque()
        self._out: list[bytes] = []
        self._unsent = b""
        self._held = 0
        self._reading = False
        self._stopped = False
        self._read_on()

    @property
    def unsent(self) -> bool:
        """Whether reports wait to be written."""
        return bool(self._out or self._unsent)

    def stop(self) -> None:
        """Take no more jobs."""
        self._stopped = True
        self._read_off()

    def _read_on(self) -> None:
        if not (self._reading or self._stopped or self._sock.fileno() < 0):
            self._reading = True
            self._loop.add_reader(self._sock.fileno(), self._read)

    def _read_off(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    def _read(self) -> None:
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_CHUNK, descriptors.SPACE, descriptors.FLAGS)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary, flags = b"", [], 0
        self._descriptors.extend(descriptors.received(ancillary))
        if not data:
            self.close()
            return
        try:
            if flags & socket.MSG_CTRUNC:
                raise PeerError("descriptors of jobs were lost: too many at once, or none left in this process")
            for frame in self._splitter.feed(data):
                job = decode_job(frame)
                self._held += len(job.body)
                descriptor = -1
                if job.flags & DESCRIPTOR:
                    if not self._descriptors:
                        raise PeerError("remote delivery job without its descriptor")
                    descriptor = self._descriptors.popleft()
                self._take(self, job, descriptor)
        except PeerError as error:
            self._log(f"alert: {error}; connection of the queue closed")
            self.close()
            return
        if self._held > MAX_BYTES:
            self._read_off()

    def report(self, tag: int, letter: bytes, text: bytes, *, host_down: bool) -> None:
        """To the queue, if it is still there; reports of one turn of the loop go out together."""
        if self._sock.fileno() < 0:
            return
        if not self._out and not self._unsent:
            self._loop.call_soon(self._flush)
        self._out.append(encode_report(tag, letter, text, host_down=host_down))

    def done(self, job: Job) -> None:
        """All reports of the job were given."""
        self._held -= len(job.body)
        if self._held <= MAX_BYTES:
            self._read_on()

    def _flush(self) -> None:
        if self._sock.fileno() < 0:
            return
        data = b"".join((self._unsent, *self._out))
        self._out.clear()
        try:
            self._unsent = data[self._sock.send(data) :]
        except BlockingIOError:
            self._unsent = data
        except OSError:  # the end is noticed by reading
            self._unsent = b""
            return
        if self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        self._flush()

    def close(self) -> None:
        """Drop the connection; who has jobs of it goes on with them, and tells nobody."""
        if self._sock.fileno() < 0:
            return
        self._read_off()
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self._out.clear()
        self._unsent = b""
        self._gone(self)
