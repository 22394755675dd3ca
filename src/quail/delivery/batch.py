"""Local delivery of many messages at once, as qmail-local would do each: dot-qmail steps in order, then forwarding.

Messages go through their steps side by side, so that all which are due for a Maildir at the same time share what durability
costs. A step that fails ends its own message with a report; nothing is forwarded unless all other steps of the message
succeeded (dot-qmail(5)). Texts are qmail-local's.
"""

import os
import traceback
from collections.abc import Callable, Iterator

from quail import oserrors
from quail.delivery.dotqmail import Plan, Plans, Refusal
from quail.delivery.instructions import FORWARD, REFUSE
from quail.delivery.message import Message, UnreadableError
from quail.errors import QuailError
from quail.message import address
from quail.net.lspawn_protocol import DEFERRED, DELIVERED, FAILED
from quail.queue.handover import Client
from quail.storage import maildir
from quail.storage.calls import REAL, SystemCalls

LOOPING = b"This message is looping: it already has my Delivered-To line. (#5.4.6)\n"
UNREADABLE = b"Unable to read message. (#4.3.0)\n"
INTERNAL = b"Internal error in local delivery. (#4.3.0)\n"


class Delivery:
    """One message for one recipient; `letter` and `text` are its report once it is done (letter is empty before).

    home: absolute path. dash, ext: facts 6.1. recipient: `local@host` after rewriting. tag: the caller's own.
    """

    __slots__ = (
        "dash", "ext", "files", "forwards", "home", "letter", "message", "plan", "position", "recipient", "request",
        "sender", "tag", "text",
    )  # fmt: skip

    plan: Plan
    request: maildir.Request

    def __init__(
        self, tag: int, home: str, dash: bytes, ext: bytes, sender: bytes, recipient: bytes, message: Message
    ) -> None:
        """As described above."""
        self.tag = tag
        self.home = home
        self.dash = dash
        self.ext = ext
        self.sender = sender
        self.recipient = recipient
        self.message = message
        self.position = 0
        self.files = 0
        self.forwards: list[bytes] = []
        self.letter = b""
        self.text = b""

    def end(self, letter: bytes, text: bytes) -> None:
        """The report; nothing more is done with the message."""
        self.letter = letter
        self.text = text

    def delivered_to(self) -> bytes:
        """The line that marks where the message has been; a second meeting is a loop."""
        return b"Delivered-To: " + self.recipient.replace(b"\n", b"_") + b"\n"


class Batches:
    """Delivers one batch after another for the same user."""

    def __init__(
        self, default_delivery: bytes, queue: Client, log: Callable[[str], None], calls: SystemCalls = REAL
    ) -> None:
        """`default_delivery`: dot-qmail lines. `log` gets causes that qmail-local's texts do not tell."""
        self._default_delivery = default_delivery
        self._queue = queue
        self._log = log
        self._calls = calls
        self._plans = Plans(default_delivery)
        self._queue_trouble: Refusal | None = None

    def deliver(self, deliveries: list[Delivery], done: Callable[[list[Delivery]], None]) -> None:
        """Give every delivery its report and tell `done`, at once for those that need nothing from the queue."""
        self._plans = Plans(self._default_delivery)
        self._queue_trouble = None
        active = [delivery for delivery in deliveries if self._guarded(self._begin, delivery)]
        while active:
            due = [delivery for delivery in active if self._guarded(self._advance, delivery)]
            self._to_maildirs(due)
            active = [delivery for delivery in due if not delivery.letter]
        forwarding = [
            delivery for delivery in deliveries if not delivery.letter and self._guarded(self._finish, delivery)
        ]
        ready = [delivery for delivery in deliveries if delivery.letter]
        if ready:
            done(ready)
        for delivery in forwarding:
            self._guarded(self._forward, delivery)
            done([delivery])

    def _guarded(self, step: Callable[[Delivery], bool], delivery: Delivery) -> bool:
        """Whether the step says that there is more to do; whatever it raises is a report of this delivery alone."""
        try:
            return step(delivery)
        except Refusal as refusal:
            delivery.end(refusal.letter, refusal.text)
        except UnreadableError as error:
            delivery.end(DEFERRED, UNREADABLE)
            self._log(f"message for {delivery.recipient!r}: {error}")
        except Exception:
            delivery.end(DEFERRED, INTERNAL)
            self._log(traceback.format_exc())
        return False

    def _begin(self, delivery: Delivery) -> bool:
        self._plans.check_home(delivery.home)
        if delivery.message.header_has(delivery.delivered_to()):
            raise Refusal(FAILED, LOOPING)
        delivery.plan = self._plans.find(delivery.home, delivery.dash, delivery.ext)
        return True

    @staticmethod
    def _advance(delivery: Delivery) -> bool:
        """Go on to the next Maildir, and prepare its request; False if there is none left."""
        steps = delivery.plan.steps
        while delivery.position < len(steps):
            step = steps[delivery.position]
            delivery.position += 1
            if step.kind == FORWARD:
                delivery.forwards.append(step.value)
            elif step.kind == REFUSE:
                raise Refusal(DEFERRED, step.value + b"\n")
            else:
                delivery.request = _request(delivery, os.fsdecode(step.value))
                return True
        return False

    def _to_maildirs(self, due: list[Delivery]) -> None:
        if not due:
            return
        try:
            maildir.deliver(self._calls, [delivery.request for delivery in due])
        except Exception:
            self._log(traceback.format_exc())
            for delivery in due:
                delivery.end(DEFERRED, INTERNAL)
            return
        for delivery in due:
            request = delivery.request
            if request.error is None:
                delivery.files += 1
            else:
                delivery.end(DEFERRED, request.error.encode() + b"\n")
                self._log(f"{request.maildir}: {request.error} {request.cause}")

    @staticmethod
    def _finish(delivery: Delivery) -> bool:
        """Report what has only files; True if there is something to forward."""
        if delivery.forwards:
            return True
        delivery.end(DELIVERED, b"did %d+0+0\n" % delivery.files)
        return False

    def _forward(self, delivery: Delivery) -> bool:
        """Hand the message to the queue, for all forward addresses at once."""
        if self._queue_trouble is not None:
            raise self._queue_trouble  # one wait for a queue that does not answer is enough for a batch
        local, host = address.split(delivery.recipient)
        sender = self._plans.new_sender(delivery.home, delivery.dash, delivery.ext, delivery.sender, local, host)
        try:
            reply = self._queue.send(sender, delivery.forwards, _forwarded(delivery))
        except UnreadableError:
            raise
        except (OSError, QuailError) as error:
            reason = oserrors.words(error) if isinstance(error, OSError) else str(error)
            self._queue_trouble = _cannot_forward(DEFERRED, f"can't reach the queue: {reason} (#4.3.0)".encode())
            raise self._queue_trouble from error
        if reply.letter != DELIVERED:
            raise _cannot_forward(reply.letter, reply.text)
        delivery.end(DELIVERED, b"did %d+%d+0\nqp %b\n" % (delivery.files, len(delivery.forwards), reply.text))
        return False


def _request(delivery: Delivery, path: str) -> maildir.Request:
    if not path.startswith("/"):
        path = f"{delivery.home}/{path.removeprefix('./')}"
    sender = address.quote(delivery.sender).replace(b"\n", b"_")
    head = b"Return-Path: <%b>\n%b" % (sender, delivery.delivered_to())
    message, create = delivery.message, delivery.plan.make_maildir
    if message.descriptor < 0:
        return maildir.Request(path, head, message.inline, create=create)
    return maildir.Request(path, head + message.inline, message.descriptor, message.size, create=create)


def _forwarded(delivery: Delivery) -> Iterator[bytes]:
    yield delivery.delivered_to()
    yield from delivery.message.chunks()


def _cannot_forward(letter: bytes, text: bytes) -> Refusal:
    return Refusal(letter, b"Unable to forward message: %b.\n" % text.rstrip(b"\n."))
