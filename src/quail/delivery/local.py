"""Local delivery of one message, straight through: what qmail-local does (qmail-local(8), facts 6.4-6.8).

It waits where it must, for programs, locks, disks and the queue, so it has a process of its own: the program qmail-local, or a
child of a delivery worker. Messages that need none of this waiting are delivered many at a time, by batch.py.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import time

from quail import oserrors
from quail.delivery.dotqmail import STICKY, Plan, Plans
from quail.delivery.environment import environment
from quail.delivery.instructions import FORWARD, MAILDIR, MBOX, PROGRAM, REFUSE, Step
from quail.delivery.message import UnreadableError
from quail.delivery.order import Order
from quail.delivery.program import OrphanedError, Runner
from quail.delivery.refusal import Refusal
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY
from quail.net.lspawn_protocol import DEFERRED, DELIVERED, FAILED
from quail.queue.handover import Reply
from quail.storage import maildir, mbox
from quail.storage.calls import REAL, SystemCalls

LOOPING = b"This message is looping: it already has my Delivered-To line. (#5.4.6)\n"
UNREADABLE = b"Unable to read message. (#4.3.0)\n"
INTERNAL = b"Internal error in local delivery. (#4.3.0)\n"


class Surroundings:
    """What a delivery uses of the world. runner: of programs, environment: their base. forward(sender, recipients,
    chunks) gives a message to the queue. log gets causes that qmail-local's texts do not tell.
    """

    __slots__ = ("calls", "environment", "forward", "log", "runner")

    def __init__(
        self,
        *,
        runner: Runner,
        environment: Mapping[bytes, bytes],
        forward: Callable[[bytes, list[bytes], Iterable[bytes]], Reply],
        log: Callable[[str], None],
        calls: SystemCalls = REAL,
    ) -> None:
        """As described above."""
        self.runner = runner
        self.environment = environment
        self.forward = forward
        self.log = log
        self.calls = calls


def deliver(order: Order, plans: Plans, surroundings: Surroundings) -> bytes:
    """Follow all steps, in the home as working directory; returns the text of success. Refusal says how else it has ended.

    Descriptors 1 and 2 get what programs write.
    """
    try:
        return _Delivery(order, plans, surroundings).follow()
    except UnreadableError as error:
        surroundings.log(f"message for {order.recipient!r}: {error}")
        raise Refusal(DEFERRED, UNREADABLE) from error


def report(order: Order, plans: Plans, surroundings: Surroundings) -> tuple[int, bytes]:
    """Deliver; qmail-local's exit code and the text that it ends with. Raises nothing: a bug puts the message off."""
    try:
        return 0, deliver(order, plans, surroundings)
    except Refusal as refusal:
        return exit_code(refusal), refusal.text
    except OrphanedError:
        return EXIT_TEMPORARY, b""
    except Exception:
        from traceback import format_exc  # noqa: PLC0415  it is not needed often

        surroundings.log(format_exc())
        return EXIT_TEMPORARY, INTERNAL


class _Delivery:
    """One run of deliver()."""

    def __init__(self, order: Order, plans: Plans, surroundings: Surroundings) -> None:
        self._order = order
        self._plans = plans
        self._use = surroundings
        self._files = 0
        self._programs = 0
        self._forwards: list[bytes] = []

    def follow(self) -> bytes:
        order, plans = self._order, self._plans
        plans.check_home(order.home)
        _enter(order.home)
        if order.message.header_has(order.delivered_to()):
            raise Refusal(FAILED, LOOPING)
        plan = plans.find(order.home, order.dash, order.ext)
        new_sender = plans.new_sender(order.home, order.dash, order.ext, order.sender, order.local, order.host)
        for step in plan.steps:
            if not self._take(step, plan, new_sender):
                break
        if not self._forwards:
            return self._counts()
        reply = self._use.forward(new_sender, self._forwards, forwarded(order))
        if reply.letter != DELIVERED:
            raise cannot_forward(reply.letter, reply.text)
        return self._counts() + b"qp %b\n" % reply.text

    def _counts(self) -> bytes:
        return counts(self._files, len(self._forwards), self._programs)

    def _take(self, step: Step, plan: Plan, new_sender: bytes) -> bool:
        """Follow one step; whether the next one is to be followed."""
        if step.kind == FORWARD:
            self._forwards.append(step.value)
        elif step.kind == REFUSE:
            raise Refusal(DEFERRED, step.value + b"\n")
        elif step.kind == PROGRAM:
            self._programs += 1
            return self._run(step, plan, new_sender)
        elif step.kind == MBOX:
            self._files += 1
            self._to_mbox(step.value)
        else:
            self._files += 1
            self._to_maildir(step.value, create=plan.make_maildir)
        return True

    def _run(self, step: Step, plan: Plan, new_sender: bytes) -> bool:
        variables = environment(
            self._use.environment, self._order, default=plan.default, new_sender=new_sender, now=time()
        )
        message = self._order.message.opened()
        try:
            return self._use.runner.run(step.value, message, variables, plan.where(step))
        finally:
            os.close(message)

    def _to_mbox(self, name: bytes) -> None:
        order, calls = self._order, self._use.calls
        head = order.from_line(time()) + order.return_path() + order.delivered_to()
        try:
            mbox.deliver(calls, path_in(order.home, name), head, order.message.chunks())
        except mbox.SlowLockError as error:
            raise Refusal(DEFERRED, mbox.LOCKED + b"\n") from error
        except OSError as error:
            reason = oserrors.words(error).encode()
            if isinstance(error, mbox.OpenError):
                text = b"Unable to open %b: %b. (#4.2.1)\n" % (name, reason)
            else:
                text = b"Unable to write %b: %b. (#4.3.0)\n" % (name, reason)
            raise Refusal(DEFERRED, text) from error

    def _to_maildir(self, name: bytes, *, create: bool) -> None:
        request = maildir_request(self._order, name, create=create)
        maildir.deliver(self._use.calls, [request])
        if request.error is not None:
            self._use.log(f"{request.maildir}: {request.error} {request.cause}")
            raise Refusal(DEFERRED, request.error.encode() + b"\n")


def describe(order: Order, plans: Plans, *, show: Callable[[bytes], None], warn: Callable[[bytes], None]) -> None:
    """What would be done, a line for each step that is not a comment, and the counts (qmail-local -n). Nothing is done, nor
    is the message looked at. Refusal as for a delivery, once the steps before it are shown; `warn` is told of a sticky home.
    """
    try:
        plans.check_home(order.home)
    except Refusal as refusal:
        if refusal.text != STICKY:
            raise
        warn(b"Warning: home directory is sticky.\n")
    plan = plans.find(order.home, order.dash, order.ext)
    number = dict.fromkeys((MAILDIR, MBOX, PROGRAM, FORWARD), 0)
    lines: list[bytes] = []
    for step in plan.steps:
        if step.kind == REFUSE:
            show(b"".join(lines))
            raise Refusal(DEFERRED, step.value + b"\n")
        number[step.kind] += 1
        lines.append(b"%b %b\n" % (step.kind.encode(), step.value))
    lines.append(counts(number[MAILDIR] + number[MBOX], number[FORWARD], number[PROGRAM]))
    show(b"".join(lines))


def exit_code(refusal: Refusal) -> int:
    """What qmail-local exits with."""
    return EXIT_PERMANENT if refusal.letter == FAILED else EXIT_TEMPORARY


def counts(files: int, forwards: int, programs: int) -> bytes:
    """What qmail-local says when all went well."""
    return b"did %d+%d+%d\n" % (files, forwards, programs)


def path_in(home: str, name: bytes) -> str:
    """The path of a file that a line names, which begins with a dot or a slash."""
    path = os.fsdecode(name)
    return path if path.startswith("/") else f"{home}/{path.removeprefix('./')}"


def maildir_request(order: Order, name: bytes, *, create: bool) -> maildir.Request:
    """The message as it is written to the Maildir that a line names."""
    path = path_in(order.home, name)
    head = order.return_path() + order.delivered_to()
    message = order.message
    if message.descriptor < 0:
        return maildir.Request(path, head, message.inline, create=create)
    return maildir.Request(path, head + message.inline, message.descriptor, message.size, create=create)


def forwarded(order: Order) -> Iterator[bytes]:
    """The message as it is handed on."""
    yield order.delivered_to()
    yield from order.message.chunks()


def cannot_forward(letter: bytes, text: bytes) -> Refusal:
    """What the queue has answered, as qmail-local says it."""
    return Refusal(letter, b"Unable to forward message: %b.\n" % text.rstrip(b"\n."))


def _enter(home: str) -> None:
    try:
        os.chdir(home)
    except OSError as error:
        reason = oserrors.words(error).encode()
        raise Refusal(DEFERRED, b"Unable to switch to %b: %b. (#4.3.0)\n" % (os.fsencode(home), reason)) from error
