"""Takes up what is in queue/drop/, beside everything else that the queue does: small messages a few at a time, large ones
piece by piece, and of each user one large one at a time.
"""

import asyncio
import os
from collections import deque

from quail.services.queue.drop import EVERY, Drop, Dropped
from quail.services.queue.intake import RECIPIENT, Incoming, Intake
from quail.services.queue.shares import TooMuchError

AT_ONCE = 20  # files
BREATH = 0.02  # seconds
PIECE = 1 << 20  # bytes copied at once; what is longer is large
LARGE_AT_ONCE = 8  # of all users


class _Client:
    """Stands where a connection would."""

    pid = 0

    def __init__(self, drop: Drop, intake: Intake, dropped: Dropped) -> None:
        """Its uid is the file's owner. TooMuchError if he has all the queue's memory that he may have."""
        self.uid = dropped.uid
        self._drop = drop
        self._name = dropped.name
        self._shares = intake.shares
        recipients = dropped.envelope.recipients
        self._weight = sum(map(len, recipients)) + RECIPIENT * len(recipients)
        try:
            self._shares.hold(self.uid, self._weight)
        except TooMuchError:
            self.release()
            raise

    def release(self) -> None:
        """The envelope is not on its way any more."""
        self._shares.hold(self.uid, -self._weight)

    def reply(self, incoming: Incoming, payload: bytes) -> None:
        """Queued: the file goes; refused for good: it stays, and is named once; else it is tried at the next scan."""
        del incoming
        self.release()
        if payload[:1] == b"K":
            self._drop.remove(self._name)
        elif payload[:1] == b"D":
            self._drop.refuse(self._name, payload[1:].decode("ascii", "replace"))
        else:
            self._drop.taken.discard(self._name)


class Collector:
    """Scans each minute until stop()."""

    def __init__(self, loop: asyncio.AbstractEventLoop, drop: Drop, intake: Intake) -> None:
        """Call scan() once."""
        self._loop = loop
        self._drop = drop
        self._intake = intake
        self._names: deque[str] = deque()  # of the last scan
        self._large: dict[int, tuple[Dropped, Incoming]] = {}  # by uid
        self._stopped = False

    def scan(self) -> None:
        """Now, and again later. While the last scan is not through, as with a million files, there is no other."""
        if self._stopped:
            return
        self._loop.call_later(EVERY, self.scan)
        if not self._names:
            self._names.extend(self._drop.scan())
            self._take()

    def stop(self) -> None:
        """No more; what is half copied stays where it is."""
        self._stopped = True
        for dropped, incoming in self._large.values():
            self._intake.abandon(incoming)
            os.close(dropped.fd)
        self._large.clear()

    def _take(self) -> None:
        if self._stopped:
            return
        for _ in range(min(AT_ONCE, len(self._names))):
            self._open(self._names.popleft())
        if self._names:
            self._loop.call_later(BREATH, self._take)

    def _open(self, name: str) -> None:
        dropped = self._drop.open(name)
        if dropped is None:
            return
        is_large = dropped.left > PIECE
        if is_large and (dropped.uid in self._large or len(self._large) >= LARGE_AT_ONCE):
            os.close(dropped.fd)  # at another scan
            return
        if dropped.left > self._room():
            os.close(dropped.fd)
            self._drop.put_off(name, f"there is no room for its {dropped.left} bytes")
            return
        try:
            client = _Client(self._drop, self._intake, dropped)
        except TooMuchError:
            os.close(dropped.fd)  # when the others are durable
            return
        incoming = self._intake.begin(client, dropped.envelope)
        self._drop.taken.add(name)
        if is_large:
            self._large[dropped.uid] = dropped, incoming
        self._copy(dropped, incoming)

    def _room(self) -> int:
        """Bytes that a body may have without the disk being full."""
        try:
            return self._intake.store.free_bytes() - self._intake.writer.minfree
        except OSError:
            return 0

    def _copy(self, dropped: Dropped, incoming: Incoming) -> None:
        """A piece; the rest after a while."""
        if self._stopped:
            return
        copied = 0
        try:
            while incoming.refusal is None and (data := dropped.body()):
                self._intake.add(incoming, data)
                copied += len(data)
                if copied >= PIECE and dropped.left:
                    self._loop.call_later(BREATH, self._copy, dropped, incoming)
                    return
        except OSError as error:
            self._intake.abandon(incoming)
            incoming.refusal = b"Z"
            self._drop.put_off(dropped.name, str(error))
        self._close(dropped)
        self._intake.end(incoming)

    def _close(self, dropped: Dropped) -> None:
        os.close(dropped.fd)
        large = self._large.get(dropped.uid)
        if large is not None and large[0] is dropped:
            del self._large[dropped.uid]
