"""A home on a machine without IPv6, and the memory of slow hosts (facts 9.4), whose tests follow each other in time."""

import itertools
import time

import pytest
from tests.remote.cases import HOST_UNRESOLVED, Message, accepted
from tests.remote.cases_connecting import WITHOUT_IPV6
from tests.remote.stage import Stage, check, logged
from tests.system_root.conftest import system_home
from tests.system_root.harness_root import QMAIL

from quail.storage.tcpto import PATH, Tcpto

CONTROL = {"concurrencyremote": "100", "timeoutconnect": "3", "timeoutremote": "10"}


@pytest.fixture(scope="module")
def stage(test_root, tmp_path_factory):
    with system_home(test_root, tmp_path_factory.mktemp("apart"), **CONTROL) as home:
        stage = Stage(home, WITHOUT_IPV6, ipv6=False)
        try:
            stage.play()
            yield stage
            assert home.stop() == 0
        finally:
            home.close()
            stage.close()


@pytest.mark.parametrize("case", WITHOUT_IPV6, ids=lambda case: case.name)
def test_without_ipv6(stage, case):
    check(stage, case)


def program(stage, name):
    return stage.home.box.run([f"{QMAIL}/bin/{name}"]).stdout


def test_slow_hosts(stage):
    """A silent host is counted; one that was counted twice is left alone, until qmail-tcpok."""
    (silent,) = [case.addresses["a"] for case in WITHOUT_IPV6 if case.name.startswith("nobody answers")]
    assert f"{silent} timed out " in program(stage, "qmail-tcpto")
    (case,) = [case for case in WITHOUT_IPV6 if case.name == "two MX"]
    table = Tcpto.open(str(stage.home.path / PATH))
    now = time.time()
    table.timed_out(case.addresses["a"], now - 400)
    table.timed_out(case.addresses["a"], now - 200)
    table.close()
    assert f"{case.addresses['a']} timed out 200 seconds ago; # recent timeouts: 2\n" in program(stage, "qmail-tcpto")
    first, second = case.hosts["a"], case.hosts["b"]
    stage.home.until(lambda: not first.open, "the end of an idle connection")  # one that is open is used all the same
    stage.send(case, Message("r2"))
    stage.wait(case)
    assert (len(first.messages), len(second.messages)) == (1, 1)
    program(stage, "qmail-tcpok")
    assert program(stage, "qmail-tcpto") == ""
    stage.home.until(lambda: not second.open, "the end of an idle connection")
    stage.send(case, Message("r3"))
    stage.wait(case)
    assert (len(first.messages), len(second.messages)) == (2, 1)


def test_name_servers_go_and_come(stage):
    """Mail waits while there is nobody to ask; resolv.conf is read again when it changes."""
    (case,) = [case for case in WITHOUT_IPV6 if case.name == "IPv6 and IPv4"]
    stage.dns.add(f"*.fresh.test A {case.addresses['a']}")
    names = (f"r@name{number}.fresh.test" for number in itertools.count())  # nothing is remembered of any

    def ask(server, wanted):
        stage.home.box.run(
            ["sh", "-c", f"echo nameserver {server} > /etc/resolv.new; mv /etc/resolv.new /etc/resolv.conf"]
        )
        for name in itertools.islice(names, 1000):  # the change is seen in its time
            stage.send(case, Message(name))
            stage.wait(case)
            report = stage.told.reports[case.numbers[-1]][name]
            assert report[0] in [logged(case.fill(text)) for text in (accepted(), HOST_UNRESOLVED)]
            if report == [logged(case.fill(wanted))]:
                return
        pytest.fail(f"{server} is not asked")

    ask("127.0.0.1", accepted())
    ask("127.0.0.99", HOST_UNRESOLVED)
    ask("127.0.0.1", accepted())


def test_routes_change_with_hup(stage):
    (case,) = [case for case in WITHOUT_IPV6 if case.name == "IPv6 and IPv4"]
    (other,) = [case for case in WITHOUT_IPV6 if case.name == "no MX, but both addresses"]
    host = other.hosts["a"]
    heard = len(host.messages)
    stage.home.control("smtproutes", f"{case.domain}:{other.addresses['a']}")
    stage.home.hup()
    for number in range(1000):  # each service obeys in its time
        stage.send(case, Message(f"hup{number}"))
        stage.wait(case)
        if len(host.messages) > heard:
            return
    pytest.fail("the old routes are still in use")
