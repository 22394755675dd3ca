"""Dispatch: which delivery starts, what a report means, when a message is tried again, bounced or over (facts 7)."""

import pytest
from tests.unit.queue.dispatching import BIRTH, WEEK, Bench

from quail.queue import dispatch, records
from quail.queue.schedule import next_try


@pytest.fixture
def bench():
    return Bench()


def test_one_recipient_from_new_to_end(bench):
    number = bench.accept(b"joe@here", body=b"Received: x\n\nhi\n")
    assert bench.to() == [b"joe@here"]
    bench.report(b"K", b"did 1+0+0\n")
    assert bench.kinds() == [records.FINISHED]
    bench.settle()
    assert bench.lines == [
        "new msg 1",
        "info msg 1: bytes 16 from <from@x> qp 1 uid 1000",
        "starting delivery 1: msg 1 to local joe@here",
        "status: local 1/10 remote 0/20",
        "delivery 1: success: did_1+0+0/",
        "status: local 0/10 remote 0/20",
        "end msg 1",
    ]
    assert number not in bench.store.state
    bench.nothing_is_kept()


def test_a_fresh_message_is_delivered_from_memory(bench):
    bench.accept(b"joe@here", body=b"in memory")
    assert bench.started[0].group.message.body == b"in memory"
    assert bench.store.reads == 0


def test_every_recipient_gets_a_delivery_and_a_mark(bench):
    bench.accept(b"a@here", b"b@far.org", b"c@here")
    assert sorted(bench.to()) == [b"a@here", b"b@far.org", b"c@here"]
    assert [d.group.channel for d in bench.started] == ["local", "local", "remote"]
    bench.report(b"K")
    bench.report(b"K")
    assert bench.kinds() == [records.DONE, records.DONE]
    assert [entry.envelope for entry in bench.entries] == [b"0", b"2"]
    bench.report(b"K")
    assert bench.kinds() == [records.DONE, records.DONE, records.FINISHED]
    bench.settle_all()
    bench.nothing_is_kept()


def test_a_message_without_recipients_ends_at_once(bench):
    number = bench.accept()
    bench.settle_all()
    assert bench.deliveries_log()[-1] == f"end msg {number}"
    bench.nothing_is_kept()


def test_recipients_are_rewritten_for_delivery(bench):
    bench.accept(b"info@VIRTUAL.org", b"nobody")
    assert bench.to() == [b"joe-v-info@VIRTUAL.org", b"nobody@here"]


def test_each_recipient_has_its_own_return_path(bench):
    # facts 7.8 and 15.3: the log keeps the raw form, deliveries get the expanded one
    bench.accept(b"ok@h.org", b"x@virtual.org", sender=b"joe-l-@mx.example.com-@[]")
    senders = {delivery.group.sender for delivery in bench.started}
    assert senders == {b"joe-l-ok=h.org@mx.example.com", b"joe-l-joe-v-x=virtual.org@mx.example.com"}
    assert "from <joe-l-@mx.example.com-@[]>" in bench.lines[1]


def test_a_deferral_is_tried_again_when_its_time_has_come(bench):
    bench.accept(b"joe@here")
    bench.report(b"Z")
    assert bench.entries[0].envelope == b"%d,0" % (BIRTH + 100)
    bench.settle()
    assert bench.dispatcher.next_timer() == BIRTH + 100
    bench.wait(99)
    assert not bench.started
    bench.wait(1)
    assert bench.to() == [b"joe@here"]
    assert bench.started[0].group.message.body == b"body\n"
    bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_channels_have_schedules_of_their_own(bench):
    bench.accept(b"joe@here", b"joe@far.org")
    bench.report(b"Z")
    bench.report(b"Z")
    assert bench.entries[-1].envelope == b"%d,%d" % (BIRTH + 100, BIRTH + 400)
    bench.settle_all()
    bench.wait(100)
    assert bench.to() == [b"joe@here"]
    bench.report(b"Z")
    assert bench.entries[-1].envelope == b"%d,%d" % (BIRTH + 400, BIRTH + 400)
    bench.settle_all()
    bench.wait(300)
    assert sorted(bench.to()) == [b"joe@far.org", b"joe@here"]


def test_recipients_of_one_pass_share_the_next_try(bench):
    bench.accept(b"a@here", b"b@here")
    bench.report(b"Z")
    bench.clock += 50
    bench.report(b"Z")
    assert bench.kinds() == [records.DEFERRED]
    bench.settle_all()
    bench.wait(50)
    assert sorted(bench.to()) == [b"a@here", b"b@here"]


def test_after_alarm_the_next_try_is_by_age(bench):
    # facts 15.3: ALRM 71 s into a local message's life: birth + (8+10)^2
    bench.accept(b"joe@here")
    bench.report(b"Z")
    bench.settle_all()
    bench.clock += 71
    bench.dispatcher.tick(everything=True)
    bench.dispatch()
    bench.report(b"Z")
    bench.settle_all()
    assert bench.store.state.retry(1) == (BIRTH + 324, 0)


def test_too_long_in_the_queue(bench):
    bench.accept(b"joe@here")
    bench.report(b"Z", b"mailbox locked\n")
    bench.settle_all()
    bench.wait(WEEK + 1)
    bench.report(b"Z", b"mailbox locked\n")
    assert bench.kinds() == [records.FAILED]
    expected = b"mailbox locked\nI'm not going to try again; this message has been in the queue too long.\n"
    assert bench.entries[0].envelope == b"0\0" + expected
    assert any(
        line == "delivery 2: failure: mailbox_locked/I'm_not_going_to_try_again;_this_message_has_been_in_the_queue"
        "_too_long./"
        for line in bench.lines
    )


def test_within_its_lifetime_a_deferral_stays_one(bench):
    bench.accept(b"joe@here")
    bench.clock += WEEK
    bench.report(b"Z")
    assert bench.kinds() == [records.DEFERRED]


def test_a_try_that_began_in_time_is_not_the_last(bench):
    """The last one comes after the lifetime (facts 7.3), whether a host has kept us waiting or the clock was set right."""
    bench.accept(b"joe@here")
    bench.clock += WEEK + 1
    bench.report(b"Z")
    assert bench.kinds() == [records.DEFERRED]
    bench.settle_all()
    bench.wait(WEEK)
    bench.report(b"Z")
    assert bench.kinds() == [records.FAILED]


def test_words_of_a_mangled_report(bench):
    bench.accept(b"joe@here")
    bench.report(b"X", b"?")
    assert "delivery 1: report mangled, will defer" in bench.lines
    assert bench.kinds() == [records.DEFERRED]


def test_a_report_that_nobody_waits_for(bench):
    bench.dispatcher.report(7, b"K", b"")
    assert bench.lines == ["warning: internal error: delivery report out of range"]


def test_one_bounce_when_all_recipients_are_done_and_marked(bench):
    bench.accept(b"a@here", b"b@here", b"c@here")
    bench.report(b"D", b"no a\n")
    bench.report(b"K")
    bench.settle_all()
    assert not bench.bounces
    bench.report(b"D", b"no c\n")
    assert not bench.bounces  # the mark of the last failure is not durable yet
    bench.settle_all()
    assert [message.number for message in bench.bounces] == [1]
    assert list(bench.store.failures(1)) == [(0, b"no a\n"), (2, b"no c\n")]
    assert not bench.entries  # finished only after the bounce is durable
    bench.dispatcher.finish(bench.bounces[0])
    bench.settle_all()
    assert bench.deliveries_log()[-1] == "end msg 1"
    bench.nothing_is_kept()


def test_limits_hold_and_the_rest_follows(bench):
    bench = Bench(local=3)
    for name in (b"a", b"b", b"c", b"d", b"e"):
        bench.accept(name + b"@here")
    assert len(bench.started) == 3
    bench.report(b"K")
    assert len(bench.started) == 3
    for _ in range(4):
        bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_many_recipients_of_one_user_go_a_few_at_a_time():
    bench = Bench(local=10, each=2)
    bench.accept(*[b"joe-%d@here" % n for n in range(7)])
    seen = []
    while bench.started:
        assert len(bench.started) <= 2
        seen.append(bench.report(b"K").address)
        bench.settle_all()
    assert seen == [b"joe-%d@here" % n for n in range(7)]
    bench.nothing_is_kept()


def test_a_long_list_does_not_keep_others_from_its_destination():
    """Put back in front of the line, a message of many recipients would be served to its end before anybody else."""
    bench = Bench(local=10, each=1)
    bench.accept(*[b"joe-%d@here" % n for n in range(100)])
    bench.accept(b"joe-urgent@here", sender=b"other@x")
    bench.report(b"K")
    bench.report(b"K")
    assert bench.to() == [b"joe-urgent@here"]


def test_messages_found_at_start(bench):
    fresh = bench.stored([b"a@here"])
    due = bench.stored([b"b@here"], retry=(BIRTH - 5, 0))
    later = bench.stored([b"c@here"], retry=(BIRTH + 50, 0))
    for number in (fresh, due, later):
        bench.dispatcher.resume(number)
    bench.dispatch()
    assert sorted(bench.to()) == [b"a@here", b"b@here"]
    bench.wait(50)
    assert b"c@here" in bench.to()


def test_a_clock_that_is_set_back_keeps_nothing_waiting(bench):
    """What was queued or put off while it was a year ahead would wait for a year."""
    bench.accept(b"a@here")
    bench.report(b"Z")
    bench.settle_all()
    bench.wait(1)
    bench.wait(-365 * 86400)
    assert bench.to() == [b"a@here"]
    bench.report(b"Z")
    bench.settle_all()
    assert bench.store.state.retry(1) == (bench.clock + 100, 0)
    bench.wait(-1)
    assert bench.to() == []


def test_put_off_by_a_clock_that_was_ahead_before_the_start(bench):
    number = bench.stored([b"a@here"], retry=(BIRTH + 365 * 86400, 0))
    bench.dispatcher.resume(number)
    bench.wait(100)
    assert bench.to() == [b"a@here"]


def test_found_at_start_with_nothing_left_but_its_bounce(bench):
    number = bench.stored([b"a@here"])
    bench.store.apply(_failed(number, 0, b"no"))
    bench.dispatcher.resume(number)
    assert [message.number for message in bench.bounces] == [number]


def test_found_at_start_with_nothing_left_at_all(bench):
    number = bench.stored([b"a@here"])
    bench.store.state.recipient_done(number, 0)
    bench.dispatcher.resume(number)
    assert bench.kinds() == [records.FINISHED]
    bench.settle_all()
    bench.nothing_is_kept()


def test_found_at_start_but_not_readable(bench):
    number = bench.stored([b"a@here"])
    bench.store.unreadable.add(number)
    bench.dispatcher.resume(number)
    assert "trouble reading message" in bench.lines[0]
    bench.store.unreadable.clear()
    bench.wait(dispatch.TROUBLE_DELAY)
    assert bench.to() == [b"a@here"]


def test_found_at_start_with_nothing_left_but_its_bounce_and_not_readable(bench):
    number = bench.stored([b"a@here"])
    bench.store.apply(_failed(number, 0, b"no"))
    bench.store.unreadable.add(number)
    bench.dispatcher.resume(number)
    bench.store.unreadable.clear()
    bench.wait(dispatch.TROUBLE_DELAY)
    assert [message.number for message in bench.bounces] == [number]


def test_a_damaged_body_is_held_once_and_others_go_on(bench):
    bench.dispatcher.exiting = True
    bad = bench.stored([b"a@here", b"b@here", b"c@far.org"])
    good = bench.stored([b"d@here"])
    bench.store.damaged.add(bad)
    bench.dispatcher.resume(bad)
    bench.dispatcher.resume(good)
    bench.dispatcher.exiting = False
    bench.dispatch()
    assert bench.to() == [b"d@here"]
    assert bench.kinds() == [records.HELD]
    assert sum("the message is held" in line for line in bench.lines) == 1
    bench.settle_all()
    assert bench.store.state.held == {bad}


def test_an_unreadable_body_is_tried_again_after_123_seconds(bench):
    number = bench.stored([b"a@here"])
    bench.dispatcher.resume(number)
    bench.store.unreadable.add(number)
    bench.dispatch()
    assert not bench.started
    bench.store.unreadable.clear()
    bench.wait(122)
    assert not bench.started
    bench.wait(1)
    assert bench.to() == [b"a@here"]


def test_nothing_starts_while_marks_cannot_be_written(bench):
    bench.dispatcher.suspended = True
    bench.accept(b"a@here")
    assert not bench.started
    bench.settle()
    assert bench.to() == [b"a@here"]


def test_nothing_starts_when_the_service_stops(bench):
    bench.accept(b"a@here")
    bench.dispatcher.exiting = True
    bench.accept(b"b@here")
    assert bench.to() == [b"a@here"]
    bench.report(b"K")
    assert not bench.started
    assert bench.lines[-1].endswith(" exitasap")


def test_a_lost_delivery_service_costs_nobody_a_try(bench):
    bench.accept(b"a@here", b"b@here")
    bench.connected = False
    bench.started.clear()
    bench.dispatcher.lost("local")
    assert bench.dispatcher.channels["local"].running == 0
    assert not bench.entries  # no schedule has changed
    bench.connected = True
    bench.wait(0)
    assert sorted(bench.to()) == [b"a@here", b"b@here"]
    bench.report(b"K")
    bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_while_there_is_no_delivery_service_it_is_not_asked_for_every_message(bench):
    bench.connected = False
    bench.accept(b"first@here")
    lines = len(bench.lines)
    for _ in range(20):
        bench.settle()  # batches come and go
    assert len(bench.lines) == lines
    bench.connected = True
    bench.wait(1)
    assert bench.to() == [b"first@here"]


def test_bodies_in_memory_are_bounded(monkeypatch):
    """Messages that wait for one slow recipient must not keep all their bodies (or open files) meanwhile."""
    monkeypatch.setattr(dispatch, "KEPT_BODIES", 1000)
    bench = Bench(local=1000, each=1)
    for n in range(100):
        bench.accept(b"quick%d@here" % n, b"slow@here", body=b"x" * 100)
        bench.settle_all()
    assert bench.dispatcher._kept_bytes <= 1100
    held = sum(len(message.body or b"") for message in bench.dispatcher._active.values())
    assert held == bench.dispatcher._kept_bytes
    while bench.started:
        assert bench.started[0].group.message.number in bench.store.state
        bench.report(b"K")
        bench.settle_all()
    bench.nothing_is_kept()


def test_open_files_of_large_bodies_are_bounded(monkeypatch):
    monkeypatch.setattr(dispatch, "KEPT_FILES", 5)
    bench = Bench(local=1000, each=1)
    for n in range(30):
        number = bench.stored([b"quick%d@here" % n, b"slow@here"])
        bench.store.large.add(number)
        bench.dispatcher.resume(number)
    bench.dispatch()
    assert len(bench.started) == 31
    assert sum(message.fd >= 0 for message in bench.dispatcher._active.values()) <= 6
    while bench.started:
        bench.report(b"K")
        bench.settle_all()
    bench.nothing_is_kept()


def test_messages_in_memory_are_bounded(monkeypatch):
    monkeypatch.setattr(dispatch, "KEPT_MESSAGES", 10)
    bench = Bench(local=1)
    for n in range(50):
        bench.accept(b"r%d@here" % n)
    assert len(bench.dispatcher._active) <= 11
    done = []
    while bench.started:
        done.append(bench.report(b"K").address)
        bench.settle_all()
    assert done == [b"r%d@here" % n for n in range(50)]
    bench.nothing_is_kept()


def test_a_body_is_read_once_for_many_destinations(bench):
    number = bench.stored([b"r%d@here" % n for n in range(10)])
    bench.dispatcher.resume(number)
    bench.dispatch()
    assert len(bench.started) == 10
    assert bench.store.reads == 2  # resume, and the first delivery


def _failed(number, recipient, text):
    from quail.queue.store import Entry

    return Entry(records.FAILED, number, 0, records.encode_failure(recipient, text))


def test_the_retry_series_is_the_quadratic_one(bench):
    # facts 7.3
    bench.accept(b"joe@here")
    tries = [BIRTH]
    for _ in range(5):
        bench.report(b"Z")
        bench.settle_all()
        bench.clock = float(bench.dispatcher.next_timer())
        tries.append(int(bench.clock))
        bench.dispatcher.tick()
        bench.dispatch()
    assert [t - BIRTH for t in tries] == [100 * k * k for k in range(6)]
    assert next_try("remote", BIRTH, BIRTH) == BIRTH + 400


def taken_up(bench, count):
    """How many turns it takes until everything from before the start has been taken up."""
    turns = 1
    while bench.dispatcher.take_up(count):
        turns += 1
        assert turns < 100
    return turns


def test_a_long_queue_is_taken_up_some_at_a_time():
    bench = Bench(local=1000)
    old = [bench.stored([b"r%d@here" % n]) for n in range(25)]
    bench.dispatcher.begin()
    fresh = bench.accept(b"new@here")
    assert taken_up(bench, 10) == 3
    bench.dispatch()
    assert sorted(delivery.group.message.number for delivery in bench.started) == [*old, fresh]


def test_taking_up_ends_although_the_last_message_has_gone_meanwhile(bench):
    for _ in range(5):
        bench.stored([b"a@here"])
    bench.dispatcher.begin()
    bench.dispatcher.remove(5)
    bench.settle_all()
    assert taken_up(bench, 2) <= 3
    bench.dispatch()
    assert len(bench.started) == 4


def test_taking_up_nothing_ends_at_once(bench):
    bench.dispatcher.begin()
    assert taken_up(bench, 10) == 1


def test_a_message_released_before_it_was_taken_up_is_delivered_once(bench):
    number = bench.stored([b"a@here"], retry=(BIRTH + 9999, 0))
    bench.dispatcher.begin()
    bench.dispatcher.release(number)
    bench.dispatch()
    assert not bench.started
    taken_up(bench, 10)
    bench.dispatch()
    assert bench.to() == [b"a@here"]
    bench.dispatcher.release(number)
    bench.dispatch()
    assert bench.to() == [b"a@here"]


def test_an_alarm_before_all_are_taken_up_is_for_those_too(bench):
    for n in range(4):
        bench.stored([b"r%d@here" % n], retry=(BIRTH + 9999, 0))
    bench.dispatcher.begin()
    bench.dispatcher.take_up(2)
    bench.dispatcher.tick(everything=True)
    taken_up(bench, 2)
    bench.dispatch()
    assert len(bench.started) == 4


def test_a_long_list_costs_each_recipient_the_same(bench, monkeypatch):
    """Not the square: no delivery looks through all the recipients."""
    from quail.queue import active

    looked = []
    real = active.destination_of
    monkeypatch.setattr(active, "destination_of", lambda *args: looked.append(1) or real(*args))
    bench.accept(*[b"r%d@here" % n for n in range(500)])
    while bench.started:
        bench.report(b"K")
    assert len(looked) <= 3 * 500
