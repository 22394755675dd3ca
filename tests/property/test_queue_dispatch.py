"""Messages, reports, operators and lost services in any order: each recipient once, each message over once, nothing left."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.queue.dispatching import Bench

from quail.message.verp import expand
from quail.queue import dispatch, records
from quail.queue.active import destination_of

RECIPIENTS = [b"a@here", b"b@here", b"c@here", b"z@else.org", *(b"%c@far.org" % letter for letter in b"stuvwxy")]
SENDERS = [b"from@x", b"list-@x-@[]"]
numbers = st.integers(1, 8)


class DispatchMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.kept = dispatch.KEPT_BODIES, dispatch.KEPT_MESSAGES
        dispatch.KEPT_BODIES, dispatch.KEPT_MESSAGES = 20, 3
        self.bench = Bench(local=3, remote=4, each=2, lifetime=1000)
        self.bench.dispatcher.channels["remote"].together = 3
        self.over = Counter()  # (message, recipient): reports K or D
        self.removed = set()
        self.ended = Counter()
        self.bounced = Counter()

    def teardown(self):
        """Everything ends when deliveries succeed, the disk writes and nobody holds anything."""
        bench = self.bench
        bench.connected = True
        for number in list(bench.store.state.held):
            bench.unhold(number)
        for _ in range(300):
            self.settle(10)
            while bench.started:
                self.success(0)
            self.tell_bounces()
            if not len(bench.store.state) and not bench.entries:
                break
            bench.wait(5000)
        bench.wait(0)  # turns that nobody is waiting for any more
        bench.nothing_is_kept()
        for number in range(1, bench.last_number + 1):
            assert self.ended[number] == 1, number
        dispatch.KEPT_BODIES, dispatch.KEPT_MESSAGES = self.kept

    # Mail.

    @precondition(lambda self: self.bench.last_number < 8)
    @rule(
        recipients=st.lists(st.sampled_from(RECIPIENTS), max_size=11, unique=True),
        body=st.binary(max_size=9),
        sender=st.sampled_from(SENDERS),
    )
    def accept(self, recipients, body, sender):
        self.bench.accept(*recipients, body=body, sender=sender)

    @precondition(lambda self: self.bench.last_number < 8)
    @rule(recipients=st.lists(st.sampled_from(RECIPIENTS), min_size=1, max_size=11, unique=True))
    def found_at_start(self, recipients):
        self.bench.dispatcher.resume(self.bench.stored(recipients))
        self.bench.dispatch()

    def report(self, index, letter, *, host_down=False):
        bench = self.bench
        if not bench.started:
            return
        index %= len(bench.started)
        delivery = bench.started[index]
        key = delivery.group.message.number, delivery.recipient
        late = delivery.group.began > delivery.group.message.birth + 1000
        assert self.over[key] == 0, "delivered although it was over"
        bench.report(letter, index=index, host_down=host_down)
        if letter in (b"K", b"D") or late:
            self.over[key] += 1

    @rule(index=st.integers(0, 9))
    def success(self, index):
        self.report(index, b"K")

    @rule(index=st.integers(0, 9))
    def failure(self, index):
        self.report(index, b"D")

    @rule(index=st.integers(0, 9))
    def deferral(self, index):
        self.report(index, b"Z")

    @rule(index=st.integers(0, 9))
    def dead_host(self, index):
        self.report(index, b"Z", host_down=True)

    # The disk.

    @rule(count=st.integers(1, 3))
    def settle(self, count):
        bench = self.bench
        for entry in bench.entries[:count]:
            if entry.kind == records.FINISHED:
                self.ended[entry.number] += 1
                assert self.ended[entry.number] == 1, "ended twice"
        bench.settle(count)

    @rule()
    def disk_fails(self):
        self.bench.dispatcher.suspended = True

    @rule()
    def tell_bounces(self):
        """The bounces that are due are durable."""
        bench = self.bench
        bounces, bench.bounces[:] = list(bench.bounces), []
        for message in bounces:
            if not message.removed:
                self.bounced[message.number] += 1
                assert self.bounced[message.number] == 1, "two bounces"
                failed = set(bench.store.state.failures[message.number])
                everybody = bench.store.messages[message.number][0].recipients
                assert not bench.store.state.left(message.number, everybody)
                assert failed
            bench.dispatcher.finish(message)

    # Time and operators.

    @rule(seconds=st.sampled_from([0, 1, 100, 400, 2000]))
    def wait(self, seconds):
        self.bench.wait(seconds)

    @rule()
    def alarm(self):
        self.bench.dispatcher.tick(everything=True)
        self.bench.dispatch()

    @rule(number=numbers)
    def retry(self, number):
        self.bench.dispatcher.release(number)
        self.bench.dispatch()

    @rule(number=numbers)
    def hold(self, number):
        if number in self.bench.store.state:
            self.bench.hold(number)

    @rule(number=numbers)
    def release(self, number):
        if number in self.bench.store.state.held:
            self.bench.unhold(number)

    @rule(number=numbers)
    def remove(self, number):
        if number in self.bench.store.state:
            self.bench.dispatcher.remove(number)

    @rule(channel=st.sampled_from(["local", "remote"]))
    def service_is_lost(self, channel):
        bench = self.bench
        bench.started = [delivery for delivery in bench.started if delivery.group.channel != channel]
        bench.connected = False
        bench.dispatcher.lost(channel)

    @rule(channel=st.sampled_from(["local", "remote"]))
    def service_is_back(self, channel):
        bench = self.bench
        bench.connected = True
        bench.dispatcher.available(channel)
        bench.dispatch()

    # Always.

    @invariant()
    def limits_hold(self):
        bench = self.bench
        groups = {d.group for d in bench.started}
        count = Counter(group.channel for group in groups)
        assert count["local"] <= 3
        assert count["remote"] <= 4
        assert max(Counter((g.channel, g.destination) for g in groups).values(), default=0) <= 2
        for name, channel in bench.dispatcher.channels.items():
            assert channel.running == count[name]

    @invariant()
    def groups_have_everything_in_common(self):
        for delivery in self.bench.started:
            together = delivery.group
            assert delivery in together.deliveries
            assert len(together.deliveries) <= (3 if together.channel == "remote" else 1)
            assert destination_of(together.channel, delivery.address) == together.destination
            assert expand(together.message.accepted.sender, delivery.address) == together.sender
        assert self.bench.dispatcher.deliveries == {d.number: d for d in self.bench.started}

    @invariant()
    def nobody_is_served_twice_at_a_time(self):
        pairs = Counter((d.group.message.number, d.recipient) for d in self.bench.started)
        assert max(pairs.values(), default=0) <= 1
        assert all(not self.over[pair] for pair in pairs)

    @invariant()
    def memory_is_accounted_for(self):
        dispatcher = self.bench.dispatcher
        active = dispatcher._active.values()
        assert dispatcher._kept_bytes == sum(len(message.body or b"") for message in active)
        assert dispatcher._kept_bytes <= dispatch.KEPT_BODIES + 9 * (len(self.bench.started) + 1)


DispatchMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestDispatch = DispatchMachine.TestCase
