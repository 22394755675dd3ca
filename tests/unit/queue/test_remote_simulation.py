"""A remote channel in a world of quick, slow and dead hosts: who gets how much. The clock is a number."""

import heapq
from collections import Counter
from itertools import pairwise

import pytest

from quail.queue.schedule import RemoteChannel

QUICK = [b"quick%d" % number for number in range(50)]
SLOW = [b"slow%d" % number for number in range(1000)]


class World:
    """`takes` says how many seconds a group takes at a host; hosts in `dead` are not there. `ended` counts groups, `last` is
    when the last one ended; `log` has the hosts in the order in which groups began.
    """

    def __init__(self, takes, *, limit=500, each=20, dead=()):
        self.channel = RemoteChannel(limit=limit, limit_each=each)
        self.takes = takes
        self.dead = dead
        self.now = 0.0
        self.ended = Counter()
        self.last = {}
        self.log = []
        self._events = []  # (when, order, host, message: one comes for the host, or None: a group ends, which began when)
        self._order = 0

    def at(self, when, host, message=None, began=0.0):
        self._order += 1
        heapq.heappush(self._events, (when, self._order, host, message, began))

    def start(self):
        while (turn := self.channel.next()) is not None:
            host = turn[0]
            self.channel.started(host)
            self.log.append(host)
            self.at(self.now + self.takes(host), host, began=self.now)

    def run(self, until, *, again=()):
        """`again`: hosts that have another message as soon as a group has ended."""
        self.start()
        while self._events and self._events[0][0] <= until:
            self.now, _, host, message, began = heapq.heappop(self._events)
            if message is None:
                self.ended[host] += 1
                self.last[host] = self.now
                self.channel.learn(host, seconds=self.now - began, host_down=host in self.dead)
                self.channel.ended(host)
                if host in again:
                    self.channel.add(host, self._order, fresh=True)
            else:
                self.channel.add(host, message, fresh=True)
            self.start()


def takes(host):
    return 10.0 if host.startswith(b"slow") else 0.010


def quick_ones(*, slow_mail, each, until=12.0):
    """Groups that end at quick hosts after the slow ones' mail has come, a second after theirs."""
    world = World(takes, each=each)
    for number, host in enumerate(QUICK * 2 * each):  # more than their windows
        world.channel.add(host, number, fresh=True)
    world.run(1.0, again=set(QUICK))
    before = sum(world.ended[host] for host in QUICK)
    for number in range(slow_mail):
        for host in SLOW:
            world.channel.add(host, number, fresh=True)
    world.run(until, again=set(QUICK))
    return sum(world.ended[host] for host in QUICK) - before, world


def test_a_thousand_slow_hosts_do_not_slow_down_quick_ones():
    alone, _ = quick_ones(slow_mail=0, each=1)
    beside, world = quick_ones(slow_mail=5, each=1)
    assert beside >= 0.97 * alone
    assert sum(world.ended[host] for host in SLOW) == 375  # as many as may be on their way, once in these 11 seconds


def test_mail_for_a_quick_host_goes_out_at_once_beside_a_thousand_slow_ones():
    """Not only in the long run: each message of a steady trickle."""
    world = World(takes)
    for host in QUICK:
        world.channel.add(host, 1, fresh=True)
    world.run(0.5)
    for host in SLOW:
        for number in range(20):
            world.channel.add(host, number, fresh=True)
    for step in range(2000):
        world.at(1 + step * 0.01, QUICK[step % 50], message=step)
    world.run(1 + 2000 * 0.01 + 0.02)
    assert sum(world.ended[host] for host in QUICK) == 50 + 2000
    assert world.channel._unproven == 375


@pytest.mark.parametrize("each", [1, 20])
def test_a_hundred_thousand_messages_for_a_dead_host_leave_live_mail_its_turns(each):
    """Each is deferred at once, so there is always one more that may start."""

    def live_mail(dead):
        world = World(lambda host: 0.0001 if host == b"dead" else 0.010, limit=60, each=each, dead={b"dead"})
        for number in range(dead):
            world.channel.add(b"dead", number, fresh=True)
        for number in range(40):
            for host in QUICK:
                world.channel.add(host, number, fresh=True)
        world.run(1.0)
        assert all(world.ended[host] == 40 for host in QUICK)
        return max(world.last[host] for host in QUICK), world.log

    alone, _ = live_mail(0)
    beside, log = live_mail(100_000)
    assert beside <= 1.02 * alone
    turns = [turn for turn, host in enumerate(log) if host == QUICK[7]]
    # In the ten milliseconds that its group takes the dead host can't have more than 100 turns, the others 50.
    assert max(after - before for before, after in pairwise(turns)) <= 160


def test_those_that_are_slow_get_their_mail_in_the_end():
    world = World(takes, limit=20, each=5)
    for number in range(3):
        for host in SLOW[:50] + QUICK:
            world.channel.add(host, number, fresh=number < 2)
    world.run(1000.0)
    assert all(world.ended[host] == 3 for host in SLOW[:50] + QUICK)
    assert not world.channel._destinations
