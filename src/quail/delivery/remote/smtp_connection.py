"""asyncio's side of the SMTP client machine (quail/smtp/client.py), for one mail after another."""

import asyncio
from collections.abc import Callable
from typing import cast

from quail.delivery.remote import report
from quail.delivery.remote.connection import Connection, StaleError, UnfitError
from quail.delivery.remote.exchangers import Target
from quail.delivery.remote.message import Mail, UnreadableError
from quail.delivery.remote.report import (
    ACCEPTED,
    HARD,
    RECIPIENT_ACCEPTED,
    SOFT,
    TOO_MANY,
    TOO_MANY_OF_OLD,
    Record,
    Result,
)
from quail.smtp.client import BROKEN, GO_AHEAD, GREETING, OVER, READY, Client, Outcome
from quail.smtp.client_replies import Reply

_CLOSING = 421  # RFC 5321 s3.8


class SmtpConnection(Connection):
    """See Connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        patience: float,
        gone: Callable[[Connection], None],
        helo: bytes,
        *,
        lmtp: bool = False,
    ) -> None:
        """`helo`: the name to greet with."""
        super().__init__(loop, target, patience, gone)
        self._helo = helo
        self._machine = Client(helo, lmtp=lmtp)
        self._waiter: asyncio.Future[tuple[object, ...]] | None = None
        self._verdict: tuple[object, ...] | None = None  # an event that nobody has waited for yet
        self._mail: Mail | None = None
        self._stream: asyncio.Task[None] | None = None
        self._unreadable = False

    # The machine's events.

    def _heard(self, data: bytes) -> bool:
        answers = self._machine.answers
        self._machine.receive(data)
        self._work()
        return self._machine.answers > answers

    def _lost(self) -> None:
        self._machine.eof()
        self._work()

    def _work(self) -> None:
        while (event := self._machine.next_event()) is not None:
            if event[0] == GO_AHEAD:
                self._begin_body()
                continue
            if self._verdict is None:  # an answer stands, whatever the host says behind it: a farewell, or rubbish
                self._verdict = event
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(event)
        self._flush()

    def _flush(self) -> None:
        data = self._machine.take_output()
        if data and self._transport is not None:
            self._transport.write(data)

    def _begin_body(self) -> None:
        mail = self._mail
        assert mail is not None
        if mail.fd < 0:
            self._machine.body_sent()
            if self._transport is not None:
                self._transport.write(b"".join((*mail.encoded(), self._machine.take_output())))
        else:
            self._stream = self._loop.create_task(self._send_file(mail))

    async def _send_file(self, mail: Mail) -> None:
        try:
            for piece in mail.encoded():
                await self._writable.wait()
                if self._transport is None or self._transport.is_closing():  # what is written now goes nowhere
                    return
                self._transport.write(piece)
        except UnreadableError:
            self._unreadable = True  # without its end the host must not take it
            self.abort()
            return
        self._machine.body_sent()
        self._flush()

    async def _next(self) -> tuple[object, ...]:
        if self._verdict is None:
            self._waits = True
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:  # nobody comes for this answer, and nobody would look how long it takes
                self.abort()
                raise
            finally:
                self._waiter = None
                self._waits = False
        verdict, self._verdict = self._verdict, None
        assert verdict is not None
        return verdict

    # For whoever has mail.

    async def ready(self) -> None:
        """Return when mail can be sent. UnfitError if the host does not want any."""
        event = await self._next()
        if event[0] == READY:
            if self.target.direct and b"." in self._helo and self._machine.peer_name.lower() == self._helo.lower():
                self.quit()
                raise UnfitError(report.never(report.TALKS_TO_ITSELF % self._name))
            return
        if event[0] == BROKEN:
            self.abort()
            raise UnfitError(report.later(report.DIED % (self._name, b""), host_down=True))
        _, stage, reply = event
        self.quit()
        what = b"greeting failed" if stage == GREETING else b"my name was rejected"
        text = report.said(b"Connected to %b but %b." % (self._name, what), cast(Reply, reply))
        raise UnfitError(Result(Record(report.DEFERRED, text), host_down=True))

    async def deliver(self, mail: Mail) -> Result:
        """One mail. StaleError if this connection was used before and turns out to have been closed in between."""
        machine = self._machine
        if not self.reusable:  # something came while nobody waited: the end, or the host's farewell
            self.abort()
            raise StaleError
        refusal = self._refusal(mail)
        if refusal is not None:
            return refusal
        self.mails += 1
        self._mail = mail
        self.last = self._loop.time()
        try:
            machine.begin(
                mail.sender, mail.recipients, size=mail.sent_size, eight_bit=not mail.is_ascii, utf8=mail.needs_utf8
            )
            self._flush()
            event = await self._next()
            if event[0] == OVER:
                outcome = cast(Outcome, event[1])
                if self.mails > 1 and outcome.sender.code == _CLOSING:
                    raise StaleError  # it had meant to say so before we came
                return self._result(outcome)
        except UnreadableError:
            self._unreadable = True
        finally:
            self._mail = None
            if self._stream is not None:
                self._stream.cancel()
                self._stream = None
        self.abort()
        if self._unreadable:
            return report.later(report.UNREADABLE)
        if self.mails > 1 and machine.untouched:
            raise StaleError
        return self._died()

    def _refusal(self, mail: Mail) -> Result | None:
        """Why the mail can't go to a host with these extensions."""
        machine = self._machine
        if mail.needs_utf8 and b"SMTPUTF8" not in machine.extensions:
            return report.never(report.NEEDS_UTF8 % self._name)
        if 0 < machine.size_limit < mail.sent_size:
            return report.never(report.TOO_LARGE % (self._name, machine.size_limit, mail.sent_size))
        return None

    def _died(self) -> Result:
        machine = self._machine
        text = report.DIED % (self._name, report.DUPLICATE if machine.dot_sent else b"")
        replies = machine.outcome.recipients if machine.outcome is not None else []
        return Result(Record(report.DEFERRED, text + b"\n"), self._records(replies))

    def _records(self, replies: list[Reply | None]) -> list[Record | None]:
        records: list[Record | None] = []
        accepted = False
        for reply in replies:
            record = None if reply is None else self._record(reply)
            if record is RECIPIENT_ACCEPTED:
                accepted = True
            elif record is not None and accepted and record.code == TOO_MANY_OF_OLD:
                record = Record(SOFT, record.text, TOO_MANY)
            records.append(record)
        return records

    def _record(self, reply: Reply) -> Record:
        if reply.code < 400:
            return RECIPIENT_ACCEPTED
        text = report.said(self._name + b" does not like recipient.", reply)
        return Record(HARD if reply.code >= 500 else SOFT, text, reply.code)

    def _result(self, outcome: Outcome) -> Result:
        return self._refused(outcome) or self._told(outcome)

    def _refused(self, outcome: Outcome) -> Result | None:
        """What it comes to if nobody has got the message, which was not sent then."""
        name = self._name
        if outcome.sender.code >= 400:
            text = report.said(b"Connected to %b but sender was rejected." % name, outcome.sender)
            return Result(Record(report.by_code(outcome.sender), text))
        records = self._records(outcome.recipients)
        if not any(record is not None and record.letter == ACCEPTED for record in records):
            return Result(Record(report.FAILED, b"Giving up on %b.\n" % name), records)
        if outcome.data is not None and outcome.data.code >= 400:
            text = report.said(name + b" failed on DATA command.", outcome.data)
            return Result(Record(report.by_code(outcome.data), text), records)
        return None

    def _told(self, outcome: Outcome) -> Result:
        """What it comes to after the message."""
        name = self._name
        records = self._records(outcome.recipients)
        assert outcome.final is not None
        if outcome.final.code >= 400:
            text = report.said(name + b" failed after I sent the message.", outcome.final)
            return Result(Record(report.by_code(outcome.final), text), records)
        text = report.said(name + b" accepted message.", outcome.final)
        return Result(Record(report.DELIVERED, text), records)

    @property
    def reusable(self) -> bool:
        """Whether deliver() may be called again."""
        return not self.closed and self._verdict is None and self._machine.reusable

    def _farewell(self) -> bytes:
        self._machine.quit()
        return self._machine.take_output()
