"""usage: qmail-smtpd

Serves one SMTP client on descriptors 0 and 1 (qmail-smtpd(8)), under tcpserver or inetd with $TCPREMOTEIP and the like, and
hands its mail to the queue service, or to $QMAILQUEUE. Exit 0 after QUIT, 1 after any other end of the session.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import time
from _collections_abc import Callable, Iterator

from quail.control.reader import Control
from quail.errors import PeerError, QuailError
from quail.net.interfaces import local_addresses
from quail.net.pump import PeerGoneError, Pump
from quail.oserrors import words
from quail.policy.smtp import QUEUE_GONE, UNREADABLE_CONTROLS, Rules, queue_reply, received, recipient_reply
from quail.programs.run import enter_home, program, say
from quail.queue.handover import Client
from quail.queue.instead import queue_program
from quail.smtp.server import ABANDON, BEGIN, BODY, CLOSE, END, RECIPIENT, Session
from quail.users.judge import judge

SERVES_AGAIN = True  # see call_again() of become.py
_START_TIMEOUT = 60  # seconds for the reply that no control file could be read

TYPE_CHECKING = False
if TYPE_CHECKING:  # see quail.smtp.server
    from typing import Any

    from quail.queue.program import QueueProgram


@program("qmail-smtpd", takes=0)
def main(_args: list[bytes]) -> int:
    return serve("qmail-smtpd")


def serve(name: str, *, lmtp: bool = False) -> int:
    """Serve descriptors 0 and 1 under this name, which is said on stderr; the exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        try:
            enter_home()
            control = Control()
            rules = Rules(control, local_addresses())
            letter_of = judge(control, lambda text: say(f"{name}: {text}"))
        except QuailError as error:
            say(f"{name}: fatal: {error}")
            Pump(0, 1, _START_TIMEOUT).write(UNREADABLE_CONTROLS + b"\r\n")
            return 1
        server = Server(name, rules, letter_of, Pump(0, 1, rules.timeout), _queue(), lmtp=lmtp)
        return 0 if server.serve() == "quit" else 1
    except PeerGoneError:
        return 1


def _queue() -> "Client | QueueProgram":
    """Who takes the messages. The current directory is the home."""
    command = queue_program(".")
    if command is None:
        return Client()
    from quail.queue.program import QueueProgram  # noqa: PLC0415  few need it

    return QueueProgram(command, os.getcwd())


class _AbandonedError(Exception):
    """The message at hand must not be queued; the machine answers the peer."""


class Server:
    """One session between the machine and the descriptors."""

    def __init__(
        self,
        name: str,
        rules: Rules,
        letter_of: Callable[[bytes], bytes],
        pump: Pump,
        client: "Client | QueueProgram",
        *,
        lmtp: bool,
    ) -> None:
        self._name = name
        self._protocol = b"LMTP" if lmtp else b"SMTP"
        self._session = Session(rules.settings(os.environb, lmtp=lmtp))
        self._letter_of = letter_of
        self._pump = pump
        self._client = client

    def serve(self) -> str:
        """Serve until the end; returns why it came. PeerGoneError if the peer does not take our replies."""
        self._session.start()
        while True:
            event = self._next()
            kind = event[0]
            if kind == RECIPIENT:
                self._session.recipient_verdict(recipient_reply(self._letter_of(event[1])))
            elif kind == BEGIN:
                self._hand_over(*event[1:])
            elif kind == CLOSE:
                self._flush()
                reason: str = event[1]
                return reason
            # When the queue fails before the message's end, the machine swallows the rest; BODY and END don't come here.

    def _next(self) -> "tuple[Any, ...]":
        """The next event. All that is queued for the peer is written before waiting for it."""
        while (event := self._session.next_event()) is None:
            self._flush()
            data = self._pump.read()
            if data is None:
                self._session.timeout()
            else:
                self._session.receive(data)
        return event

    def _flush(self) -> None:
        output = self._session.take_output()
        if output:
            self._pump.write(output)

    def _hand_over(self, sender: bytes, recipients: list[bytes], attributes: list[tuple[bytes, bytes]]) -> None:
        try:
            reply = self._client.send(sender, recipients, self._text(), attributes)
            answer = queue_reply(reply.letter, reply.text, time.time())
        except _AbandonedError:
            return
        except (OSError, PeerError) as error:
            why = f"{words(error)} (does quail serve run?)" if isinstance(error, OSError) else error
            say(f"{self._name}: unable to hand the message to the queue: {why}")
            answer = QUEUE_GONE
        self._session.message_done(answer)

    def _text(self) -> Iterator[bytes]:
        yield received(os.environb, self._session.helo, time.time(), self._protocol)
        while True:
            event = self._next()
            if event[0] == BODY:
                yield event[1]
            elif event[0] == END:
                return
            else:
                assert event[0] == ABANDON
                raise _AbandonedError


if __name__ == "__main__":
    main()
