"""kill -9 of rspawn, and of the queue, under load: every message that was taken arrives, and only what had its final dot twice.

The seed is printed when a test fails; QUAIL_KILL_SEED repeats its choices.
"""

import collections
import itertools
import os
import random
import re
import time

import pytest
from tests.remote.hostactions import late
from tests.remote.smtphost import SmtpHost
from tests.remote.world import world
from tests.system.killing import CLIENTS, Load, drain, kill_one
from tests.system_root.harness_root import DOMAIN, enter_network

HOSTS = 8
AT_ONCE = 40
MOMENT = 0.2  # seconds that a kill may take
MOMENT = 0.2  # seconds that a kill may take
DOMAINS = [f"k{number}.test" for number in range(HOSTS)]


@pytest.fixture
def under_load(own_home):
    """A home, clients that give it mail, and hosts that take their time with their last answer."""
    own_home.control("concurrencyremote", str(AT_ONCE))
    own_home.control("maxconnectionsperip", "1000")
    own_home.control("rcpthosts", "\n".join([DOMAIN, *DOMAINS]))
    hosts = {domain: SmtpHost(final=late("250 ok", 0.02)) for domain in DOMAINS}
    with world(own_home, hosts):
        own_home.start()
        load = Load(25, [f"r@{domain}" for domain in DOMAINS], enter=lambda: enter_network(own_home.box))
        yield own_home, load, [*hosts.values()]
        load.stop()
        assert own_home.stop() == 0


def arrivals(hosts):
    """token -> when its transactions began and had their final dots, in order."""
    found = collections.defaultdict(list)
    for host in hosts:
        for message in host.messages:
            found[re.search(rb"^X-Token: (\w+)\r$", message.body, re.MULTILINE)[1].decode()].append(
                (message.began, message.ended)
            )
    return {token: sorted(times) for token, times in found.items()}


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("service", ["rspawn", "queue"])
def test_killed_again_and_again(under_load, service, count):
    home, load, hosts = under_load
    seed = int(os.environ.get("QUAIL_KILL_SEED") or int.from_bytes(os.urandom(4), "little"))
    print(f"QUAIL_KILL_SEED={seed}")
    choice = random.Random(seed)
    kills = []
    for _ in range(count):
        load.more(choice.randrange(1, 60))
        kills.append(time.monotonic())
        kill_one(home, service, choice)
    load.more(CLIENTS)
    load.stop()
    drain(home)
    arrived = arrivals(hosts)
    lost = load.accepted - set(arrived)
    assert not lost, f"lost: {sorted(lost)}"
    assert not set(arrived) - load.accepted - load.unclear
    repeats = {token: times for token, times in arrived.items() if len(times) > 1}
    print(f"{len(load.accepted)} accepted, {len(arrived)} arrived, {len(repeats)} of them more than once")
    for token, times in repeats.items():
        # The first one's final dot had come when rspawn was killed (which takes a moment), else nothing would have arrived.
        # When the queue is killed, rspawn sends what it has begun, and there is nobody to hear of it.
        for first, second in itertools.pairwise(times):
            latest = first[0] if service == "queue" else first[1]
            assert any(latest < kill + MOMENT and kill < second[0] for kill in kills), (
                f"{token} was sent again without a reason: {times}, {kills}"
            )
    assert sum(len(times) - 1 for times in repeats.values()) <= AT_ONCE * count
    assert not [fault for host in hosts for fault in host.faults]
