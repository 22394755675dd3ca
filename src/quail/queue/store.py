"""What the queue asks of its store, without a path or a file name in it. The journal is the embedded one; a database can be
another.

Call order: lay_out, write, settle; one plan at a time. lay_out and settle belong to the thread that owns the state and do no
I/O; write blocks and may run in another thread. Nothing may be acknowledged before settle.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from quail.errors import TemporaryError
from quail.queue.records import Accepted
from quail.queue.state import State


class StoreStoppedError(TemporaryError):
    """Neither the write nor its undoing could be made durable: the queue must stop without replying."""


class DamagedBodyError(TemporaryError):
    """A message's stored bytes do not have their sum."""


class LargeBody:
    """A body that is a file of its own; `fd` is open while the message has not been settled, else -1."""

    __slots__ = ("fd", "length", "names_lost", "number", "sum")

    def __init__(self, number: int, fd: int, length: int, checksum: int = 0, *, names_lost: int = 0) -> None:
        """`number` is the message's, `length` in bytes, `checksum` the CRC-32 of what has been written; `names_lost` is the
        store's count of failures that made names unsure, when the file was made.
        """
        self.sum = checksum
        self.names_lost = names_lost
        self.number = number
        self.fd = fd
        self.length = length


class Entry:
    """One record on its way to disk. `time` is in microseconds since 1970. `source` is whatever the caller wants back."""

    __slots__ = ("body", "body_sum", "envelope", "kind", "large", "number", "source", "time")

    def __init__(
        self,
        kind: int,
        number: int,
        time: int,
        envelope: bytes = b"",
        body: tuple[bytes, ...] = (),
        large: LargeBody | None = None,
        *,
        body_sum: int | None = None,
        source: object = None,
    ) -> None:
        """Kinds are those of records.py; `body_sum` is given for copies."""
        self.kind = kind
        self.number = number
        self.time = time
        self.envelope = envelope
        self.body = body
        self.large = large
        self.body_sum = body_sum
        self.source = source


class Stored:
    """A message read back. `body` is its bytes or the large body's descriptor, read-only, which the caller closes."""

    __slots__ = ("accepted", "body", "fd", "size", "time")

    def __init__(self, accepted: Accepted, time: int, size: int, body: bytes | None, fd: int) -> None:
        """`size` in bytes; `fd` is -1 when the body is given as bytes, or when it was not asked for."""
        self.accepted = accepted
        self.time = time
        self.size = size
        self.body = body
        self.fd = fd


class Plan(Protocol):
    """One batch on its way to disk."""

    entries: list[Entry]


PlanT = TypeVar("PlanT", bound=Plan)


class Store(Protocol[PlanT]):
    """See the module. `state` is current with everything settled."""

    state: State

    def new_number(self) -> int:
        """The next message number; never given twice, not even across restarts."""

    def new_large_body(self, number: int) -> LargeBody:
        """An empty body to write to, by large_write."""

    def large_write(self, body: LargeBody, data: bytes | memoryview) -> None:
        """Append; OSError when there is no room."""

    def discard_large(self, body: LargeBody) -> None:
        """The message was refused or abandoned."""

    def lay_out(self, entries: list[Entry]) -> PlanT:
        """Where the entries will lie. What does not fit one batch is left in `entries`."""

    def write(self, plan: PlanT) -> bool:
        """True: all of it is durable. False: none of it is nor will be. StoreStoppedError: unknown."""

    def settle(self, plan: PlanT) -> None:
        """After write gave True: the state shows it."""

    def read(self, number: int, *, body: bool) -> Stored:
        """A live message; DamagedBodyError, KeyError when it is not live."""

    def read_descriptor(self, fd: int, length: int) -> bytes:
        """The first bytes of a large body, for somebody who needs no more of it."""

    def close_descriptor(self, fd: int) -> None:
        """Of a Stored; -1 is nothing."""

    def failures(self, number: int) -> Iterator[tuple[int, bytes]]:
        """Recipient numbers and reports of those that failed for good."""

    def free_bytes(self) -> int:
        """Room on the file system."""
