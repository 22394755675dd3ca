"""One connection of QMTP or QMQP on descriptors 0 and 1: what the programs qmail-qmtpd and qmail-qmqpd are made of.

Imported by programs that run once per connection: keep it lean.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import time
from _collections_abc import Callable, Iterator

from quail.errors import EXIT_TEMPORARY, PeerError
from quail.net.pump import PeerGoneError, Pump
from quail.oserrors import words
from quail.policy.qmtp import LIFETIME, QUEUE_GONE, queue_reply, recipient_reply
from quail.policy.smtp import received
from quail.qmtp.exchange import BEGIN, BODY, CLOSE, ENVELOPE, FLUSH, RECIPIENT, Exchange
from quail.queue.handover import Client
from quail.queue.instead import queue_program

TYPE_CHECKING = False
if TYPE_CHECKING:  # see quail.smtp.server
    from quail.qmtp.exchange import Event
    from quail.queue.program import QueueProgram


class _AbandonedError(Exception):
    """The message at hand must not be queued; the machine answers the peer."""


class Alone:
    """One connection between the machine and the descriptors. The current directory is the home."""

    def __init__(
        self,
        session: Exchange,
        protocol: bytes,
        say: Callable[[str], object],
        judge: Callable[[bytes], bytes] = lambda _: b"K",
    ) -> None:
        """protocol: as the Received field names it; say is told what an operator should know."""
        self._session = session
        self._protocol = protocol
        self._say = say
        self._judge = judge
        self._pump = Pump(0, 1, None)
        self._client = _queue()
        self._envelope: tuple[bytes, list[bytes]] = (b"", [])

    def serve(self) -> int:
        """Serve until the end, at most LIFETIME; returns the exit code, or ends the process."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_TEMPORARY))
        signal.alarm(LIFETIME)
        try:
            while True:
                event = self._next()
                if event[0] == BEGIN:
                    self._hand_over()
                elif event[0] == CLOSE:
                    self._flush()
                    code: int = event[1]
                    if code:
                        self._say(event[2])
                    return code
                # When the queue fails before the message's end, the machine swallows the rest.
        except PeerGoneError:
            return 0
        finally:
            signal.alarm(0)  # this process may serve again

    def _next(self) -> "Event":
        """The next event that means something for the message. All that is queued for the peer is written before waiting."""
        while True:
            event = self._session.next_event()
            if event is None:
                self._flush()
                self._session.receive(self._pump.read() or b"")
            elif event[0] == FLUSH:
                self._flush()
            elif event[0] == RECIPIENT:
                self._session.recipient_verdict(recipient_reply(self._judge(event[1])))
            else:
                return event

    def _flush(self) -> None:
        output = self._session.take_output()
        if output:
            self._pump.write(output)

    def _hand_over(self) -> None:
        try:
            reply = self._client.send_body_first(self._text(), lambda: self._envelope)
            answer = queue_reply(reply.letter, reply.text, time.time())
        except _AbandonedError:
            return
        except (OSError, PeerError) as error:
            why = f"{words(error)} (does quail serve run?)" if isinstance(error, OSError) else error
            self._say(f"unable to hand the message to the queue: {why}")
            answer = QUEUE_GONE
        self._session.message_done(answer)

    def _text(self) -> Iterator[bytes]:
        yield received(os.environb, None, time.time(), self._protocol)
        while True:
            event = self._next()
            if event[0] == BODY:
                yield event[1]
            elif event[0] == ENVELOPE:
                self._envelope = event[1:]
                return
            else:
                raise _AbandonedError


def _queue() -> "Client | QueueProgram":
    """Who takes the messages."""
    command = queue_program(".")
    if command is None:
        return Client()
    from quail.queue.program import QueueProgram  # noqa: PLC0415  few need it

    return QueueProgram(command, os.getcwd())
