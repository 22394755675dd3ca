"""Recipients of one message at one host travel together: in one slot, with a report each."""

import pytest
from tests.unit.queue.dispatching import BIRTH, Bench

from quail.queue import active, records


@pytest.fixture
def bench():
    return Bench()


def at_host(count, host=b"far.org", name=b"r"):
    return [b"%s%d@%s" % (name, n, host) for n in range(count)]


def running(bench):
    return bench.dispatcher.channels["remote"].running


def test_a_group_from_start_to_end(bench):
    bench.accept(b"a@far.org", b"b@FAR.org", body=b"hi\n")
    assert bench.groups == [[b"a@far.org", b"b@FAR.org"]]
    assert running(bench) == 1
    group = bench.started[0].group
    assert (group.channel, group.destination, group.sender) == ("remote", b"far.org", b"from@x")
    bench.report(b"K", b"ok a\n")
    assert running(bench) == 1
    bench.report(b"D", b"no b\n")
    assert running(bench) == 0
    assert bench.lines == [
        "new msg 1",
        "info msg 1: bytes 3 from <from@x> qp 1 uid 1000",
        "starting delivery 1: msg 1 to remote a@far.org",
        "starting delivery 2: msg 1 to remote b@FAR.org",
        "status: local 0/10 remote 1/20",
        "delivery 1: success: ok_a/",
        "delivery 2: failure: no_b/",
        "status: local 0/10 remote 0/20",
    ]
    assert bench.kinds() == [records.DONE, records.FAILED]
    bench.settle_all()
    bench.dispatcher.finish(bench.bounces[0])
    bench.settle_all()
    bench.nothing_is_kept()


def test_hosts_are_groups_of_their_own_and_so_are_channels_and_messages(bench):
    bench.accept(b"a@far.org", b"b@else.org", b"c@far.org", b"d@here", b"e@else.org")
    bench.accept(b"f@far.org")
    assert sorted(bench.groups) == [
        [b"a@far.org", b"c@far.org"],
        [b"b@else.org", b"e@else.org"],
        [b"d@here"],
        [b"f@far.org"],
    ]


def test_local_recipients_travel_alone(bench):
    bench.accept(b"joe@here", b"joe-a@here", b"joe-b@here")
    assert bench.groups == [[b"joe@here"], [b"joe-a@here"], [b"joe-b@here"]]
    assert bench.dispatcher.channels["local"].running == 3


def test_a_group_has_a_hundred_at_most(bench):
    bench.accept(*at_host(250))
    assert [len(group) for group in bench.groups] == [100, 100, 50]
    assert [address for group in bench.groups for address in group] == at_host(250)
    assert running(bench) == 3


def test_exactly_a_hundred_are_one_group_and_nothing_waits(bench):
    bench.accept(*at_host(100))
    assert len(bench.groups) == 1
    assert bench.dispatcher.channels["remote"].waiting() == 0


def test_a_long_list_has_one_group_in_a_turn():
    bench = Bench(remote=1)
    bench.dispatcher.suspended = True
    bench.accept(*at_host(250))
    bench.accept(*at_host(120, name=b"s"))
    bench.accept(b"x@else.org")
    bench.settle()
    while bench.started:
        bench.report(b"K")
    assert [(group[0], len(group)) for group in bench.groups] == [
        (b"r0@far.org", 100),
        (b"s0@far.org", 100),  # far.org is proven now, and has its turn before those that are not
        (b"x@else.org", 1),
        (b"r100@far.org", 100),
        (b"s100@far.org", 20),
        (b"r200@far.org", 50),
    ]


def test_each_sender_has_a_group_of_its_own(bench):
    bench = Bench(remote=20, each=20)
    bench.accept(*at_host(3), sender=b"list-@x.org-@[]")
    assert [len(group) for group in bench.groups] == [1, 1, 1]
    assert [d.group.sender for d in bench.started] == [b"list-r%d=far.org@x.org" % n for n in range(3)]


def test_a_sender_that_only_looks_like_verp_is_one(bench):
    for sender in (b"#@[]", b"", b"x-@[]"):
        bench.accept(*at_host(3), sender=sender)
        assert bench.groups.pop() == at_host(3)


def test_a_long_list_does_not_fill_the_log(bench):
    bench.accept(*at_host(2000))
    while bench.started:
        bench.report(b"K")
    count = {word: sum(line.startswith(word) for line in bench.lines) for word in ("starting", "delivery", "status")}
    assert count == {"starting": 2000, "delivery": 2000, "status": 40}


@pytest.mark.parametrize("sender", [b"from@x", b"list-@x-@[]"])
def test_a_long_list_for_one_host_costs_each_recipient_the_same(bench, monkeypatch, sender):
    """Not the square: no group looks through those that had their turn before it."""
    looked = []
    real = active.Active._had_its_turn
    monkeypatch.setattr(active.Active, "_had_its_turn", lambda *args: looked.append(1) or real(*args))
    bench.accept(*at_host(2000), sender=sender)
    while bench.started:
        bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()
    assert len(looked) <= 6 * 2000


def test_those_of_a_group_that_were_deferred_are_tried_again_together(bench):
    bench.accept(*at_host(4))
    for letter in (b"K", b"Z", b"D", b"Z"):
        bench.report(letter)
    assert bench.kinds() == [records.DONE, records.DEFERRED, records.FAILED]
    bench.settle_all()
    bench.wait(400)
    assert bench.groups == [at_host(4), [b"r1@far.org", b"r3@far.org"]]
    assert [d.number for d in bench.started] == [5, 6]


def test_reports_of_groups_may_come_in_any_order(bench):
    bench.accept(*at_host(3))
    bench.accept(*at_host(2, name=b"s"))
    for index in (4, 0, 1, 1):
        bench.report(b"K", index=index)
    assert running(bench) == 1
    bench.report(b"K")
    assert running(bench) == 0
    bench.settle_all()
    bench.nothing_is_kept()


def test_a_report_that_comes_twice_gives_back_nothing(bench):
    bench.accept(*at_host(2))
    bench.dispatcher.report(1, b"K", b"")
    bench.dispatcher.report(1, b"K", b"")
    assert bench.lines[-1] == "warning: internal error: delivery report out of range"
    assert running(bench) == 1


def test_a_group_that_could_not_be_handed_over_is_tried_again_whole(bench):
    bench.connected = False
    bench.accept(*at_host(150))
    assert running(bench) == 0
    assert not bench.dispatcher.deliveries
    assert not bench.entries
    assert sum("no_connection_to_the_delivery_service" in line for line in bench.lines) == 100
    bench.connected = True
    bench.wait(1)
    assert bench.groups == [at_host(150)[:100], at_host(150)[100:]]


def test_when_the_service_is_lost_only_those_without_a_report_are_tried_again(bench):
    bench.accept(*at_host(4))
    bench.accept(b"joe@here")
    bench.report(b"K")
    bench.report(b"Z")
    bench.started.clear()
    bench.dispatcher.lost("remote")
    assert running(bench) == 0
    assert list(bench.dispatcher.deliveries) == [5]  # the local one is not concerned
    bench.wait(0)
    assert bench.groups[-1] == [b"r2@far.org", b"r3@far.org"]
    bench.settle_all()
    bench.wait(400)
    assert bench.groups[-1] == [b"r1@far.org"]
    while bench.started:
        bench.report(b"K")
    bench.dispatcher.report(5, b"K", b"")
    bench.settle_all()
    bench.nothing_is_kept()


def test_when_the_service_is_lost_all_groups_of_a_long_list_are_tried_again(bench):
    bench.accept(*at_host(250))
    bench.started.clear()
    bench.dispatcher.lost("remote")
    bench.wait(0)
    assert [len(group) for group in bench.groups[3:]] == [100, 100, 50]
    assert sorted(bench.to()) == sorted(at_host(250))


@pytest.mark.parametrize("again", [lambda bench: bench.wait(400), lambda bench: bench.dispatcher.release(1)])
def test_a_group_that_was_deferred_is_tried_again_while_another_of_its_message_is_on_its_way(again):
    bench = Bench(remote=1)
    bench.accept(*at_host(150))
    for _ in range(100):
        bench.report(b"Z")
    assert [len(group) for group in bench.groups] == [100, 50]
    again(bench)
    for _ in range(50):
        bench.report(b"K")
    assert bench.groups[2] == at_host(150)[:100]
    while bench.started:
        bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_a_lost_service_says_nothing_about_the_host(bench):
    bench.accept(b"a@far.org")
    bench.report(b"Z", host_down=True)
    standing = bench.dispatcher.channels["remote"]._standings.recall(b"far.org")
    bench.accept(b"b@far.org")
    bench.dispatcher.lost("remote")
    assert bench.dispatcher.channels["remote"]._standings.recall(b"far.org") == standing == (2.5, False)


@pytest.mark.parametrize("letter", [b"K", b"Z", b"D", b"?"])
def test_remove_while_a_group_is_on_its_way(bench, letter):
    bench.accept(*at_host(150))
    bench.report(b"K")
    bench.dispatcher.remove(1)
    while bench.started:
        bench.report(letter)
    bench.settle_all()
    assert not bench.bounces
    bench.nothing_is_kept()


def test_remove_while_a_group_is_on_its_way_and_the_service_is_lost(bench):
    bench.accept(*at_host(5))
    bench.report(b"K")
    bench.dispatcher.remove(1)
    bench.started.clear()
    bench.dispatcher.lost("remote")
    bench.dispatch()
    assert not bench.started
    bench.settle_all()
    bench.nothing_is_kept()


def test_held_while_a_group_is_on_its_way(bench):
    bench = Bench(remote=1)
    bench.accept(*at_host(150))
    bench.hold(1)
    while bench.started:
        bench.report(b"Z")
    bench.settle_all()
    bench.wait(10_000)
    assert len(bench.groups) == 1
    bench.unhold(1)
    bench.settle_all()
    assert bench.groups[1] == at_host(150)[:100]
    while bench.started:
        bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_retry_while_a_group_is_on_its_way_is_for_the_others(bench):
    bench.accept(*at_host(3))
    bench.report(b"Z")
    bench.settle_all()
    bench.dispatcher.release(1)
    bench.dispatch()
    assert bench.groups[1:] == [[b"r0@far.org"]]


def test_a_large_body_is_read_once_for_all_groups(bench):
    number = bench.stored(at_host(300))
    bench.store.large.add(number)
    bench.dispatcher.resume(number)
    bench.dispatch()
    assert len(bench.groups) == 3
    assert bench.store.reads == 2  # resume, and the first group
    while bench.started:
        bench.report(b"K")
    bench.settle_all()
    bench.nothing_is_kept()


def test_the_window_of_a_host_that_is_down(bench):
    """One report of a group that says so is enough."""
    bench = Bench(remote=100, each=20)
    for n in range(30):
        bench.accept(b"a%d@far.org" % n, b"b%d@far.org" % n)
    assert running(bench) == 5
    for _ in range(5):
        bench.report(b"Z", host_down=True)
        bench.report(b"Z")
    assert running(bench) == 1  # 5, 2.5, 1.25, 1
    bench.report(b"Z")
    bench.report(b"Z")
    assert running(bench) == 2  # 2.25


def test_a_host_is_proven_by_the_time_from_start_to_the_last_report(bench):
    remote = bench.dispatcher.channels["remote"]
    bench.accept(b"a@far.org", b"b@far.org")
    bench.clock += 1
    bench.report(b"K")
    bench.clock += 1
    bench.report(b"K")
    assert remote._standings.recall(b"far.org") == (5.2, False)
    bench.accept(b"c@far.org")
    bench.clock += 1.9
    bench.report(b"D")
    assert remote._standings.recall(b"far.org") == (5.4, True)


def test_starts_are_bounded_so_that_others_have_their_turn():
    bench = Bench(remote=1000, local=1000)
    for n in range(300):
        bench.dispatcher.resume(bench.stored([b"r@far%d.org" % n, b"user%d@here" % n]))
    calls = []
    while bench.dispatcher.dispatch():
        calls.append(len(bench.started))
    assert calls == [400]  # 200 of each channel
    assert len(bench.started) == 600


def test_recipients_of_groups_count():
    bench = Bench(remote=1000)
    for n in range(5):
        bench.dispatcher.resume(bench.stored(at_host(100, host=b"h%d" % n)))
    assert bench.dispatcher.dispatch()
    assert len(bench.started) == 200


def test_turns_that_come_to_nothing_are_bounded_too(bench):
    for n in range(1000):
        bench.dispatcher.resume(bench.stored([b"r@far%d.org" % n]))
    for number in range(1, 1001):
        bench.dispatcher.remove(number)
    calls = 1
    while bench.dispatcher.dispatch():
        calls += 1
    assert calls == 6
    bench.settle_all()
    bench.nothing_is_kept()


def test_a_storm_of_a_dead_hosts_mail_leaves_live_mail_its_turns():
    """Every message is tried and deferred at once; live hosts have turns between."""
    bench = Bench(remote=100)
    for _ in range(500):
        bench.dispatcher.resume(bench.stored([b"r@dead.org"], retry=(0, BIRTH - 1)))
    for n in range(200):
        bench.dispatcher.resume(bench.stored([b"r@live%d.org" % (n % 10)]))
    while bench.dispatcher.dispatch() or bench.started:
        for delivery in list(bench.started):
            dead = delivery.group.destination == b"dead.org"
            bench.dispatcher.report(delivery.number, b"Z" if dead else b"K", b"", dead)
        bench.started.clear()
    dead_before = [i for i, (address,) in enumerate(bench.groups) if address != b"r@dead.org"]
    assert len(bench.groups) == 700
    assert dead_before[-1] < 300  # 200 of their own, and a few of the dead one's for each of their windows
