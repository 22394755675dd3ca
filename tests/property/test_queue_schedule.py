"""Turns and limits: never too many deliveries, nobody forgotten, nobody starved, and the quadratic schedule."""

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quail.queue.schedule import LOCAL, REMOTE, Channel, next_try

places = st.sampled_from([b"a", b"b", b"c", b"d"])
BIRTH = 1_700_000_000


class ChannelMachine(RuleBasedStateMachine):
    name, limit, limit_each = REMOTE, 3, 2

    def __init__(self):
        super().__init__()
        self.channel = Channel(self.name, limit=self.limit, limit_each=self.limit_each)
        self.waiting = Counter()  # (destination, number, fresh)
        self.running = Counter()

    @rule(destination=places, number=st.integers(1, 50), fresh=st.booleans(), front=st.booleans())
    def add(self, destination, number, fresh, front):
        self.channel.add(destination, number, fresh=fresh, front=front)
        self.waiting[destination, number, fresh] += 1

    @rule(start=st.booleans())
    def take_a_turn(self, start):
        may = self.may_run()
        turn = self.channel.next()
        if turn is None:
            assert not may
            return
        assert self.waiting[turn] > 0
        self.waiting[turn] -= 1
        destination = turn[0]
        assert self.channel.room(destination) > 0
        if start:
            self.channel.started(destination)
            self.running[destination] += 1

    @rule(destination=places)
    def report(self, destination):
        if self.running[destination]:
            self.running[destination] -= 1
            self.channel.ended(destination)

    @rule(limit=st.integers(0, 5), each=st.integers(1, 4))
    def reread(self, limit, each):
        self.channel.set_limits(limit, each)

    @invariant()
    def counts(self):
        assert self.channel.running == sum(self.running.values())
        assert self.channel.waiting() == sum(self.waiting.values())
        for destination, count in self.running.items():
            place = self.channel._destinations.get(destination)
            assert (place.running if place is not None else 0) == count

    def may_run(self):
        """Destinations at which limits allow a delivery that waits."""
        free = self.channel.limit - self.channel.running
        if free <= 0:
            return set()
        most = min(self.channel.limit_each, free) if self.name == LOCAL else self.channel.limit_each
        return {d for (d, _, _), n in self.waiting.items() if n and self.running[d] < most}

    @invariant()
    def who_may_run_is_found(self):
        """Whatever waits where limits allow it is offered, or will be when the others have had their turns."""
        listed = {d for line in self.channel._rounds for d in line}
        held = {d for line in self.channel._held.values() for d in line}
        assert self.may_run() <= listed | held

    @invariant()
    def nothing_is_kept_of_a_destination_without_mail(self):
        for destination, place in self.channel._destinations.items():
            assert place or place.running or place.listed, destination
        for count, held in self.channel._held.items():
            assert held
            assert all(self.channel._destinations[destination].running == count > 0 for destination in held)

    def teardown(self):
        self.channel.set_limits(1000, 1000)
        for destination in list(self.running):
            while self.running[destination]:
                self.report(destination)
        while (turn := self.channel.next()) is not None:
            self.waiting[turn] -= 1
        assert not sum(self.waiting.values())
        assert not self.channel._destinations


class LocalMachine(ChannelMachine):
    name, limit, limit_each = LOCAL, 6, 3


ChannelMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
LocalMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestChannel = ChannelMachine.TestCase
TestLocalChannel = LocalMachine.TestCase


def turns(channel, count):
    """The next turns, each of which ends at once."""
    taken = []
    for _ in range(count):
        turn = channel.next()
        if turn is None:
            break
        channel.started(turn[0])
        channel.ended(turn[0])
        taken.append(turn)
    return taken


def test_destinations_take_turns():
    channel = Channel(LOCAL, limit=10, limit_each=10)
    for number in range(100):
        channel.add(b"busy", number, fresh=True)
    channel.add(b"quiet", 1000, fresh=True)
    assert (b"quiet", 1000, True) in turns(channel, 2)


def test_messages_of_one_destination_keep_their_order():
    channel = Channel(LOCAL, limit=10, limit_each=10)
    for number in range(20):
        channel.add(b"one", number, fresh=True)
    assert [number for _, number, _ in turns(channel, 20)] == list(range(20))


def test_fresh_mail_does_not_wait_for_thousands_of_old_destinations():
    """Ten thousand hosts that do not answer, each with mail to be tried again, and one new message to somebody else."""
    channel = Channel(REMOTE, limit=20, limit_each=20)
    for number in range(10_000):
        channel.add(b"dead%d" % number, number, fresh=False)
    channel.add(b"alive", 99_999, fresh=True)
    assert (b"alive", 99_999, True) in turns(channel, 2)


def test_old_mail_has_its_share_while_new_mail_never_ends():
    channel = Channel(LOCAL, limit=10, limit_each=10)
    for number in range(100):
        channel.add(b"one", number, fresh=True)
        channel.add(b"one", 1000 + number, fresh=False)
    taken = turns(channel, 100)
    assert sum(not fresh for _, _, fresh in taken) == 20
    assert [fresh for _, _, fresh in taken[5:10]].count(False) == 1


def test_a_slow_destination_holds_back_its_own_mail_only():
    channel = Channel(LOCAL, limit=10, limit_each=2)
    for number in range(10):
        channel.add(b"slow", number, fresh=True)
    for _ in range(2):
        destination, _, _ = channel.next()
        channel.started(destination)
    assert channel.next() is None
    channel.add(b"quick", 50, fresh=True)
    assert turns(channel, 5) == [(b"quick", 50, True)]
    channel.ended(b"slow")
    assert channel.next()[0] == b"slow"


# facts 7.3


def series(channel, count):
    times, now = [], BIRTH
    for _ in range(count):
        times.append(now - BIRTH)
        now = next_try(channel, BIRTH, now)
    return times


def test_the_ideal_series():
    assert series(LOCAL, 79) == [100 * k * k for k in range(79)]
    assert series(REMOTE, 40) == [400 * k * k for k in range(40)]


def test_attempts_in_a_week():
    week = 604_800
    assert sum(age <= week for age in series(LOCAL, 200)) == 78
    assert series(LOCAL, 79)[-1] == 608_400  # the last one, when the message is given up
    assert sum(age <= week for age in series(REMOTE, 200)) == 39


def test_after_an_alarm_at_71_seconds():
    assert next_try(LOCAL, BIRTH, BIRTH + 71) == BIRTH + 324  # facts 15.3


@given(st.sampled_from([LOCAL, REMOTE]), st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_next_try_lies_ahead_and_fits_its_record(channel, birth, now):
    when = next_try(channel, birth, now)
    assert when <= 2**32 - 1
    if birth <= now <= 2**31:
        assert now < when
        assert next_try(channel, birth, now + 1) >= when
    if birth > now:
        assert when == min(birth + {LOCAL: 100, REMOTE: 400}[channel], 2**32 - 1)


def test_a_destination_with_one_message_is_small():
    """Anybody on the machine may queue a message for a hundred thousand of them, and another."""
    channel = Channel(REMOTE, limit=0, limit_each=1)
    tracemalloc.start()
    try:
        for number in range(10_000):
            channel.add(b"host%d.example" % number, number, fresh=True)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 10_000 * 400


def start_all(channel):
    """Start what may start; how many at each destination."""
    started = Counter()
    while (turn := channel.next()) is not None:
        channel.started(turn[0])
        started[turn[0]] += 1
    return started


@pytest.mark.parametrize("hogs", [1, 2, 3, 4])
@pytest.mark.parametrize("together", [False, True])
def test_those_whose_deliveries_never_end_leave_room_for_others(hogs, together):
    channel = Channel(LOCAL, limit=100, limit_each=50)
    for hog in range(hogs):
        for number in range(200):
            channel.add(b"hog%d" % hog, number, fresh=True)
        if not together:
            start_all(channel)
    start_all(channel)
    assert channel.running <= (100 - 100 // (hogs + 1) if together else 95)
    for number in range(50):
        channel.add(b"other", number, fresh=True)
    assert len(turns(channel, 50)) == 50  # their deliveries end, and so all of them have their turn


def test_two_busy_ones_have_a_third_each_and_go_on_as_deliveries_end():
    channel = Channel(LOCAL, limit=10, limit_each=5)
    for number in range(20):
        channel.add(b"one", number, fresh=True)
        channel.add(b"two", number, fresh=True)
    assert sorted(start_all(channel).values()) == [3, 4]
    for _ in range(3):
        channel.ended(b"one")
    assert sum(start_all(channel).values()) == 3


def test_many_recipients_at_one_destination_leave_room_too():
    channel = Channel(LOCAL, limit=100, limit_each=50)
    assert channel.room(b"new") == 50
    for _ in range(50):
        channel.started(b"one")
    assert channel.room(b"one") == 0
    assert channel.room(b"two") == 25
    assert Channel(REMOTE, limit=20, limit_each=20).room(b"host") == 20
