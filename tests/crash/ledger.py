"""What a queue has promised: every message with what is sure and what was in flight, and whether a store keeps to it."""

from collections.abc import Iterable

from quail.queue import records
from quail.queue.store import Entry, Stored

FLIGHT, LIVE, GONE = "in flight", "live", "gone"


class Message:
    """`done` and `failed` are sure, `maybe_...` were in flight. `retries` and `holds` list what may be, the sure one first."""

    def __init__(self, number: int, entry: Entry, accepted: records.Accepted, body: bytes) -> None:
        self.number = number
        self.time = entry.time
        self.accepted = accepted
        self.body = body
        self.status = FLIGHT
        self.acknowledged = False
        self.finishing = False
        self.done: set[int] = set()
        self.maybe_done: set[int] = set()
        self.failed: dict[int, bytes] = {}
        self.maybe_failed: dict[int, bytes] = {}
        self.retries = [(0, 0)]
        self.holds = [False]

    def left(self) -> list[int]:
        """Recipients that nothing is known of, not even in flight."""
        over = self.done | self.maybe_done | self.failed.keys() | self.maybe_failed.keys()
        return [number for number in self.accepted.recipients if number not in over]


class Seen:
    """A live message as a recovered store shows it: `left` are the recipients that it would still serve."""

    def __init__(
        self,
        stored: Stored,
        body: bytes,
        left: dict[int, bytes],
        failures: dict[int, bytes],
        retry: tuple[int, int],
        *,
        held: bool,
    ) -> None:
        self.stored = stored
        self.body = body
        self.left = left
        self.failures = failures
        self.retry = retry
        self.held = held


class Ledger:
    """Tell it of every entry three times: begin() before its batch is written, then settle() or withdraw()."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}

    def live(self) -> list[Message]:
        """Messages that are acknowledged and neither finished nor being finished."""
        return [m for m in self.messages.values() if m.status is LIVE and not m.finishing]

    def add(self, entry: Entry, accepted: records.Accepted, body: bytes) -> None:
        """A new message, before the batch that accepts it."""
        self.messages[entry.number] = Message(entry.number, entry, accepted, body)

    def begin(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            message = self.messages[entry.number]
            if entry.kind == records.DONE:
                message.maybe_done.add(records.decode_number(entry.envelope))
            elif entry.kind == records.FAILED and entry.source is None:
                number, report = records.decode_failure(entry.envelope)
                message.maybe_failed[number] = report
            elif entry.kind == records.DEFERRED:
                message.retries.append(records.decode_schedule(entry.envelope))
            elif entry.kind in (records.HELD, records.RELEASED):
                message.holds.append(entry.kind == records.HELD)
            elif entry.kind == records.FINISHED:
                message.finishing = True

    def settle(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            message = self.messages[entry.number]
            if entry.kind == records.ACCEPTED and entry.source is None:
                message.status = LIVE
                message.acknowledged = True
            elif entry.kind == records.DONE:
                message.done.add(records.decode_number(entry.envelope))
            elif entry.kind == records.FAILED and entry.source is None:
                number, report = records.decode_failure(entry.envelope)
                message.failed[number] = report
            elif entry.kind == records.DEFERRED:
                message.retries = [records.decode_schedule(entry.envelope)]
            elif entry.kind in (records.HELD, records.RELEASED):
                message.holds = [entry.kind == records.HELD]
            elif entry.kind == records.FINISHED:
                message.status = GONE
        self._landed(entries)

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """The store has said that none of it is nor will be durable; a message is refused with 451."""
        for entry in entries:
            message = self.messages[entry.number]
            if entry.kind == records.ACCEPTED and entry.source is None:
                message.status = GONE
            message.finishing = False
        self._landed(entries)

    def _landed(self, entries: Iterable[Entry]) -> None:
        for message in {entry.number: self.messages[entry.number] for entry in entries}.values():
            message.maybe_done.clear()
            message.maybe_failed.clear()
            del message.retries[1:], message.holds[1:]

    def check(self, seen: dict[int, Seen], next_number: int) -> None:
        """AssertionError, saying what is broken, if a store that shows this has broken a promise."""
        for number, message in self.messages.items():
            if message.status is LIVE and not message.finishing:
                assert number in seen, f"message {number} was acknowledged and is missing"
            elif message.status is GONE:
                assert number not in seen, f"message {number} was finished or refused and is back"
            if message.acknowledged:
                assert number < next_number, f"number {number} would be given again"
        for number, shown in seen.items():
            assert number in self.messages, f"message {number} comes from nowhere"
            self._compare(self.messages[number], shown)

    def _compare(self, message: Message, shown: Seen) -> None:
        name, accepted = f"message {message.number}", message.accepted
        found = shown.stored.accepted
        assert shown.body == message.body, f"{name}: body differs"
        assert shown.stored.size == len(message.body), f"{name}: size differs"
        assert found.sender == accepted.sender, f"{name}: sender differs"
        assert found.attributes == accepted.attributes, f"{name}: attributes differ"
        assert (found.uid, found.pid) == (accepted.uid, accepted.pid), f"{name}: injector differs"
        assert shown.stored.time == message.time, f"{name}: time differs"
        over = message.done | message.failed.keys()
        may_be_over = over | message.maybe_done | message.maybe_failed.keys()
        assert not over & shown.left.keys(), f"{name}: recipients {over & shown.left.keys()} come back"
        missing = accepted.recipients.keys() - may_be_over - shown.left.keys()
        assert not missing, f"{name}: recipients {missing} are lost"
        for number, address in shown.left.items():
            assert accepted.recipients.get(number) == address, f"{name}: recipient {number} differs"
        for number, report in message.failed.items():
            assert shown.failures.get(number) == report, f"{name}: the failure of {number} is lost"
        for number, report in shown.failures.items():
            assert (message.failed | message.maybe_failed).get(number) == report, f"{name}: failure of {number}"
            assert number not in shown.left, f"{name}: recipient {number} failed and is tried again"
        assert shown.retry in message.retries, f"{name}: retry {shown.retry}, not {message.retries}"
        assert shown.held in message.holds, f"{name}: hold is {shown.held}, not {message.holds}"

    def without(self, numbers: Iterable[int]) -> "Ledger":
        """The same promises about all other messages."""
        other = Ledger()
        other.messages = {n: message for n, message in self.messages.items() if n not in numbers}
        return other

    def keeps(self, number: int, shown: Seen | None) -> bool:
        """Whether this is what was promised of one message."""
        one = Ledger()
        one.messages = {number: self.messages[number]}
        try:
            one.check({} if shown is None else {number: shown}, number + 1)
        except AssertionError:
            return False
        return True

    def shown(self, seen: dict[int, Seen]) -> "Ledger":
        """A ledger that holds a recovered store to exactly what it has shown."""
        other = Ledger()
        for number, message in self.messages.items():
            shown = seen.get(number)
            entry = Entry(records.ACCEPTED, number, message.time)
            copy = other.messages[number] = Message(number, entry, message.accepted, message.body)
            copy.status = GONE if shown is None else LIVE
            copy.acknowledged = message.acknowledged or shown is not None
            if shown is not None:
                copy.failed = dict(shown.failures)
                copy.done = set(message.accepted.recipients) - shown.left.keys() - shown.failures.keys()
                copy.retries, copy.holds = [shown.retry], [shown.held]
        return other
