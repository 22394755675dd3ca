"""asyncio's side of the LMTP client: hosts that control/smtproutes names with `lmtp:`.

Each recipient that such a host takes at RCPT has an answer of its own to the message (RFC 2033 s4.2), and so a report of
its own: some may have it, others may be put off or refused, in one transaction.
"""

import asyncio
from collections.abc import Callable

from quail.delivery.remote import report
from quail.delivery.remote.connection import Connection
from quail.delivery.remote.exchangers import Target
from quail.delivery.remote.report import ACCEPTED, HARD, SOFT, Record, Result
from quail.delivery.remote.smtp_connection import SmtpConnection
from quail.smtp.client import Outcome
from quail.smtp.client_replies import Reply


class LmtpConnection(SmtpConnection):
    """See Connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        patience: float,
        gone: Callable[[Connection], None],
        helo: bytes,
    ) -> None:
        """`helo`: the name to greet with."""
        super().__init__(loop, target, patience, gone, helo, lmtp=True)

    def _told(self, outcome: Outcome) -> Result:
        return self._each(outcome, None)

    def _died(self) -> Result:
        """Whoever has an answer is done with; only the others are put off."""
        died = super()._died()
        outcome = self._machine.outcome
        if outcome is None or not any(outcome.finals):
            return died
        return self._each(outcome, Record(SOFT, died.message.text))

    def _each(self, outcome: Outcome, missing: Record | None) -> Result:
        """missing: what is said of those who were accepted and have no answer."""
        records = self._records(outcome.recipients)
        for place in outcome.accepted():
            final = outcome.finals[place]
            records[place] = missing if final is None else self._final(final)
        if not any(record is not None and record.letter == ACCEPTED for record in records):
            return Result(Record(report.FAILED, b"Giving up on %b.\n" % self._name), records)
        # Each says what it was told itself.
        return Result(Record(report.DELIVERED), records)

    def _final(self, reply: Reply) -> Record:
        if reply.code < 400:
            return Record(ACCEPTED, report.said(self._name + b" accepted message.", reply))
        text = report.said(self._name + b" failed after I sent the message.", reply)
        return Record(HARD if reply.code >= 500 else SOFT, text)  # without a code: 452 here is no request to come again
