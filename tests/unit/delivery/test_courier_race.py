"""Where two addresses are dialled at once, the one that lost the race is tried all the same when the winner turns us away."""

import pytest
from tests.remote.smtphost import Hosts, SmtpHost, bind
from tests.unit.delivery.test_courier import Road, mail, target

from quail.delivery.remote import courier


def bound_alike():
    """Listening sockets of both addresses; the port that is free at one may be taken at the other."""
    for _ in range(100):
        first = bind("::1", 0)
        port = first.getsockname()[1]
        try:
            return port, first, bind("127.0.0.1", port)
        except OSError:
            first.close()
    raise AssertionError("no port is free at both")


@pytest.fixture
def pair():
    """Hosts at one port of ::1 and of 127.0.0.1, the first of which is busy."""
    busy, good = SmtpHost(greeting="421 busy"), SmtpHost()
    with Hosts() as hosts:
        port, first, second = bound_alike()
        hosts.serve([(busy, first), (good, second)])
        yield port, busy, good


def test_the_loser_is_tried_too(pair, tmp_path, monkeypatch):
    port, busy, good = pair
    monkeypatch.setattr(courier, "HEAD_START", 0)
    for number in range(20):  # it is a race
        (tmp_path / str(number)).mkdir()
        road = Road(tmp_path / str(number), monkeypatch, [[target("::1", port), target("127.0.0.1", port)]])
        (result,) = road.run(mail())
        assert result.message.letter == b"K", result.message.text
    assert busy.connections
    assert len(good.messages) == 20
