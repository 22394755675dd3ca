"""One smtpd worker: who is admitted, what limits say, and how it stops; without a listener."""

import os
from types import SimpleNamespace

import pytest
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.services.inbound import census
from quail.services.smtpd.service import Smtpd
from quail.services.smtpd.session import SmtpSession


class Loop(SteppedLoop):
    stopped = 0

    def stop(self):
        self.stopped += 1


class Desk:
    def __init__(self):
        self.loop = Loop()
        self.lines = []
        self.table = census.make(2)
        context = SimpleNamespace(
            counters=self.table,
            worker=0,
            log=SimpleNamespace(lines=self.lines.extend),
            sockets={},
            life_fd=-1,
            mode="single",
            home="/home",
        )
        self.service = Smtpd(context, self.loop)

    def connect(self, peer="192.0.2.1"):
        session = SmtpSession(self.service)
        transport = FakeTransport(peername=(peer, 1234))
        session.connection_made(transport)
        return session, transport

    def control(self, name, text):
        with open(f"control/{name}", "w") as file:
            file.write(text)
        self.service._hang_up()


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("control")
    with open("control/me", "w") as file:
        file.write("mail.example\n")
    return Desk()


def said(transport):
    return transport.take()[:3]


def test_a_greeting(desk):
    _, transport = desk.connect()
    assert transport.take().startswith(b"220 mail.example")
    assert not transport.closed


def test_limits_for_one_address_and_for_all(desk):
    desk.control("maxconnectionsperip", "2\n")
    desk.control("concurrencyincoming", "3\n")
    first = desk.connect()
    assert [said(desk.connect()[1]), said(desk.connect()[1])] == [b"220", b"421"]
    assert said(desk.connect("192.0.2.2")[1]) == b"220"
    assert said(desk.connect("192.0.2.3")[1]) == b"421"
    first[0].connection_lost(None)
    assert said(desk.connect("192.0.2.3")[1]) == b"220"


def test_a_guest_s_whole_64_has_one_limit(desk):
    desk.control("maxconnectionsperip", "2\n")
    first = desk.connect("2001:db8::1")
    assert [said(desk.connect(f"2001:db8::{number}")[1]) for number in (2, 3)] == [b"220", b"421"]
    assert said(desk.connect("2001:db8:0:1::1")[1]) == b"220"
    first[0].connection_lost(None)
    assert said(desk.connect("2001:db8::4")[1]) == b"220"


def test_a_refused_connection_is_not_counted_when_it_goes(desk):
    desk.control("maxconnectionsperip", "1\n")
    first, _ = desk.connect()
    refused, transport = desk.connect()
    assert transport.closed
    refused.connection_lost(None)
    assert desk.service._census.total() == 1
    first.connection_lost(None)
    assert desk.service._census.total() == 0
    assert not desk.service.sessions


def test_connections_of_other_workers_count(desk):
    desk.control("concurrencyincoming", "1\n")
    census.Census(desk.table, 1).enter("192.0.2.9")
    assert said(desk.connect()[1]) == b"421"


def test_malformed_control_files_leave_the_old_ones_in_force(desk):
    desk.control("maxconnectionsperip", "1\n")
    desk.control("maxconnectionsperip", "one\n")
    desk.loop.turn()
    assert any("unable to reread controls" in line for line in desk.lines)
    desk.connect()
    assert said(desk.connect()[1]) == b"421"


def test_one_malformed_file_leaves_all_the_old_ones_in_force(desk):
    """The log says so: half of what an operator has changed must not count before the other half does."""
    desk.control("maxconnectionsperip", "one\n")
    desk.control("smtpgreeting", "new.example\n")
    assert desk.connect()[1].take().startswith(b"220 mail.example")
    desk.control("maxconnectionsperip", "1\n")
    assert desk.connect("192.0.2.2")[1].take().startswith(b"220 new.example")


def test_stopping_without_sessions_is_at_once(desk):
    desk.service._terminate()
    assert desk.loop.stopped
    assert said(desk.connect()[1]) == b"421"


def test_stopping_waits_for_the_last_session(desk):
    session, transport = desk.connect()
    transport.take()
    session.data_received(b"HELO x\r\nMAIL FROM:<>\r\n")
    transport.take()
    desk.service._terminate()
    assert said(transport) == b"421"
    assert transport.closed
    assert not desk.loop.stopped
    session.connection_lost(None)
    assert desk.loop.stopped == 1


def test_stopping_does_not_wait_for_ever(desk):
    desk.connect()
    desk.service._terminate()
    desk.service._terminate()
    desk.loop.pass_time(10)
    assert desk.loop.stopped == 1


def test_the_sweep_goes_on_although_one_session_fails(desk, monkeypatch):
    connections = [desk.connect() for _ in range(3)]
    calls = []

    def check(session, _now, _patience):
        calls.append(session)
        if session is connections[1][0]:
            raise ValueError("a bug")

    monkeypatch.setattr(SmtpSession, "check_silence", check)
    desk.service._sweep()
    desk.loop.pass_time(1)
    assert len(calls) == 6
    assert [transport.aborted for _, transport in connections] == [False, True, False]
    assert sum("internal error" in line for line in desk.lines) == 2
