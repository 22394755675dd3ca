"""Hold, release, remove, retry and ALRM at every moment of a message's life: nobody gets it twice, nothing is left behind."""

import pytest
from tests.unit.queue.dispatching import BIRTH, Bench

from quail.queue import dispatch, records, timers


@pytest.fixture
def bench():
    return Bench()


def alarm(bench):
    bench.dispatcher.tick(everything=True)
    bench.dispatch()


def retry(bench, number=1):
    bench.dispatcher.release(number)
    bench.dispatch()


def test_a_held_message_waits_until_it_is_released(bench):
    number = bench.stored([b"a@here"])
    bench.dispatcher.resume(number)
    bench.hold(number)
    bench.dispatch()
    assert not bench.started
    bench.settle_all()
    bench.wait(1000)
    assert not bench.started
    bench.unhold(number)
    bench.settle_all()
    assert bench.to() == [b"a@here"]
    bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_held_while_deferred_survives_an_alarm_and_is_tried_after_release(bench):
    bench.accept(b"a@here")
    bench.report(b"Z")
    bench.settle_all()
    bench.hold(1)
    alarm(bench)
    assert not bench.started
    bench.unhold(1)
    bench.settle_all()
    assert bench.to() == [b"a@here"]
    bench.report(b"Z")
    bench.settle_all()
    assert bench.dispatcher.next_timer() is not None


def test_held_in_flight_alarm_release_deferred_again_has_a_next_try(bench):
    """The timer that the alarm took away from the held message must come back with the next deferral."""
    bench.accept(b"a@here", b"b@here")
    bench.report(b"Z")  # a: the channel tries again in 100 s
    bench.hold(1)
    alarm(bench)
    bench.unhold(1)
    bench.settle_all()
    while bench.started:
        bench.report(b"Z")
        bench.settle_all()
    assert bench.dispatcher.next_timer() is not None
    bench.wait(500)
    assert sorted(bench.to()) == [b"a@here", b"b@here"]


def test_held_in_flight_success_ends_the_message(bench):
    bench.accept(b"a@here")
    bench.hold(1)
    bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_hold_behind_the_finished_mark_leaves_nothing(bench):
    bench.accept(b"a@here")
    bench.report(b"K")
    bench.hold(1)  # the FINISHED entry is on its way to disk
    bench.settle_all()
    bench.nothing_is_kept()


def test_retry_while_the_finished_mark_is_on_its_way(bench):
    bench.accept(b"a@here")
    bench.report(b"K")
    retry(bench)
    assert not bench.started
    bench.settle_all()
    bench.nothing_is_kept()


def test_retry_while_a_done_mark_is_on_its_way(bench):
    bench.accept(b"a@here", b"b@here")
    bench.report(b"Z")
    bench.report(b"K")  # b is delivered, not yet marked
    retry(bench)
    assert bench.to() == [b"a@here"]
    bench.settle_all()
    assert bench.to() == [b"a@here"]


def test_alarm_while_a_done_mark_is_on_its_way(bench):
    bench.accept(b"a@here", b"b@here")
    bench.report(b"Z")
    bench.report(b"K")
    alarm(bench)
    assert bench.to() == [b"a@here"]


def test_retry_while_the_bounce_is_being_written(bench):
    bench.accept(b"a@here")
    bench.report(b"D", b"no\n")
    bench.settle_all()
    assert len(bench.bounces) == 1
    retry(bench)
    alarm(bench)
    assert len(bench.bounces) == 1
    bench.dispatcher.finish(bench.bounces[0])
    assert bench.kinds() == [records.FINISHED]
    bench.settle_all()
    assert bench.lines.count("end msg 1") == 1
    bench.nothing_is_kept()


def test_remove_while_the_bounce_is_being_written(bench):
    bench.accept(b"a@here")
    bench.report(b"D", b"no\n")
    bench.settle_all()
    bench.dispatcher.remove(1)
    assert bench.kinds() == [records.FINISHED]
    assert bench.bounces[0].removed  # a bounce that waits for its second attempt is not made any more
    bench.dispatcher.finish(bench.bounces[0])  # it was on its way already
    assert bench.kinds() == [records.FINISHED]
    bench.settle_all()
    assert bench.lines.count("end msg 1") == 1
    bench.nothing_is_kept()


def test_remove_a_waiting_message(bench):
    number = bench.stored([b"a@here"])
    bench.dispatcher.resume(number)
    bench.dispatcher.remove(number)
    bench.dispatcher.remove(number)
    bench.dispatch()
    assert not bench.started
    assert bench.kinds() == [records.FINISHED]
    bench.settle_all()
    bench.dispatch()
    assert bench.lines.count(f"end msg {number}") == 1
    bench.nothing_is_kept()


def test_remove_a_fresh_message_that_waits_for_its_turn():
    bench = Bench(local=0)
    bench.accept(b"a@here", b"b@here")
    bench.dispatcher.remove(1)
    bench.settle_all()
    bench.dispatcher.channels["local"].limit = 10
    bench.dispatch()
    assert not bench.started
    bench.nothing_is_kept()


@pytest.mark.parametrize("letter", [b"K", b"Z", b"D", b"?"])
def test_remove_in_flight_ends_the_message_whatever_the_report(bench, letter):
    bench.accept(b"a@here", b"b@here")
    bench.dispatcher.remove(1)
    bench.settle_all()
    bench.report(letter)
    assert not bench.entries
    bench.report(letter)
    assert bench.kinds() == [records.FINISHED]
    bench.settle_all()
    assert not bench.bounces
    bench.nothing_is_kept()


def test_what_was_removed_in_flight_goes_to_nobody_after_a_restart():
    """A host may keep one delivery waiting for long, and the message have thousands of other recipients."""
    bench = Bench(local=1)
    bench.accept(b"a@here", b"b@here")
    bench.dispatcher.remove(1)
    bench.dispatcher.remove(1)
    assert bench.kinds() == [records.HELD]
    bench.settle_all()
    after = Bench()
    after.dispatcher._store = after.store = bench.store
    after.dispatcher.resume(1)
    after.dispatch()
    assert not after.started


def test_remove_in_flight_and_the_delivery_service_is_lost(bench):
    bench.accept(b"a@here", b"b@here")
    bench.dispatcher.remove(1)
    bench.started.clear()
    bench.dispatcher.lost("local")
    bench.dispatch()
    assert not bench.started
    bench.settle_all()
    bench.nothing_is_kept()


def test_remove_with_failures_makes_no_bounce(bench):
    bench.accept(b"a@here", b"b@here")
    bench.report(b"D", b"no\n")
    bench.settle_all()
    bench.dispatcher.remove(1)
    bench.report(b"Z")
    bench.settle_all()
    assert not bench.bounces
    bench.nothing_is_kept()


def test_remove_while_a_mark_is_on_its_way(bench):
    bench.accept(b"a@here", b"b@here")
    bench.report(b"Z")
    bench.report(b"K")
    bench.dispatcher.remove(1)
    bench.settle_all()
    bench.nothing_is_kept()


def test_remove_what_is_not_there(bench):
    bench.dispatcher.remove(99)
    assert not bench.entries


def test_retry_of_a_deferred_message_is_at_once(bench):
    bench.accept(b"a@here")
    bench.report(b"Z")
    bench.settle_all()
    retry(bench)
    assert bench.to() == [b"a@here"]
    retry(bench)
    alarm(bench)
    assert bench.to() == [b"a@here"]  # never two deliveries to one recipient
    bench.report(b"K")
    bench.settle_all()
    bench.wait(10_000)
    bench.nothing_is_kept()


def test_retry_of_a_held_message_keeps_it_held(bench):
    number = bench.stored([b"a@here"])
    bench.hold(number)
    bench.settle_all()
    retry(bench, number)
    assert not bench.started


def test_timers_of_messages_retried_again_and_again_do_not_pile_up(bench, monkeypatch):
    monkeypatch.setattr(timers, "SPARE", 100)
    for n in range(20):
        bench.accept(b"r%d@far.org" % n)
    while bench.started:
        bench.report(b"Z")
    bench.settle_all()
    for _ in range(50):
        bench.clock += 1
        for number in range(1, 21):
            bench.dispatcher.release(number)
        bench.dispatch()
        while bench.started:
            bench.report(b"Z")
        bench.entries.clear()
        bench.lines.clear()
    assert len(bench.dispatcher._timers) <= 180
    bench.clock += 1_000_000
    bench.dispatcher.tick()
    bench.dispatch()
    assert len(bench.started) == 20


def test_a_deferral_that_is_settled_after_an_alarm_does_not_swallow_the_next(bench):
    bench.accept(b"a@here")
    bench.report(b"Z")
    alarm(bench)
    assert bench.to() == [b"a@here"]
    bench.settle_all()  # the first deferral's mark
    bench.report(b"Z")
    bench.settle_all()
    assert bench.dispatcher.next_timer() is not None
    bench.wait(1000)
    assert bench.to() == [b"a@here"]


def test_an_alarm_for_a_long_queue_lets_others_have_their_turn(bench, monkeypatch):
    monkeypatch.setattr(dispatch, "_TIMERS_AT_ONCE", 10)
    for n in range(25):
        bench.dispatcher.resume(bench.stored([b"r@far%d.org" % n], retry=(0, BIRTH + 5000)))
    assert bench.dispatcher.tick(everything=True)
    bench.dispatch()
    assert len(bench.started) == 10
    bench.report(b"Z")  # is not due again because of the same alarm
    assert bench.dispatcher.tick()
    assert not bench.dispatcher.tick()
    while bench.started:
        bench.report(b"Z")
    assert not bench.dispatcher.tick()
    assert bench.dispatcher.next_timer() == BIRTH + 400


def test_schedule_written_by_hand_is_not_lost_by_retry(bench):
    bench.accept(b"a@here", b"b@far.org")
    bench.report(b"Z")
    bench.report(b"Z")
    bench.settle_all()
    assert bench.store.state.retry(1) == (BIRTH + 100, BIRTH + 400)
    bench.wait(100)
    assert bench.to() == [b"a@here"]
    assert bench.store.state.retry(1) == (0, BIRTH + 400)
