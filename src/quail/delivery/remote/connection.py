"""One connection to a host that takes mail: what SMTP and QMTP have in common."""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

from quail.delivery.remote.exchangers import Target
from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import Result

_FAREWELL = 5.0  # seconds that a host has for its answer to QUIT


class UnfitError(Exception):
    """The host took the connection, and nothing more: another one may. `result` is what to report if none does."""

    def __init__(self, result: Result) -> None:
        """See report.py."""
        super().__init__(result.message.text)
        self.result = result


class StaleError(Exception):
    """A connection that was kept had been closed by the host: nothing of this mail has reached it."""


class Connection(asyncio.Protocol, ABC):
    """Call ready(), then deliver() as long as `reusable`, then quit(); look() now and again.

    target: where it leads. mails: how many were begun. last: when the host last gave a whole answer or took some text, born:
    when it was made, both by the loop's clock. patience: seconds that the host has for each answer; bytes of one that come now
    and then win it no time, or it could keep a delivery for ever.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, target: Target, patience: float, gone: "Callable[[Connection], None]"
    ) -> None:
        """For create_connection(); `gone` is called when it is closed."""
        self.target = target
        self.mails = 0
        self.last = self.born = loop.time()
        self.patience = patience
        self.closed = False
        self._loop = loop
        self._gone = gone
        self._name = os.fsencode(target.address)
        self._transport: asyncio.Transport | None = None
        self._waits = True  # for the host to say something
        self._quitting = False
        self._writable = asyncio.Event()
        self._writable.set()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The host may speak now."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """What the host says."""
        if not self._quitting:
            if self._heard(data):
                self.last = self._loop.time()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """By whomever."""
        del exc
        self.closed = True
        self._transport = None
        self._writable.set()
        self._gone(self)
        if not self._quitting:
            self._lost()

    def pause_writing(self) -> None:
        """The host takes less than we have."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It takes more."""
        self.last = self._loop.time()
        self._writable.set()

    # For each protocol to say.

    @abstractmethod
    def _heard(self, data: bytes) -> bool:
        """Whether an answer has come to its end."""

    @abstractmethod
    def _lost(self) -> None: ...

    @abstractmethod
    async def ready(self) -> None:
        """Return when mail can be sent. UnfitError if the host does not want any."""

    @abstractmethod
    async def deliver(self, mail: Mail) -> Result:
        """One mail. StaleError if the connection was used before and turns out to have been closed in between."""

    @property
    @abstractmethod
    def reusable(self) -> bool:
        """Whether deliver() may be called (again)."""

    def _farewell(self) -> bytes:
        """What to say before the end."""
        return b""

    # For whoever has it.

    def look(self, now: float) -> None:
        """End it if the host has kept us waiting for too long."""
        if now - self.last > (_FAREWELL if self._quitting else self.patience) and (self._quitting or self._waits):
            self.abort()

    def quit(self) -> None:
        """Say good-bye; the connection closes with the answer, or soon without one."""
        if self._transport is None or self._quitting:
            return
        self._quitting = True
        self.last = self._loop.time()
        farewell = self._farewell()
        if farewell:
            self._transport.write(farewell)
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
