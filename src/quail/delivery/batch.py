"""Local delivery of many messages at once, as qmail-local would do each: dot-qmail steps in order, then forwarding.

Messages go through their steps side by side, so that all which are due for a Maildir at the same time share what durability
costs, and what is to be forwarded is handed over as a whole. A step that fails ends its own message with a report; nothing
is forwarded unless all other steps of the message succeeded (dot-qmail(5)). Texts are qmail-local's.

Nothing here waits for anybody but the disk and the queue: messages with program or mbox steps are left to local.py.
"""

import traceback
from collections.abc import Callable

from quail import oserrors
from quail.delivery import local
from quail.delivery.dotqmail import Plan, Plans
from quail.delivery.instructions import FORWARD, REFUSE
from quail.delivery.message import UnreadableError
from quail.delivery.order import Order
from quail.delivery.refusal import Refusal
from quail.errors import QuailError
from quail.net.lspawn_protocol import DEFERRED, DELIVERED, FAILED
from quail.queue.handover import MAX_UNANSWERED, Client
from quail.storage import maildir
from quail.storage.calls import REAL, SystemCalls


class Delivery:
    """An order on its way; `letter` and `text` are its report once it is done (letter is empty before). tag: the caller's
    own.
    """

    __slots__ = ("files", "forwards", "letter", "order", "plan", "position", "request", "tag", "text")

    plan: Plan
    request: maildir.Request

    def __init__(self, tag: int, order: Order) -> None:
        """Not begun."""
        self.tag = tag
        self.order = order
        self.position = 0
        self.files = 0
        self.forwards: list[bytes] = []
        self.letter = b""
        self.text = b""

    def end(self, letter: bytes, text: bytes) -> None:
        """The report; nothing more is done with the message."""
        self.letter = letter
        self.text = text


class Batches:
    """Delivers one batch after another for the same user."""

    def __init__(
        self,
        default_delivery: bytes,
        queue: Client,
        log: Callable[[str], None],
        calls: SystemCalls = REAL,
        *,
        programs: bool = True,
        forwards: bool = True,
    ) -> None:
        """`default_delivery`: dot-qmail lines. `log` gets causes that qmail-local's texts do not tell. programs: whether
        files may have program lines. forwards: whether `queue` is the way for forwarded mail.
        """
        self._default_delivery = default_delivery
        self._queue = queue
        self._log = log
        self._calls = calls
        self._programs = programs
        self._forwards = forwards
        self._plans = Plans(default_delivery, programs=programs)
        self._queue_trouble: Refusal | None = None

    def deliver(self, deliveries: list[Delivery], done: Callable[[list[Delivery]], None]) -> list[Delivery]:
        """Give deliveries their reports and tell `done`, at once of those that need nothing from the queue. Returns those that
        were not begun, because they may wait for somebody.
        """
        self._plans = Plans(self._default_delivery, programs=self._programs)
        apart: list[Delivery] = []
        together: list[Delivery] = []
        for delivery in deliveries:
            if self._guarded(self._begin, delivery):
                (apart if self._may_wait(delivery.plan) else together).append(delivery)
        active = together
        while active:
            due = [delivery for delivery in active if self._guarded(self._advance, delivery)]
            self._to_maildirs(due)
            active = [delivery for delivery in due if not delivery.letter]
        forwarding = [
            delivery for delivery in together if not delivery.letter and self._guarded(self._finish, delivery)
        ]
        ready = [delivery for delivery in deliveries if delivery.letter]
        if ready:
            done(ready)
        if forwarding:
            self._forward(forwarding, done)
        return apart

    def _may_wait(self, plan: Plan) -> bool:
        return plan.may_wait or (plan.forwards and not self._forwards)

    def _guarded(self, step: Callable[[Delivery], bool], delivery: Delivery) -> bool:
        """Whether the step says that there is more to do; whatever it raises is a report of this delivery alone."""
        try:
            return step(delivery)
        except Refusal as refusal:
            delivery.end(refusal.letter, refusal.text)
        except UnreadableError as error:
            delivery.end(DEFERRED, local.UNREADABLE)
            self._log(f"message for {delivery.order.recipient!r}: {error}")
        except Exception:
            delivery.end(DEFERRED, local.INTERNAL)
            self._log(traceback.format_exc())
        return False

    def _begin(self, delivery: Delivery) -> bool:
        order = delivery.order
        self._plans.check_home(order.home)
        if order.message.header_has(order.delivered_to()):
            raise Refusal(FAILED, local.LOOPING)
        delivery.plan = self._plans.find(order.home, order.dash, order.ext)
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
                delivery.request = local.maildir_request(delivery.order, step.value, create=delivery.plan.make_maildir)
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
                delivery.end(DEFERRED, local.INTERNAL)
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
        delivery.end(DELIVERED, local.counts(delivery.files, 0, 0))
        return False

    # Forwarding: many messages go to the queue before the first reply is waited for, so that it has them in one batch too.

    def _forward(self, deliveries: list[Delivery], done: Callable[[list[Delivery]], None]) -> None:
        """Hand each over, for all its addresses at once, and report what the queue has answered."""
        self._queue_trouble = None
        for start in range(0, len(deliveries), MAX_UNANSWERED):
            lot = deliveries[start : start + MAX_UNANSWERED]
            submitted = [delivery for delivery in lot if self._guarded(self._submit, delivery)]
            ended = [delivery for delivery in lot if delivery.letter]
            for delivery in submitted:
                if ended and not self._queue.has_reply:
                    done(ended)
                    ended = []
                self._guarded(self._hear, delivery)
                ended.append(delivery)
            done(ended)

    def _submit(self, delivery: Delivery) -> bool:
        order = delivery.order
        if self._queue_trouble is not None:
            raise self._queue_trouble  # one wait for a queue that does not answer is enough for a batch
        sender = self._plans.new_sender(order.home, order.dash, order.ext, order.sender, order.local, order.host)
        try:
            self._queue.submit(sender, delivery.forwards, local.forwarded(order))
        except UnreadableError:
            raise
        except (OSError, QuailError) as error:
            raise self._trouble(error) from error
        return True

    def _hear(self, delivery: Delivery) -> bool:
        try:
            reply = self._queue.reply()
        except (OSError, QuailError) as error:
            raise self._trouble(error) from error
        if reply.letter != DELIVERED:
            raise local.cannot_forward(reply.letter, reply.text)
        text = local.counts(delivery.files, len(delivery.forwards), 0)
        delivery.end(DELIVERED, text + b"qp %b\n" % reply.text)
        return False

    def _trouble(self, error: Exception) -> Refusal:
        """What all hear that the queue has not answered; the first error is the cause of the others."""
        if self._queue_trouble is None:
            reason = oserrors.words(error) if isinstance(error, OSError) else str(error)
            self._queue_trouble = local.cannot_forward(DEFERRED, f"can't reach the queue: {reason} (#4.3.0)".encode())
        return self._queue_trouble
