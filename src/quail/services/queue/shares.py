"""How much of the queue's memory each uid has: anybody on the machine may connect, and nobody may take it all."""

from quail.errors import PeerError

CONNECTIONS = 500  # of one ordinary user
SERVICE_CONNECTIONS = 20_000  # of a service's account, whose clients have limits of their own
BYTES = 64 << 20  # of one ordinary user: envelopes, and what has come of unfinished frames
MANY = 100  # recipients: messages with more are counted for their sender as long as they are in the queue
RECIPIENTS = 300_000  # of such messages of one ordinary user; each takes up to 800 bytes
LINES = 20  # of the log about one user, between two sweeps


class TooMuchError(PeerError):
    """The uid has what it may have already."""


class Shares:
    """`service_uids` may hold many connections, and any number of bytes: they are bounded by their own limits."""

    __slots__ = ("_bytes", "_connections", "_lines", "_lists", "_recipients", "_service_uids")

    def __init__(self, service_uids: frozenset[int]) -> None:
        """Nobody has anything."""
        self._service_uids = service_uids
        self._connections: dict[int, int] = {}
        self._bytes: dict[int, int] = {}
        self._lists: dict[int, tuple[int, int]] = {}  # message: uid and recipients
        self._recipients: dict[int, int] = {}
        self._lines: dict[int, int] = {}

    def connected(self, uid: int) -> None:
        """TooMuchError if it is one too many; it counts all the same, until disconnected()."""
        count = self._connections[uid] = self._connections.get(uid, 0) + 1
        if count > (SERVICE_CONNECTIONS if uid in self._service_uids else CONNECTIONS):
            raise TooMuchError(f"has {count - 1} connections already")

    def disconnected(self, uid: int) -> None:
        """One connection less."""
        _less(self._connections, uid, 1)

    def hold(self, uid: int, more: int) -> None:
        """`more` bytes, or less if negative. TooMuchError if that is too much; it counts all the same."""
        if more <= 0:
            _less(self._bytes, uid, -more)
            return
        total = self._bytes[uid] = self._bytes.get(uid, 0) + more
        if total > BYTES and uid not in self._service_uids:
            raise TooMuchError(f"has {total} bytes on their way into the queue")

    def queued(self, number: int, uid: int, recipients: int) -> None:
        """A message is in the queue, until finished(). It may be said again."""
        if recipients > MANY and uid not in self._service_uids and number not in self._lists:
            self._lists[number] = uid, recipients
            self._recipients[uid] = self._recipients.get(uid, 0) + recipients

    def finished(self, number: int) -> None:
        """It is there no more."""
        uid, recipients = self._lists.pop(number, (0, 0))
        _less(self._recipients, uid, recipients)

    def has_room(self, uid: int, recipients: int) -> bool:
        """Whether the user may have a message with so many in the queue, beside what he has there; one at least he may."""
        waiting = self._recipients.get(uid, 0)
        return recipients <= MANY or not waiting or waiting + recipients <= RECIPIENTS

    def line(self, uid: int) -> str | None:
        """How a line of the log about the user ends; None if there have been enough."""
        count = self._lines[uid] = self._lines.get(uid, 0) + 1
        if count > LINES:
            return None
        return "" if count < LINES else " (no more about this uid for some seconds)"

    def forget_lines(self) -> None:
        """There may be new ones."""
        self._lines.clear()

    def nothing_held(self) -> bool:
        """Whether all has been given back."""
        return not (self._bytes or self._connections)


def _less(counts: dict[int, int], uid: int, by: int) -> None:
    left = counts.get(uid, 0) - by
    if left > 0:
        counts[uid] = left
    else:
        counts.pop(uid, None)
