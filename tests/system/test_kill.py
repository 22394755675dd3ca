"""kill -9 of every service at random, under load: what had its 250 arrives, and not oftener than deliveries were in flight."""

import pytest
from tests.system.harness import Ends
from tests.system.killing import AT_ONCE, DELIVERING, Load, account, rounds

SERVICES = ("smtpd", "queue", "users", "lspawn", "worker", "serve")


@pytest.fixture
def under_load(make_server):
    server = make_server(concurrencylocal=str(AT_ONCE), maxconnectionsperip="1000").start()
    server.again = ("--smtp-port", str(server.port))
    load = Load(server.port)
    yield server, load
    load.stop()


def accounted(server, load, order):
    account(load, order, server.mail())
    assert not list((server.path / "mail/joe/Maildir/tmp").iterdir()) or any(s in DELIVERING for s in order)


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("service", SERVICES)
def test_killed_again_and_again(under_load, service, count):
    server, load = under_load
    accounted(server, load, rounds(server, load, count, [service]))


@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.long)])
def test_killed_one_after_another(under_load, count):
    server, load = under_load
    accounted(server, load, rounds(server, load, count, list(SERVICES)))


def test_services_without_a_part_in_delivery_repeat_nothing(under_load):
    server, load = under_load
    order = rounds(server, load, 1, ["smtpd", "users"])
    accounted(server, load, order)


def test_everything_ends_with_serve(server):
    """However idle or busy it is; and the home can be served again at once."""
    server.end(server.send("joe@localhost"))
    pids = server.every_pid()
    assert len(pids) >= 7  # a delivery worker too
    ends = Ends(pids)
    with server.smtp() as client:
        client.envelope("s@example.org", "joe@localhost")
        client.ok("DATA")
        server.kill()
        ends.wait()
        assert client.hung_up()
    server.start()
    server.end(server.send("joe@localhost"))
    assert len(server.mail()) == 2
