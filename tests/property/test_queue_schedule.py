"""Turns and limits: never too many deliveries, nobody forgotten, nobody starved, and the quadratic schedule."""

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quail.queue.schedule import LOCAL, REMOTE, LocalChannel, RemoteChannel, next_try

places = st.sampled_from([b"a", b"b", b"c", b"d"])
BIRTH = 1_700_000_000


class ChannelMachine(RuleBasedStateMachine):
    """What all channels have in common; `most` and `shares_full` say what a kind allows."""

    kind, limit, limit_each = None, 0, 0

    def __init__(self):
        super().__init__()
        self.channel = self.kind(limit=self.limit, limit_each=self.limit_each)
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
        assert destination in may
        if start:
            self.channel.started(destination)
            self.running[destination] += 1

    @rule(destination=places)
    def comes_to_nothing(self, destination):
        if self.running[destination]:
            self.running[destination] -= 1
            self.channel.ended(destination)

    @rule(destination=places, seconds=st.sampled_from([0.0, 1.9, 2.0, 300.0]), host_down=st.booleans())
    def report(self, destination, seconds, host_down):
        if self.running[destination]:
            self.learn(destination, seconds, host_down)
            self.channel.learn(destination, seconds=seconds, host_down=host_down)
            self.comes_to_nothing(destination)

    @rule(limit=st.integers(0, 9), each=st.integers(1, 4))
    def reread(self, limit, each):
        self.channel.set_limits(limit, each)

    @invariant()
    def counts(self):
        assert self.channel.running == sum(self.running.values())
        assert self.channel.waiting() == sum(self.waiting.values())
        for destination, count in self.running.items():
            place = self.channel._destinations.get(destination)
            assert (place.running if place is not None else 0) == count

    def learn(self, destination, seconds, host_down):
        pass

    def may_wait_for_its_turn(self):
        """Destinations that their own limit allows a group that waits."""
        return {d for (d, _, _), n in self.waiting.items() if n and self.running[d] < self.most(d)}

    def may_run(self):
        """Those that the channel's limits allow one, too."""
        if self.channel.running >= self.channel.limit:
            return set()
        return {destination for destination in self.may_wait_for_its_turn() if not self.shares_full(destination)}

    @invariant()
    def nothing_is_kept_of_a_destination_without_mail(self):
        for destination, place in self.channel._destinations.items():
            assert place or place.running or place.listed, destination

    def teardown(self):
        """With finite work everything has its turn, at the narrowest limits and however groups end."""
        self.channel.set_limits(1, 1)
        for destination in list(self.running):
            while self.running[destination]:
                self.report(destination, 300.0, True)
        for last in range(sum(self.waiting.values())):
            turn = self.channel.next()
            self.waiting[turn] -= 1
            self.channel.started(turn[0])
            self.channel.learn(turn[0], seconds=last % 3, host_down=last % 5 == 0)
            self.channel.ended(turn[0])
        assert self.channel.next() is None
        assert not sum(self.waiting.values())
        assert not self.channel._destinations


class LocalMachine(ChannelMachine):
    kind, limit, limit_each = LocalChannel, 6, 3

    def most(self, _destination):
        return min(self.channel.limit_each, max(1, self.channel.limit - self.channel.running))

    def shares_full(self, _destination):
        return False

    @invariant()
    def who_may_run_is_found(self):
        """Whatever waits where limits allow it is offered, or will be when the others have had their turns."""
        listed = {d for rounds in self.channel._rounds for line in rounds._lines for d in line}
        held = {d for line in self.channel._held.values() for d in line}
        assert self.may_run() <= listed | held

    @invariant()
    def who_is_held_has_deliveries(self):
        for count, held in self.channel._held.items():
            assert held
            assert all(self.channel._destinations[destination].running == count > 0 for destination in held)


class RemoteMachine(ChannelMachine):
    kind, limit, limit_each = RemoteChannel, 8, 3

    def __init__(self):
        super().__init__()
        self.windows = {}
        self.proven = set()

    def learn(self, destination, seconds, host_down):
        window, each = min(self.windows.get(destination, 5), self.channel.limit_each), self.channel.limit_each
        self.windows[destination] = max(1, window / 2) if host_down else min(window + 1 / int(window), each)
        self.proven.discard(destination)
        if seconds < 2 and not host_down:
            self.proven.add(destination)

    def most(self, destination):
        return int(min(self.windows.get(destination, 5) + 1e-6, self.channel.limit_each))

    def unproven_running(self):
        return sum(count for destination, count in self.running.items() if destination not in self.proven)

    def shares_full(self, destination):
        limit = self.channel.limit
        return destination not in self.proven and self.unproven_running() >= max(1, limit - limit // 4)

    @invariant()
    def slots_of_the_unproven_are_counted(self):
        assert self.channel._unproven == self.unproven_running()

    @invariant()
    def who_may_run_is_found(self):
        """In the rounds that are asked for it."""
        for proven, rounds in enumerate(self.channel._rounds):
            may = {d for d in self.may_wait_for_its_turn() if (d in self.proven) == proven}
            assert may <= {d for line in rounds._lines for d in line}

    @invariant()
    def nobody_is_listed_twice_in_a_line(self):
        for rounds in self.channel._rounds:
            for line in rounds._lines:
                assert len(line) == len(set(line))


LocalMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
RemoteMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestLocalChannel = LocalMachine.TestCase
TestRemoteChannel = RemoteMachine.TestCase


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
    channel = LocalChannel(limit=10, limit_each=10)
    for number in range(100):
        channel.add(b"busy", number, fresh=True)
    channel.add(b"quiet", 1000, fresh=True)
    assert (b"quiet", 1000, True) in turns(channel, 2)


def test_messages_of_one_destination_keep_their_order():
    channel = LocalChannel(limit=10, limit_each=10)
    for number in range(20):
        channel.add(b"one", number, fresh=True)
    assert [number for _, number, _ in turns(channel, 20)] == list(range(20))


def test_fresh_mail_does_not_wait_for_thousands_of_old_destinations():
    """Ten thousand hosts that do not answer, each with mail to be tried again, and one new message to somebody else."""
    channel = RemoteChannel(limit=20, limit_each=20)
    for number in range(10_000):
        channel.add(b"dead%d" % number, number, fresh=False)
    channel.add(b"alive", 99_999, fresh=True)
    assert (b"alive", 99_999, True) in turns(channel, 2)


def test_old_mail_has_its_share_while_new_mail_never_ends():
    channel = LocalChannel(limit=10, limit_each=10)
    for number in range(100):
        channel.add(b"one", number, fresh=True)
        channel.add(b"one", 1000 + number, fresh=False)
    taken = turns(channel, 100)
    assert sum(not fresh for _, _, fresh in taken) == 20
    assert [fresh for _, _, fresh in taken[5:10]].count(False) == 1


def test_a_slow_destination_holds_back_its_own_mail_only():
    channel = LocalChannel(limit=10, limit_each=2)
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
        assert when == min(now + {LOCAL: 100, REMOTE: 400}[channel], 2**32 - 1)  # the clock was set back meanwhile


def test_a_destination_with_one_message_is_small():
    """Anybody on the machine may queue a message for a hundred thousand of them, and another."""
    channel = RemoteChannel(limit=0, limit_each=1)
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
    channel = LocalChannel(limit=100, limit_each=50)
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
    channel = LocalChannel(limit=10, limit_each=5)
    for number in range(20):
        channel.add(b"one", number, fresh=True)
        channel.add(b"two", number, fresh=True)
    assert sorted(start_all(channel).values()) == [3, 4]
    for _ in range(3):
        channel.ended(b"one")
    assert sum(start_all(channel).values()) == 3
