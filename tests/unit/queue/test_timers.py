"""Timers: in their order, everything at once at ALRM, and none of messages that are over for ever."""

import pytest

from quail.queue import timers as module
from quail.queue.state import State
from quail.queue.timers import Timers


@pytest.fixture
def timers():
    state = State()
    for number in range(1, 10):
        state.accept(number, 1, number * 64, 64)
    return Timers(state)


def take_all(timers, now):
    taken = []
    while (due := timers.take(now)) is not None:
        taken.append(due)
    return taken


def test_what_is_due_comes_in_the_order_of_time(timers):
    timers.set(3, remote=True, when=300)
    timers.set(2, remote=False, when=200)
    timers.set(1, remote=True, when=200)
    assert timers.next() == 200
    assert timers.take(199) is None
    assert take_all(timers, 200) == [(1, True), (2, False)]
    assert timers.next() == 300
    assert take_all(timers, 10**9) == [(3, True)]
    assert timers.next() is None


def test_everything_is_due_but_what_is_set_later(timers):
    timers.set(2, remote=False, when=2000)
    timers.set(1, remote=True, when=3000)
    timers.everything_is_due()
    timers.set(2, remote=False, when=2500)
    assert take_all(timers, 0) == [(2, False), (1, True)]
    assert len(timers) == 1


def test_a_second_alarm_before_the_first_is_through(timers):
    timers.set(1, remote=False, when=1000)
    timers.set(2, remote=False, when=2000)
    timers.everything_is_due()
    assert timers.take(0) == (1, False)
    timers.set(3, remote=False, when=1500)
    timers.everything_is_due()
    assert take_all(timers, 0) == [(3, False), (2, False)]


def test_old_timers_are_swept_out_and_the_last_of_each_message_counts(timers, monkeypatch):
    monkeypatch.setattr(module, "SPARE", 10)
    for when in range(100, 1000):
        timers.set(1, remote=True, when=when)
        timers.set(77, remote=True, when=when)  # is not in the queue any more
    timers.set(1, remote=False, when=50)
    assert len(timers) < 60
    assert timers.next() == 50
    assert take_all(timers, 10**9)[-1] in [(1, True), (77, True)]
