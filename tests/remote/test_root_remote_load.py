"""Dead and slow hosts beside live ones. Rates are compared with others of the same run, and printed; none has a limit."""

import time

import pytest
from tests.remote.cases import REFUSED, SENDER, SILENT
from tests.remote.hostactions import late
from tests.remote.smtphost import SmtpHost
from tests.remote.world import pss, send, world
from tests.system.killing import drain

LIVE = [f"live{number}.test" for number in range(50)]
MEBIBYTE = 1 << 20


def mail_for(domains, count, sender=SENDER):
    return [(sender.encode(), f"r{number}@{domains[number % len(domains)]}".encode()) for number in range(count)]


def rate(home, hosts, count):
    """Messages a second, from the first's hand-over to the arrival of the last, to live hosts."""
    goal = sum(len(host.messages) for host in hosts) + count
    start = time.monotonic()
    send(home, mail_for(LIVE, count))
    home.until(lambda: sum(len(host.messages) for host in hosts) >= goal, "live mail")
    return count / (time.monotonic() - start)


def deferrals(home):
    """How many lines of the log tell of one."""
    return sum(": deferral: " in line for line in home.log.lines)


@pytest.mark.parametrize(("dead", "live"), [(2000, 500), pytest.param(100_000, 5000, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", [SILENT, REFUSED])
def test_a_dead_host_with_much_mail(own_home, how, dead, live):
    hosts = {domain: SmtpHost(keep=False) for domain in LIVE}
    own_home.control("timeoutconnect", "3")
    with world(own_home, hosts | {"dead.test": how}):
        own_home.start()
        rate(own_home, hosts.values(), live)  # warms up
        alone = max(rate(own_home, hosts.values(), live) for _ in range(3))
        send(own_home, mail_for(["dead.test"], dead))
        beside = max(rate(own_home, hosts.values(), live) for _ in range(3))
        tried = 0
        # One that does not answer is left alone after two minutes only (facts 9.4); one that refuses has had it all by now.
        while how == REFUSED and tried < dead:
            tried = own_home.until(lambda before=tried: (now := deferrals(own_home)) > before and now, "deferrals")
        later = max(rate(own_home, hosts.values(), live) for _ in range(3))
        left = own_home.ask({"do": "status"})["messages"]
        print(f"{how}: {alone:.0f} live messages a second alone, {beside:.0f} while {dead} for a dead host have their first"
              f" turn, {later:.0f} after that, with {deferrals(own_home)} deferrals")  # fmt: skip
        assert left >= dead  # none has bounced
        # The clients, the hosts and whoever reads the log have a part in this: dispatching alone is measured elsewhere.
        assert beside > alone / 3
        assert later > alone / 3
        assert not [fault for host in hosts.values() for fault in host.faults]


@pytest.mark.parametrize(("slow", "wait", "slots"), [(150, 3, 75), pytest.param(1000, 10, 500, marks=pytest.mark.long)])
def test_many_slow_hosts(own_home, slow, wait, slots):
    """As many as have all the slots: live mail still comes through at once, and nobody needs much memory."""
    live = {domain: SmtpHost(keep=False) for domain in LIVE}
    sluggards = {f"slow{number}.test": SmtpHost(final=late("250 ok", wait), keep=False) for number in range(slow)}
    own_home.control("concurrencyremote", str(slots))
    with world(own_home, live | sluggards):
        own_home.start()
        rate(own_home, live.values(), len(LIVE))  # these have proven themselves
        alone = max(rate(own_home, live.values(), 500) for _ in range(2))
        send(own_home, mail_for(list(sluggards), 2 * slow))
        slowed = lambda: sum(host.open for host in sluggards.values())  # noqa: E731
        own_home.until(lambda: slowed() >= slots // 2, "deliveries to slow hosts")
        at_work = slowed()
        beside = rate(own_home, live.values(), 500)
        unfinished = 2 * slow - sum(len(host.messages) for host in sluggards.values())
        most = 0

        def done():
            nonlocal most
            most = max(most, pss([own_home.process.guest_pid, *own_home.descendants()]))
            return all(len(host.messages) == 2 for host in sluggards.values())

        while not done():  # one wait of the harness is shorter than all this
            before = sum(len(host.messages) for host in sluggards.values())
            own_home.until(
                lambda before=before: done() or sum(len(h.messages) for h in sluggards.values()) > before, "slow mail"
            )
        print(f"{alone:.0f} live messages a second alone, {beside:.0f} beside {at_work} deliveries to slow hosts;"
              f" {most / MEBIBYTE:.0f} MiB of all processes")  # fmt: skip
        assert unfinished > 0  # or nothing was shown
        assert beside > alone / 4
        assert most < 150 * MEBIBYTE


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.long)])
def test_a_host_that_takes_two_connections_at_a_time(own_home, count):
    """Its 421 to all others is no reason to lose mail or to send it twice."""
    host = SmtpHost(max_connections=2, final=late("250 ok", 0.01))
    with world(own_home, {"small.test": host}):
        own_home.start()
        send(own_home, mail_for(["small.test"], count))
        drain(own_home)
        recipients = [address for message in host.messages for address in message.accepted]
        assert sorted(recipients) == sorted(recipient for _, recipient in mail_for(["small.test"], count))
        print(f"{len(host.connections)} connections for {count} messages, {host.most_open} at once at most,"
              f" {deferrals(own_home)} deferrals")  # fmt: skip
        assert host.most_open <= 10  # it is asked by few at a time, again and again, whether it takes more
        assert not host.faults
