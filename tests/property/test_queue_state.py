"""The table of live messages against a plain dictionary, and replay against what was written."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from quail.queue import state as module
from quail.queue.state import State, pack, unpack

module_rebuild_at = module._REBUILD_AT
times = st.integers(0, 2**32 - 1)
places = st.tuples(st.integers(1, 9), st.integers(0, 2**30), st.integers(1, 2**20))


class Model:
    def __init__(self, place, retry):
        self.place = place
        self.retry = retry
        self.done = set()
        self.failed = {}
        self.held = False


class StateMachine(RuleBasedStateMachine):
    """Numbers come in any order, as they do when a replay finds copies before or after their originals."""

    numbers = Bundle("numbers")

    def __init__(self):
        super().__init__()
        module._REBUILD_AT = 3  # rebuilds must happen in a short run
        self.state = State()
        self.model = {}

    def teardown(self):
        module._REBUILD_AT = module_rebuild_at

    @rule(target=numbers, number=st.integers(1, 60), place=places, retry=st.tuples(times, times))
    def accept(self, number, place, retry):
        self.state.accept(number, *place, retry)
        if number in self.model:
            self.model[number].place, self.model[number].retry = place, retry
        else:
            self.model[number] = Model(place, retry)
        return number

    @rule(number=numbers, retry=st.tuples(times, times))
    def defer(self, number, retry):
        self.state.defer(number, *retry)
        if number in self.model:
            self.model[number].retry = retry

    @rule(number=numbers, recipient=st.integers(0, 5))
    def done(self, number, recipient):
        if number in self.model:
            self.state.recipient_done(number, recipient)
            self.model[number].done.add(recipient)

    @rule(number=numbers, recipient=st.integers(0, 5), segment=st.integers(1, 9), offset=st.integers(0, 2**30))
    def failed(self, number, recipient, segment, offset):
        if number in self.model:
            self.state.recipient_failed(number, recipient, segment, offset)
            self.model[number].done.add(recipient)
            self.model[number].failed[recipient] = (segment, offset)

    @rule(number=consumes(numbers))
    def finish(self, number):
        self.state.finish(number)
        self.model.pop(number, None)

    @rule(number=st.integers(61, 90), recipient=st.integers(0, 5))
    def strays(self, number, recipient):
        """A replay meets marks whose message it never finds."""
        self.state.recipient_done(number, recipient)
        self.state.recipient_failed(number, recipient, 1, 0)
        self.state.held.add(number)
        self.state.large.add(number)
        self.state.restrict(number, [recipient])
        self.state.forget_strays()

    @invariant()
    def the_same_messages(self):
        state, model = self.state, self.model
        assert list(state) == sorted(model)
        assert len(state) == len(model)
        for number in range(95):
            assert (number in state) == (number in model)
            expected = model.get(number)
            assert state.place(number) == (expected.place if expected else None)
            assert state.retry(number) == (expected.retry if expected else (0, 0))
            everybody = dict.fromkeys(range(6), b"")
            if expected:
                assert state.left(number, everybody).keys() == everybody.keys() - expected.done
                assert (
                    state.named(number, everybody).keys() == (everybody.keys() - expected.done) | expected.failed.keys()
                )
                assert {r: unpack(p) for r, p in state.failures.get(number, {}).items()} == expected.failed

    @invariant()
    def pages(self):
        live = sorted(self.model)
        assert self.state.after(0, 1000) == live
        assert self.state.after(20, 3) == [number for number in live if number > 20][:3]

    @invariant()
    def bytes_of_each_segment(self):
        live = {}
        for model in self.model.values():
            live[model.place[0]] = live.get(model.place[0], 0) + model.place[2]
        assert {segment: count for segment, count in self.state.live.items() if count} == live

    @invariant()
    def failures_of_each_segment(self):
        count = {}
        for model in self.model.values():
            for segment, _ in model.failed.values():
                count[segment] = count.get(segment, 0) + 1
        assert self.state.failures_in == count

    @invariant()
    def nothing_is_kept_of_the_dead(self):
        state = self.state
        for table in (state.done, state.failures, state.held, state.large, state.only):
            assert set(table) <= set(self.model)


StateMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestState = StateMachine.TestCase


def test_a_place_comes_back():
    for place in ((1, 0), (99_999_999, 2**32 - 1), (12, 64 << 20)):
        assert unpack(pack(*place)) == place


def test_a_queue_of_many_is_small():
    """DESIGN: a million messages fit beside everything else; here a hundredth of them."""
    import sys

    state = State()
    for number in range(1, 10_001):
        state.accept(number, 1, number * 100, 100)
    columns = (state._numbers, state._places, state._sizes, state._local, state._remote)
    assert sum(map(sys.getsizeof, columns)) < 40 * 10_000
    for number in range(1, 10_001):
        state.finish(number)
    assert sum(map(sys.getsizeof, (state._numbers, state._places))) < 40_000
