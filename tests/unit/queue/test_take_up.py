"""What was in the queue at start is taken up some at a time, while new mail comes and operators are at work."""

import pytest
from tests.unit.queue.dispatching import BIRTH, Bench


@pytest.fixture
def bench():
    return Bench(local=100, each=100)


def take_all_up(bench, count=3):
    rounds = 1
    while bench.dispatcher.take_up(count):
        rounds += 1
    bench.dispatcher.dispatch()
    return rounds


def test_some_at_a_time(bench):
    for number in range(10):
        bench.stored([b"%d@here" % number])
    bench.dispatcher.begin()
    assert bench.dispatcher.take_up(4)
    bench.dispatcher.dispatch()
    assert bench.to() == [b"0@here", b"1@here", b"2@here", b"3@here"]
    assert bench.dispatcher.take_up(4)
    assert not bench.dispatcher.take_up(4)
    assert not bench.dispatcher.take_up(4)
    bench.dispatcher.dispatch()
    assert bench.to() == [b"%d@here" % number for number in range(10)]


def test_nothing_was_there(bench):
    bench.dispatcher.begin()
    bench.accept(b"new@here")
    assert not bench.dispatcher.take_up(100)
    bench.dispatcher.dispatch()
    assert bench.to() == [b"new@here"]


def test_new_mail_meanwhile_is_not_taken_up_too(bench):
    for number in range(4):
        bench.stored([b"%d@here" % number])
    bench.dispatcher.begin()
    bench.accept(b"new@here")
    take_all_up(bench)
    assert sorted(bench.to()) == [b"0@here", b"1@here", b"2@here", b"3@here", b"new@here"]
    while bench.started:
        bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_gone_before_its_turn(bench):
    numbers = [bench.stored([b"%d@here" % number]) for number in range(4)]
    bench.dispatcher.begin()
    bench.dispatcher.remove(numbers[0])
    bench.settle_all()
    bench.dispatcher.remove(numbers[2])  # not durable yet
    take_all_up(bench)
    assert bench.to() == [b"1@here", b"3@here"]
    bench.settle_all()
    assert bench.lines.count(f"end msg {numbers[2]}") == 1


def test_tried_by_hand_before_its_turn(bench):
    """It is due when its turn comes, and then once."""
    number = bench.stored([b"a@here"], retry=(BIRTH + 1000, 0))
    bench.dispatcher.begin()
    bench.dispatcher.release(number)
    take_all_up(bench)
    assert bench.to() == [b"a@here"]
    bench.report(b"Z")
    bench.wait(99)
    assert bench.to() == []
    bench.wait(2)
    assert bench.to() == [b"a@here"]


def test_an_alarm_before_its_turn(bench):
    for number in range(8):
        bench.stored([b"%d@here" % number], retry=(BIRTH + 1000, 0))
    bench.dispatcher.begin()
    bench.dispatcher.take_up(3)
    bench.dispatcher.tick(everything=True)
    take_all_up(bench)
    assert sorted(bench.to()) == [b"%d@here" % number for number in range(8)]


def test_held_before_its_turn(bench):
    number = bench.stored([b"a@here"])
    bench.dispatcher.begin()
    bench.hold(number)
    take_all_up(bench)
    assert bench.to() == []
    bench.unhold(number)
    bench.settle_all()
    assert bench.to() == [b"a@here"]
