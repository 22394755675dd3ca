"""Remote destinations: windows that grow and shrink, and the last quarter of the slots that only proven hosts may have."""

import pytest

from quail.queue import standings
from quail.queue.schedule import RemoteChannel
from quail.queue.standings import Standings


def start_all(channel):
    """Start what may start; where, in turn."""
    started = []
    while (turn := channel.next()) is not None:
        channel.started(turn[0])
        started.append(turn[0])
    return started


def end(channel, name, *, seconds=0.0, host_down=False):
    channel.learn(name, seconds=seconds, host_down=host_down)
    channel.ended(name)


def prove(channel, *names):
    for name in names:
        channel.add(name, 1, fresh=True)
        assert start_all(channel) == [name]
        end(channel, name)


def wait(channel, name, count=1000, *, fresh=True):
    for number in range(count):
        channel.add(name, number, fresh=fresh)


def window(channel, name):
    """How many it gets at once when there is room."""
    wait(channel, name)
    return len(start_all(channel))


@pytest.mark.parametrize(("each", "first"), [(20, 5), (5, 5), (3, 3), (1, 1)])
def test_the_first_window(each, first):
    assert window(RemoteChannel(limit=100, limit_each=each), b"host") == first


def test_a_window_grows_by_one_when_as_many_groups_as_it_holds_have_ended_well():
    channel = RemoteChannel(limit=1000, limit_each=20)
    wait(channel, b"host")
    start_all(channel)
    for size in range(5, 20):
        for _ in range(size):
            assert channel.running == size
            end(channel, b"host", seconds=60)  # slow, but it takes mail
            start_all(channel)
    for _ in range(50):
        assert channel.running == 20
        end(channel, b"host")
        start_all(channel)


GROWN = sum(range(5, 20))  # groups that end well, until a window has 20


def test_a_window_is_halved_when_the_host_is_down_but_never_closed():
    channel = RemoteChannel(limit=1000, limit_each=20)
    for _ in range(GROWN):
        prove(channel, b"host")
    wait(channel, b"host")
    assert len(start_all(channel)) == 20
    for left in (10, 5, 2.5, 1.25, 1, 1):
        end(channel, b"host", host_down=True)
        assert channel._destinations[b"host"].window == left
    while channel.running:
        end(channel, b"host", host_down=True)
    assert start_all(channel) == [b"host"]
    end(channel, b"host")
    assert start_all(channel) == [b"host", b"host"]  # it is back


def test_windows_outlive_the_mail():
    channel = RemoteChannel(limit=100, limit_each=20)
    for _ in range(5 + 6 + 7):
        prove(channel, b"good")
    channel.add(b"bad", 1, fresh=True)
    start_all(channel)
    end(channel, b"bad", host_down=True)
    assert not channel._destinations
    assert window(channel, b"good") == 8
    assert window(channel, b"bad") == 2


def test_a_window_is_never_wider_than_concurrencyperdomain():
    channel = RemoteChannel(limit=100, limit_each=20)
    for _ in range(GROWN):
        prove(channel, b"host")
    channel.set_limits(100, 4)
    assert window(channel, b"host") == 4
    for _ in range(4):
        end(channel, b"host")
    start_all(channel)
    assert channel._destinations[b"host"].window == channel.running == 4
    channel.set_limits(100, 7)
    for _ in range(4):
        end(channel, b"host")
    start_all(channel)
    assert channel.running == 5


def test_a_group_that_came_to_nothing_teaches_nothing():
    channel = RemoteChannel(limit=100, limit_each=20)
    assert window(channel, b"host") == 5
    channel.ended(b"host")
    assert len(start_all(channel)) == 1
    assert not len(channel._standings)


@pytest.mark.parametrize(("limit", "most"), [(100, 75), (20, 15), (4, 3), (3, 3), (1, 1), (0, 0)])
def test_the_last_quarter_is_not_for_new_hosts(limit, most):
    channel = RemoteChannel(limit=limit, limit_each=1)
    for number in range(200):
        channel.add(b"new%d" % number, number, fresh=True)
    assert len(start_all(channel)) == most


@pytest.mark.parametrize(
    ("seconds", "host_down", "proven"),
    [(0.0, False, True), (1.99, False, True), (2.0, False, False), (600.0, False, False), (0.0, True, False)],
)
def test_who_is_proven(seconds, host_down, proven):
    channel = RemoteChannel(limit=4, limit_each=4)
    prove(channel, b"host")
    channel.add(b"host", 2, fresh=True)
    start_all(channel)
    end(channel, b"host", seconds=seconds, host_down=host_down)
    assert channel._standings.recall(b"host")[1] is proven
    wait(channel, b"host")
    for number in range(10):
        channel.add(b"new%d" % number, number, fresh=True)
    assert len(start_all(channel)) == (4 if proven else 3)


def test_proven_hosts_may_have_everything():
    channel = RemoteChannel(limit=20, limit_each=20)
    for _ in range(GROWN):
        prove(channel, b"host")
    assert window(channel, b"host") == 20


def test_the_slots_of_a_host_change_sides_with_it():
    channel = RemoteChannel(limit=20, limit_each=20)
    for _ in range(GROWN):
        prove(channel, b"host")
    wait(channel, b"host")
    assert len(start_all(channel)) == 20
    end(channel, b"host", seconds=5)  # no longer proven: its 19 groups are more than those may have
    assert start_all(channel) == []
    for _ in range(4):
        channel.ended(b"host")
    assert channel.running == 15
    assert start_all(channel) == []
    channel.ended(b"host")
    assert start_all(channel) == [b"host"]
    end(channel, b"host", seconds=0)  # and proven again
    assert len(start_all(channel)) == 6


def test_a_host_that_is_proven_does_not_wait_for_those_that_are_not():
    """It was listed among the others when its standing changed."""
    channel = RemoteChannel(limit=8, limit_each=8)
    for number in range(100):
        channel.add(b"slow%d" % number, number, fresh=True)
    wait(channel, b"host", 50)
    channel.add(b"host", 99, fresh=False)
    while b"host" not in (started := start_all(channel)):
        end(channel, started[0], seconds=9)
    assert channel._unproven == 6
    end(channel, b"host")
    assert start_all(channel) == [b"host", b"slow5", b"host"]
    end(channel, b"host")
    assert start_all(channel) == [b"host"]  # although the others have all that they may have


def test_both_kinds_take_turns():
    channel = RemoteChannel(limit=40, limit_each=40)
    for number in range(20):
        prove(channel, b"good%d" % number)
    for number in range(20):
        channel.add(b"good%d" % number, number, fresh=True)
        channel.add(b"new%d" % number, number, fresh=True)
    assert [name[:3] for name in start_all(channel)] == [b"goo", b"new"] * 20


def test_fresh_mail_to_new_hosts_goes_before_thousands_of_dead_ones():
    channel = RemoteChannel(limit=4, limit_each=4)
    for number in range(10_000):
        channel.add(b"dead%d" % number, number, fresh=False)
    channel.add(b"new", 1, fresh=True)
    assert b"new" in start_all(channel)


def test_a_turn_costs_the_same_however_many_wait():
    """Not a look at all of them: neither of destinations nor of messages of one."""

    class Counted(dict):
        looks = 0

        def __getitem__(self, name):
            Counted.looks += 1
            return super().__getitem__(name)

    channel = RemoteChannel(limit=40, limit_each=40)
    channel._destinations = Counted()
    for number in range(20_000):
        channel.add(b"host%d" % number, number, fresh=True)
        channel.add(b"dead", number, fresh=False)
    started = 0
    while started < 2000:
        names = start_all(channel)
        started += len(names)
        for name in names:
            end(channel, name, seconds=number % 4, host_down=name == b"dead")
    assert Counted.looks <= 6 * started


def test_what_is_remembered_is_bounded_and_the_latest_stay(monkeypatch):
    monkeypatch.setattr(standings, "KEPT", 100)
    known = Standings()
    for number in range(100):
        known.remember(b"good%d" % number, 20, proven=True)
        known.remember(b"dead%d" % number, 1, proven=False)
    known.remember(b"good0", 19, proven=True)
    for number in range(100, 150):
        known.remember(b"good%d" % number, 20, proven=True)
    assert len(known) == 200
    assert known.recall(b"good0") == (19, True)
    assert known.recall(b"good50") == (5, False)
    assert known.recall(b"good51") == (20, True)
    assert known.recall(b"dead0") == (1, False)


def test_dead_hosts_do_not_make_us_forget_proven_ones(monkeypatch):
    monkeypatch.setattr(standings, "KEPT", 100)
    known = Standings()
    known.remember(b"good", 20, proven=True)
    for number in range(1000):
        known.remember(b"dead%d" % number, 1, proven=False)
    assert known.recall(b"good") == (20, True)


def test_a_host_is_remembered_as_it_was_last():
    known = Standings()
    known.remember(b"host", 20, proven=True)
    known.remember(b"host", 10, proven=False)
    assert known.recall(b"host") == (10, False)
    known.remember(b"host", 11, proven=True)
    assert known.recall(b"host") == (11, True)
    assert len(known) == 1
