"""One connection of QMTP or QMQP between a peer, the users service and the queue: streams, replies, back-pressure, and ends at
any moment.
"""

import pytest
from tests.unit.qmtp.packages import accepts_host, package, request
from tests.unit.services.stepping import FakeTransport
from tests.unit.services.test_smtpd_session import FakeService as SmtpService
from tests.unit.services.test_smtpd_session import handed

from quail.policy.qmtp import LIFETIME
from quail.qmqp.server import Session as QmqpMachine
from quail.qmtp.netstring import netstring
from quail.qmtp.server import Session as QmtpMachine
from quail.qmtp.server import Settings
from quail.queue.handover import ABANDON, BODY_FIRST, Reply, decode_envelope
from quail.services.inbound.handoff import GONE
from quail.services.qmtpd.session import NetstringSession

TEXT = b"Subject: hi\n\nhello\n"
LARGE = b"x" * 100_000
JOE = b"joe@example.com"
PATIENCE = 1200


class FakeService(SmtpService):
    def __init__(self, protocol=b"QMTP", *, room=True, admitted=True):
        super().__init__()
        self.protocol, self.room, self.admitted = protocol, room, admitted
        self.stopping = False
        self.recipients.known.add(JOE)

    def count(self, session, _peer):
        session.counted = self.room
        return None if self.room else b""

    def admit(self, peer, _name):
        if not self.admitted:
            return None
        settings = Settings(accepts_host=accepts_host, check_recipients=True, databytes=1_000_000)
        machine = QmtpMachine(settings) if self.protocol == b"QMTP" else QmqpMachine()
        return {b"TCPREMOTEIP": peer.encode()}, machine


class Peer:
    def __init__(self, service=None):
        self.service = service or FakeService()
        self.session = NetstringSession(self.service)
        self.transport = FakeTransport()
        self.session.connection_made(self.transport)

    def say(self, data, piece=1 << 16):
        for at in range(0, len(data), piece):
            self.session.data_received(data[at : at + piece])
        return self.transport.take()

    @property
    def pool(self):
        return self.service.pool

    def submitted(self):
        frames, borrower = self.pool.submitted.pop(0)
        assert borrower is self.session
        return handed(frames)

    def handed(self, reply):
        self.session.handed_over(reply)
        return self.transport.take()

    def gone(self):
        self.session.connection_lost(None)


def streamed(handoff):
    """(text, envelope) of a message whose envelope comes last; None for what has not come."""
    assert handoff.data.startswith(BODY_FIRST)
    at, text = 4, b""
    while size := int.from_bytes(handoff.data[at : at + 4], "big"):
        text += handoff.data[at + 4 : at + 4 + size]
        at += 4 + size
        if at == len(handoff.data):
            return text, None
    envelope = handoff.data[at + 4 :]
    assert int.from_bytes(envelope[:4], "big") == len(envelope) - 4
    return text, decode_envelope(envelope[4:])


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_message_is_handed_over_whole(piece):
    peer = Peer()
    assert peer.say(package(TEXT, b"s@x", JOE, b"a@elsewhere"), piece) == b""
    envelope, text = peer.submitted()
    assert (envelope.sender, envelope.recipients) == (b"s@x", [JOE])
    assert text.startswith(b"Received: from unknown (192.0.2.1)\n  by unknown with QMTP; ")
    assert text.endswith(TEXT)
    said = peer.handed(Reply(b"K", b"7"))
    assert said.startswith(b"19:Kok ")
    assert b" qp 7,66:Dsorry" in said
    assert peer.service.lines == ["192.0.2.1 message from <s@x> to 1 recipient: msg 7"]
    assert not peer.transport.closed


def test_a_message_by_qmqp():
    peer = Peer(FakeService(b"QMQP"))
    peer.say(request(TEXT, b"s@x", b"a@anywhere", b"b@elsewhere"))
    envelope, text = peer.submitted()
    assert envelope.recipients == [b"a@anywhere", b"b@elsewhere"]
    assert b" with QMQP; " in text
    assert peer.handed(Reply(b"D", b"no \xff(#5.1.1)")) == netstring(b"Dno ?(#5.1.1)")
    assert peer.transport.closed
    assert peer.service.lines == ["192.0.2.1 message from <s@x> to 2 recipients: refused: no__(#5.1.1)"]


def test_a_large_message_is_streamed_and_its_envelope_follows():
    peer = Peer()
    data = package(LARGE, b"s@x", JOE)
    peer.say(data[:-50], 5000)
    ((handoff, _),) = peer.pool.acquired
    text, envelope = streamed(handoff)
    assert envelope is None
    assert len(text) > len(LARGE) - 33_000
    peer.say(data[-50:])
    text, envelope = streamed(handoff)
    assert text.endswith(LARGE)
    assert (envelope.sender, envelope.recipients) == (b"s@x", [JOE])
    assert peer.handed(Reply(b"K", b"8")).startswith(b"19:Kok ")
    assert peer.session._message == []


@pytest.mark.parametrize("recipients", [[b"a@elsewhere"], [b"who@example.com"]], ids=["rcpthosts", "unknown"])
def test_a_large_message_that_nobody_may_have_is_abandoned(recipients):
    peer = Peer()
    said = peer.say(package(LARGE, b"s@x", *recipients))
    for _, answered in peer.service.recipients.asked:
        answered(b"N", b"")
    said += peer.transport.take()
    assert said.startswith((b"66:D", b"45:D"))
    ((handoff, _),) = peer.pool.acquired
    assert handoff.abandoned
    assert handoff.data.endswith(ABANDON)
    assert peer.service.lines[-1] == "192.0.2.1 message given up: no recipient is taken"
    assert peer.say(package(TEXT, b"s@x", JOE)) == b""
    assert len(peer.pool.submitted) == 1


def test_verdicts_are_waited_for():
    peer = Peer()
    data = package(TEXT, b"s@x", b"new@example.com", JOE, b"who@example.com")
    peer.say(data + data[:9])
    (asked,) = peer.service.recipients.asked
    assert asked[0] == b"new@example.com"
    assert peer.pool.submitted == []
    asked[1](b"K", b"")
    peer.service.recipients.asked[1][1](b"T", b"no users")
    envelope, _ = peer.submitted()
    assert envelope.recipients == [b"new@example.com", JOE]
    said = peer.handed(Reply(b"K", b"1"))
    assert said.count(b"Kok") == 2
    assert said.endswith(netstring(b"Zsorry, I can't tell whether that mailbox exists; try again later (#4.3.0)"))
    assert "who@example.com> refused: Zsorry" in peer.service.lines[0]


def test_the_queue_goes_in_the_middle():
    peer = Peer()
    data = package(LARGE, b"s@x", JOE)
    peer.say(data[:60_000])
    assert peer.handed(GONE) == b""
    assert peer.say(data[60_000:]) == netstring(b"Zthe queue is not available (#4.3.0)")
    assert len(peer.pool.acquired) == 1
    assert peer.service.lines == ["192.0.2.1 message: refused: the_queue_is_not_available_(#4.3.0)"]


def test_the_queue_goes_while_a_verdict_is_waited_for():
    peer = Peer()
    peer.say(package(LARGE, b"s@x", b"new@example.com", b"later@example.com"))
    assert peer.handed(GONE) == b""
    ((_, answered),) = peer.service.recipients.asked
    answered(b"N", b"")
    said = peer.transport.take()
    assert said == netstring(b"Dsorry, no mailbox here by that name (#5.1.1)") + netstring(
        b"Zthe queue is not available (#4.3.0)"
    )


@pytest.mark.parametrize("cut", [5, 60_000, -3])
def test_a_peer_that_goes_in_the_middle(cut):
    peer = Peer()
    peer.say(package(LARGE, b"s@x", JOE)[:cut])
    peer.gone()
    assert [handoff.abandoned for handoff, _ in peer.pool.acquired] == [True] * (cut != 5)
    assert peer.pool.submitted == []
    assert peer.service.left == ["192.0.2.1"]


def test_a_peer_that_goes_while_a_verdict_is_waited_for():
    peer = Peer()
    peer.say(package(LARGE, b"s@x", b"new@example.com"))
    peer.gone()
    ((handoff, _),) = peer.pool.acquired
    assert handoff.abandoned
    peer.service.recipients.asked[0][1](b"K", b"")
    assert peer.transport.take() == b""


def test_a_peer_that_goes_before_the_answer_has_sent_its_message():
    peer = Peer()
    peer.say(package(LARGE, b"s@x", JOE))
    peer.gone()
    ((handoff, _),) = peer.pool.acquired
    assert not handoff.abandoned
    assert peer.handed(Reply(b"K", b"1")) == b""


def test_the_end_of_the_peer_s_words_is_not_the_end_of_its_ears():
    peer = Peer()
    peer.say(package(TEXT, b"s@x", JOE))
    assert peer.session.eof_received()
    assert peer.handed(Reply(b"K", b"1")).startswith(b"19:Kok")
    assert peer.transport.closed


def test_what_is_no_qmtp():
    peer = Peer()
    assert peer.say(b"HELO x\r\n") == b""
    assert peer.transport.closed
    assert peer.service.lines == ["192.0.2.1 dropped: the length of a netstring is not a number"]


@pytest.mark.parametrize("service", [{"room": False}, {"admitted": False}])
def test_who_is_not_let_in_hears_nothing(service):
    peer = Peer(FakeService(**service))
    assert peer.transport.closed
    assert peer.say(package(TEXT, b"s@x", JOE)) == b""
    assert peer.pool.submitted == []


def test_a_peer_that_sends_ahead_is_not_read_for_ever():
    peer = Peer()
    peer.say(package(TEXT, b"s@x", JOE))
    peer.say(package(b"y" * 300_000, b"s@x", JOE))
    assert not peer.transport.reading
    assert peer.handed(Reply(b"K", b"1"))
    assert peer.transport.reading


def test_what_is_sent_ahead_is_bounded_however_often_it_is_answered():
    """Each verdict lets the machine go on by one recipient, while the peer would send a whole piece of them."""
    peer = Peer()
    recipients = [b"nobody%d@example.com" % number for number in range(100_000)]
    stream = package(TEXT, b"s@x", *recipients)
    sent = 0
    for _ in range(90):
        while peer.transport.reading and sent < len(stream):
            peer.session.data_received(stream[sent : sent + 16_384])
            sent += 16_384
        peer.service.recipients.asked.pop()[1](b"D", b"")
    assert sent <= peer.session.HIGH_WATER + 3 * 16_384


def test_a_slow_queue_holds_the_peer_up():
    peer = Peer()
    peer.say(package(LARGE, b"s@x", JOE)[:60_000])
    peer.session.pause_message(True)
    assert not peer.transport.reading
    peer.session.pause_message(False)
    assert peer.transport.reading


def test_a_peer_that_does_not_listen_is_not_heard():
    peer = Peer()
    peer.session.pause_writing()
    assert not peer.transport.reading
    assert peer.say(package(TEXT, b"s@x", b"a@elsewhere")) == b""
    peer.session.resume_writing()
    assert peer.transport.take().startswith(b"66:Dsorry")
    assert peer.transport.reading


def test_many_replies_wait_for_a_peer_that_is_slow():
    peer = Peer()
    write = peer.transport.write

    def full(data):
        write(data)
        peer.session.pause_writing()

    peer.transport.write = full
    peer.service.recipients.known.add(b"")
    peer.say(package(b"", b"", *[b""] * 200_000))
    written = [len(peer.handed(Reply(b"K", b"1")))]
    while peer.session._peer_full:
        peer.session.resume_writing()
        written.append(len(peer.transport.take()))
    assert max(written) < 40_000
    assert sum(written) > 10_000_000


def test_silence_and_age():
    peer = Peer()
    loop = peer.service.loop
    peer.session.check_silence(loop.time() + PATIENCE - 1, PATIENCE)
    assert not peer.transport.closed
    peer.session.check_silence(loop.time() + PATIENCE + 1, PATIENCE)
    assert peer.transport.closed
    loop.now += 31
    peer.session.check_silence(loop.time(), PATIENCE)
    assert peer.transport.aborted


def test_a_busy_peer_has_an_hour():
    peer = Peer()
    loop = peer.service.loop
    loop.now += LIFETIME - 1
    peer.say(package(TEXT, b"s@x", JOE))
    loop.now += 5
    peer.session.check_silence(loop.time(), PATIENCE)
    assert not peer.transport.closed  # the queue has its message
    assert peer.handed(Reply(b"K", b"1"))
    peer.session.check_silence(loop.time(), PATIENCE)
    assert peer.transport.closed
    assert peer.service.lines[-1] == "192.0.2.1 dropped: timeout"


def test_a_message_is_given_up_when_its_peer_falls_silent():
    peer = Peer()
    peer.say(package(LARGE, b"s@x", JOE)[:60_000])
    peer.session.check_silence(peer.service.loop.time() + PATIENCE + 1, PATIENCE)
    ((handoff, _),) = peer.pool.acquired
    assert handoff.abandoned
    assert peer.service.lines == ["192.0.2.1 message given up: timeout", "192.0.2.1 dropped: timeout"]


def test_shutdown():
    idle, busy = Peer(), Peer()
    data = package(TEXT, b"s@x", JOE)
    busy.say(data[:9])
    for peer in (idle, busy):
        peer.session.shut_down()
    assert (idle.transport.closed, busy.transport.closed) == (True, False)
    busy.say(data[9:] + data)
    assert busy.handed(Reply(b"K", b"1")).count(b"Kok") == 1
    assert busy.transport.closed
