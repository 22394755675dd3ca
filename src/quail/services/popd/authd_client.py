"""One connection to run/authd.sock, for an event loop: log-ins go out with their connections, verdicts come back in any
order.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable

from quail.errors import PeerError
from quail.net import descriptors
from quail.net.authd_protocol import MAX_VERDICT, TROUBLE, Request, decode_verdict, encode_request
from quail.net.frames import Splitter
from quail.net.unix_stream import connect

PATIENCE = 45.0  # seconds; authd itself gives up earlier
MAX_OPEN = 512  # log-ins without a verdict

NO_WORD = b""
"""In place of a verdict's letter: authd has got the connection, and has not said what became of it. A process of the user may
serve it, now or in a moment: whoever asked must let go of it, without a word.
"""

Judged = Callable[[bytes, bytes], None]
"""Gets a letter of authd_protocol, or NO_WORD, and a text for the client."""


class AuthdClient:
    """Connects at the first question, and again when the connection is lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._sock: socket.socket | None = None
        self._splitter = Splitter(MAX_VERDICT)
        self._asked: dict[int, tuple[float, Judged]] = {}
        self._out: deque[tuple[int, memoryview, int]] = deque()  # tag, bytes, descriptor or -1
        self._sent: set[int] = set()  # whose connection authd may have
        self._writing = False
        self._last_tag = 0

    def ask(self, request: Request, connection: int, judged: Judged) -> None:
        """`connection` is the client's descriptor, which stays the caller's. `judged` is called once, later."""
        tag = self._last_tag = (self._last_tag + 1) & 0xFFFFFFFF
        request.tag = tag
        request.asked = int(time.monotonic() * 1000)
        if len(self._asked) >= MAX_OPEN:
            self._loop.call_soon(judged, TROUBLE, b"")
            return
        try:
            own = os.dup(connection)
        except OSError:
            self._loop.call_soon(judged, TROUBLE, b"")
            return
        self._asked[tag] = (self._loop.time() + PATIENCE, judged)
        self._out.append((tag, memoryview(encode_request(request)), own))
        self._write()

    def _connect(self) -> bool:
        if self._sock is not None:
            return True
        try:
            sock = connect(self._path)
        except OSError:  # authd is down, and its backlog full, or there are no more descriptors: sweep() tries again
            return False
        self._sock = sock
        self._splitter = Splitter(MAX_VERDICT)
        self._loop.add_reader(sock.fileno(), self._read)
        return True

    def _write(self) -> None:
        while self._out and self._connect():
            assert self._sock is not None
            tag, data, connection = self._out[0]
            try:
                sent = self._sock.sendmsg([data], descriptors.rights(connection) if connection >= 0 else [])
            except BlockingIOError:
                self._listen(writing=True)
                return
            except OSError:
                self._lost()
                return
            if connection >= 0:  # it went with the first byte
                self._sent.add(tag)
                os.close(connection)
            if sent < len(data):
                self._out[0] = (tag, data[sent:], -1)
            else:
                self._out.popleft()
        self._listen(writing=False)

    def _listen(self, *, writing: bool) -> None:
        if self._sock is not None and writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._sock.fileno(), self._write)
            else:
                self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(1 << 16)
            frames = self._splitter.feed(data)
            verdicts = [decode_verdict(frame) for frame in frames]
        except BlockingIOError:
            return
        except (OSError, PeerError):
            data, verdicts = b"", []
        for tag, letter, text in verdicts:
            self._judge(tag, letter, text)
        if not data:
            self._lost()

    def _judge(self, tag: int, letter: bytes, text: bytes) -> None:
        self._sent.discard(tag)
        asked = self._asked.pop(tag, None)
        if asked is not None:
            asked[1](letter, text)

    def _give_up(self, tag: int) -> None:
        """There will be no verdict that counts."""
        self._judge(tag, NO_WORD if tag in self._sent else TROUBLE, b"")

    def _lost(self) -> None:
        """The service has gone. What it had got, if only half of it, has no verdict; what it had not is asked of the next."""
        if self._sock is not None:
            self._listen(writing=False)
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
        if self._out and self._out[0][2] < 0:
            self._out.popleft()
        for tag in list(self._sent):
            self._give_up(tag)

    def sweep(self) -> None:
        """Now and again: give up what has waited too long, connect if need be."""
        now = self._loop.time()
        late = [tag for tag, (deadline, _) in self._asked.items() if deadline <= now]
        for tag in late:
            self._give_up(tag)
        # A frame that authd has the beginning of is finished all the same: what follows it would be misread.
        for entry in [entry for entry in self._out if entry[0] in late and entry[2] >= 0]:
            os.close(entry[2])
            self._out.remove(entry)
        if self._out and not self._writing:
            self._write()

    def close(self) -> None:
        """At the end."""
        if self._sock is not None:
            self._sock.close()
