"""asyncio's side of the QMTP client (quail/qmtp/client.py): hosts that control/smtproutes names with `qmtp:`."""

import asyncio
from collections.abc import Callable

from quail.delivery.remote import report
from quail.delivery.remote.connection import Connection, StaleError
from quail.delivery.remote.exchangers import Target
from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import HARD, RECIPIENT_ACCEPTED, SOFT, Record, Result
from quail.errors import PeerError
from quail.qmtp.client import ACCEPTED, LATER, Replies, request


class QmtpConnection(Connection):
    """See Connection. There is no greeting; the host answers when it has the whole mail."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, target: Target, patience: float, gone: Callable[[Connection], None]
    ) -> None:
        """As Connection."""
        super().__init__(loop, target, patience, gone)
        self._waits = False
        self._replies: Replies | None = None
        self._answers: list[tuple[bytes, bytes]] = []
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False
        self._whole = False  # the mail at hand has been written to its end, so that the host may have taken it

    def _heard(self, data: bytes) -> bool:
        if self._replies is None:  # nobody has asked
            self._broken = True
            return False
        answers = len(self._answers)
        try:
            self._answers += self._replies.feed(data)
        except PeerError:
            self._lost()
        if not self._replies.left:
            self._wake()
        return len(self._answers) > answers

    def _lost(self) -> None:
        self._broken = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def ready(self) -> None:
        """At once."""

    async def deliver(self, mail: Mail) -> Result:
        """One mail; each recipient's answer is its report."""
        if self._broken or self._transport is None:
            self.abort()
            raise StaleError
        self.mails += 1
        self.last = self._loop.time()
        count = len(mail.recipients)
        self._replies, self._answers = Replies(count), []
        self._waiter = self._loop.create_future()
        self._waits, self._whole = True, False
        sending = self._loop.create_task(self._write(mail))
        try:
            await asyncio.wait((sending, self._waiter), return_when=asyncio.FIRST_EXCEPTION)
            if sending.done() and sending.exception() is not None:
                self.abort()  # without its end the host must not take it
                return report.later(report.UNREADABLE)
            answers = self._answers
        finally:
            sending.cancel()
            self._waits = False
            self._replies = self._waiter = None
        if len(answers) < count:
            self.abort()
            if self.mails > 1 and not answers:
                raise StaleError
        died = report.DIED % (self._name, report.DUPLICATE if self._whole else b"")
        return self._result(answers, Record(report.DEFERRED, died + b"\n"), count)

    async def _write(self, mail: Mail) -> None:
        head, tail = request(mail.sender, mail.recipients, mail.size)
        pieces = [head]
        for piece in mail.chunks():
            pieces.append(piece)
            await self._writable.wait()
            if self._transport is None or self._transport.is_closing():  # what is written now goes nowhere
                return
            self._transport.write(b"".join(pieces))
            pieces.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join((*pieces, tail)))
            self._whole = True

    def _record(self, letter: bytes, text: bytes) -> Record:
        if letter == ACCEPTED:
            return RECIPIENT_ACCEPTED
        line = b"%b does not like recipient.\nRemote host said: %b\n" % (self._name, text)
        return Record(SOFT if letter == LATER else HARD, line)

    def _result(self, answers: list[tuple[bytes, bytes]], died: Record, count: int) -> Result:
        """died: what is said of those without an answer. Whoever has one is done with, whatever becomes of the others."""
        records: list[Record | None] = [self._record(*answer) for answer in answers]
        taken = [text for letter, text in answers if letter == ACCEPTED]
        missing = count - len(answers)
        if not taken:
            return Result(died if missing else Record(report.FAILED, b"Giving up on %b.\n" % self._name), records)
        records += [Record(SOFT, died.text)] * missing
        text = b"%b accepted message.\nRemote host said: %b\n" % (self._name, taken[0])
        return Result(Record(report.DELIVERED, text), records)

    @property
    def reusable(self) -> bool:
        """Whether deliver() may be called (again)."""
        return not (self._broken or self.closed)
