"""One SMTP session between a peer, the users service and the queue: streams, replies, back-pressure, and ends at any moment."""

import pytest
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.queue.handover import ABANDON, END, Reply, decode_envelope
from quail.services.inbound.handoff import GONE
from quail.services.smtpd.session import SmtpSession
from quail.smtp.settings import Settings


class FakeHandoff:
    def __init__(self):
        self.data = b""
        self.abandoned = False

    def write(self, data):
        self.data += data

    def abandon(self):
        self.write(ABANDON)
        self.abandoned = True


class FakePool:
    def __init__(self):
        self.submitted = []
        self.acquired = []

    def submit(self, frames, borrower):
        self.submitted.append((frames, borrower))

    def acquire(self, borrower):
        handoff = FakeHandoff()
        self.acquired.append((handoff, borrower))
        return handoff


class FakeRecipients:
    def __init__(self):
        self.known = set()
        self.asked = []

    def is_known(self, address):
        return address in self.known

    def ask(self, address, answered):
        self.asked.append((address, answered))


class FakeService:
    def __init__(self, verdict=None):
        self.loop = SteppedLoop()
        self.sessions = set()
        self.pool = FakePool()
        self.recipients = FakeRecipients()
        self.lines = []
        self.log = self.lines.append
        self.verdict = verdict
        self.left = []
        self.resolver = None

    def count(self, session, _peer):
        session.counted = True

    def admit(self, _session, _peer, _name, _info):
        if self.verdict is not None:
            return self.verdict
        return Settings(
            greeting=b"mail.example",
            accepts_host=lambda host: host == b"here",
            badmailfrom=lambda _sender: False,
            databytes=0,
            relayclient=None,
            localiphost=None,
            local_addresses=frozenset(),
            max_recipients=100,
            check_recipients=True,
        )

    def leave(self, session, peer):
        self.sessions.discard(session)
        self.left.append(peer)


class Peer:
    """What the other end sends and sees."""

    def __init__(self, service=None):
        self.service = service or FakeService()
        self.service.recipients.known.add(b"joe@here")
        self.session = SmtpSession(self.service)
        self.transport = FakeTransport()
        self.session.connection_made(self.transport)

    def say(self, *lines):
        self.session.data_received(b"".join(line + b"\r\n" for line in lines))
        return self.codes()

    def codes(self):
        return [line[:3] for line in self.transport.take().split(b"\r\n")[:-1]]

    def begin(self, *body):
        """Until the text of a message."""
        self.transport.take()
        codes = self.say(b"HELO x", b"MAIL FROM:<a@x>", b"RCPT TO:<joe@here>", b"DATA", *body)
        assert codes == [b"250", b"250", b"250", b"354"]

    def gone(self):
        self.session.connection_lost(None)


def handed(frames):
    """Envelope and body of what went to the queue."""
    parts, at = [], 0
    while at < len(frames):
        size = int.from_bytes(frames[at : at + 4], "big")
        parts.append(frames[at + 4 : at + 4 + size])
        at += 4 + size
    assert parts[-1] == b""
    assert b"" not in parts[:-1]
    return decode_envelope(parts[0]), b"".join(parts[1:-1])


@pytest.fixture
def peer():
    return Peer()


@pytest.fixture
def service(peer):
    return peer.service


def test_a_short_message_goes_whole_over_the_shared_connection(peer, service):
    peer.begin(b"Subject: hi", b"", b"..dot", b".")
    (frames, borrower), *more = service.pool.submitted
    assert not more
    assert not service.pool.acquired
    envelope, body = handed(frames)
    assert (envelope.sender, envelope.recipients) == (b"a@x", [b"joe@here"])
    assert body.startswith(b"Received: from ")
    assert body.endswith(b"Subject: hi\n\n.dot\n")
    assert peer.codes() == []  # nothing is said before the queue has answered
    borrower.handed_over(Reply(b"K", b"17"))
    assert peer.codes() == [b"250"]
    assert service.lines == ["192.0.2.1 message from <a@x> to 1 recipient: msg 17"]


def test_a_long_message_is_streamed(peer, service):
    peer.begin()
    for _ in range(10):
        peer.session.data_received(b"x" * 998 + b"\r\n" + b"y" * 7000 + b"\r\n")
    handoff, borrower = service.pool.acquired[0]
    assert len(handoff.data) > 30_000  # before its end
    peer.session.data_received(b".\r\n")
    assert len(service.pool.acquired) == 1
    assert not service.pool.submitted
    assert handed(handoff.data)[1].endswith(b"y\n")
    borrower.handed_over(Reply(b"Z", b"queue disk is nearly full, try again later (#4.3.1)"))
    assert peer.codes() == [b"452"]
    assert handoff.data.endswith(END)


def test_the_queue_goes_away_in_the_middle(peer, service):
    """451, once the peer has sent its message to the end; no byte of the rest is taken for a command."""
    peer.begin(b"x" * 900, *[b"y" * 900] * 50)
    handoff, borrower = service.pool.acquired[0]
    size = len(handoff.data)
    borrower.handed_over(GONE)
    assert peer.codes() == []
    assert peer.say(b"more", b"QUIT", b"..") == []
    assert peer.say(b".") == [b"451"]
    assert len(handoff.data) == size
    assert peer.say(b"QUIT") == [b"221"]


def test_the_queue_goes_away_while_it_holds_the_peer_back(peer, service):
    """A session that was paused for the queue's sake has to go on without it, or the peer waits for nothing."""
    peer.begin(*[b"y" * 900] * 50)
    _, borrower = service.pool.acquired[0]
    borrower.pause_message(True)
    assert not peer.transport.reading
    borrower.handed_over(GONE)
    assert peer.transport.reading
    assert peer.say(b".") == [b"451"]


def test_an_answer_that_comes_during_a_pause_ends_it(peer, service):
    """The shared connection says pause to all who wait on it, and resume only to those who still do."""
    peer.begin(b"text", b".")
    _, borrower = service.pool.submitted[0]
    borrower.pause_message(True)
    borrower.handed_over(Reply(b"K", b"1"))
    assert peer.transport.reading
    assert peer.codes() == [b"250"]


def test_back_pressure_of_queue_and_peer_are_two_things(peer, service):
    peer.begin(*[b"y" * 900] * 50)
    _, borrower = service.pool.acquired[0]
    peer.session.pause_writing()
    borrower.pause_message(True)
    borrower.pause_message(False)
    assert not peer.transport.reading
    peer.session.resume_writing()
    assert peer.transport.reading


def test_a_message_that_is_given_up_ends_its_pause(peer, service):
    peer.begin(*[b"y" * 900] * 50)
    handoff, borrower = service.pool.acquired[0]
    borrower.pause_message(True)
    peer.session.data_received(b"bare\nnewline\r\n")
    assert handoff.abandoned
    assert peer.transport.reading


def test_what_a_peer_sends_ahead_is_bounded(peer, service):
    peer.begin(b"text", b".")
    peer.session.data_received(b"NOOP\r\n" * 10)
    assert peer.transport.reading
    peer.session.data_received(b"x" * 300_000)
    assert not peer.transport.reading
    service.pool.submitted[0][1].handed_over(Reply(b"K", b"1"))
    assert peer.transport.reading


def test_what_a_peer_sends_ahead_is_bounded_however_often_it_is_answered(peer, service):
    """Each answer lets the machine go on by one line, while the peer would send a whole piece."""
    peer.say(b"HELO x", b"MAIL FROM:<a@x>")
    service.recipients.known.clear()
    piece = b"RCPT TO:<nobody@here>\r\n" * 1000
    sent = 0
    for _ in range(90):
        while peer.transport.reading and sent < 4 << 20:
            peer.session.data_received(piece)
            sent += len(piece)
        service.recipients.asked.pop()[1](b"D", b"")
    assert sent < SmtpSession.HIGH_WATER + 2 * len(piece)


def test_room_in_the_queue_is_no_room_here(peer, service):
    """The queue takes more, the peer reads again: but it has sent so much ahead that it is not heard before its answer."""
    peer.begin(b"text", b".")
    peer.session.data_received(b"QUIT" + b"x" * 300_000)
    assert not peer.transport.reading
    peer.session.pause_writing()
    peer.session.resume_writing()
    peer.session.pause_message(True)
    peer.session.pause_message(False)
    assert not peer.transport.reading
    service.pool.submitted[0][1].handed_over(Reply(b"K", b"1"))
    assert peer.transport.reading


def test_the_peer_goes_in_the_middle_of_its_message(peer, service):
    peer.begin(*[b"y" * 900] * 50)
    handoff, _ = service.pool.acquired[0]
    peer.gone()
    assert handoff.abandoned
    assert service.left == ["192.0.2.1"]


def test_the_peer_goes_before_anything_was_streamed(peer, service):
    peer.begin(b"text")
    peer.gone()
    assert not service.pool.submitted
    assert not service.pool.acquired


def test_the_peer_goes_while_the_queue_has_its_whole_message(peer, service):
    peer.begin(*[b"y" * 900] * 50, b".")
    handoff, borrower = service.pool.acquired[0]
    peer.gone()
    assert not handoff.abandoned  # it is delivered
    borrower.handed_over(Reply(b"K", b"1"))
    assert peer.transport.written == b""


def test_a_recipient_waits_for_the_users_service(peer, service):
    peer.transport.take()
    assert peer.say(b"HELO x", b"MAIL FROM:<a@x>", b"RCPT TO:<new@here>", b"RCPT TO:<joe@here>", b"NOOP") == [
        b"250",
        b"250",
    ]
    address, answered = service.recipients.asked[0]
    assert address == b"new@here"
    answered(b"N", b"")
    assert peer.codes() == [b"550", b"250", b"250"]
    assert service.lines[0].startswith("192.0.2.1 recipient <new@here> refused: 550")


def test_trouble_at_the_users_service_is_temporary(peer, service):
    peer.say(b"HELO x", b"MAIL FROM:<a@x>", b"RCPT TO:<new@here>")
    service.recipients.asked[0][1](b"T", b"no answer")
    assert peer.codes() == [b"451"]


def test_the_users_service_answers_after_the_peer_has_gone(peer, service):
    peer.say(b"HELO x", b"MAIL FROM:<a@x>", b"RCPT TO:<new@here>")
    peer.gone()
    service.recipients.asked[0][1](b"K", b"")
    assert service.lines == []


def test_half_closed_by_the_peer_it_still_gets_its_answer(peer, service):
    peer.begin(b"text", b".")
    assert peer.session.eof_received() is True
    assert not peer.transport.closed
    service.pool.submitted[0][1].handed_over(Reply(b"K", b"5"))
    assert peer.codes() == [b"250"]
    assert peer.transport.closed


def test_silence_closes_a_session_and_gives_its_message_up(peer, service):
    peer.begin(*[b"y" * 900] * 50)
    handoff, _ = service.pool.acquired[0]
    peer.session.check_silence(service.loop.now + 100, 200)
    assert not peer.transport.closed
    peer.session.check_silence(service.loop.now + 201, 200)
    assert peer.transport.closed
    assert handoff.abandoned
    assert peer.codes() == [b"451"] or peer.transport.written == b""


def test_silence_is_not_held_against_a_peer_that_waits_for_us(peer, service):
    peer.begin(b"text", b".")
    peer.session.check_silence(service.loop.now + 10_000, 200)
    assert not peer.transport.closed


def test_the_time_that_the_queue_took_is_not_the_peers_silence(peer, service):
    peer.begin(b"text", b".")
    service.loop.now += 10_000
    service.pool.submitted[0][1].handed_over(Reply(b"K", b"5"))
    peer.session.check_silence(service.loop.now, 200)
    assert not peer.transport.closed


def test_shut_down_takes_the_message_at_hand(peer, service):
    peer.begin(b"text")
    peer.session.shut_down()
    assert not peer.transport.closed
    assert peer.say(b".") == []
    service.pool.submitted[0][1].handed_over(Reply(b"K", b"5"))
    assert peer.codes() == [b"250", b"421"]
    assert peer.transport.closed


def test_shut_down_between_messages_is_at_once(peer):
    peer.transport.take()
    peer.session.shut_down()
    assert peer.codes() == [b"421"]
    assert peer.transport.closed


@pytest.mark.parametrize(("verdict", "said"), [(b"421 4.7.0 too many", [b"421"]), (b"", [])])
def test_not_admitted(verdict, said):
    peer = Peer(FakeService(verdict))
    assert peer.codes() == said
    assert peer.transport.closed
    peer.session.data_received(b"HELO x\r\n")
    assert peer.transport.written == b""
    peer.gone()
    assert not peer.service.sessions


def test_a_connection_that_has_gone_again_already():
    service = FakeService()
    session = SmtpSession(service)
    transport = FakeTransport(peername=None)
    session.connection_made(transport)
    assert transport.closed
    session.connection_lost(None)
    assert not session.counted


def test_two_messages_on_one_connection(peer, service):
    peer.begin(b"one", b".")
    service.pool.submitted[0][1].handed_over(Reply(b"K", b"1"))
    peer.transport.take()
    peer.say(b"MAIL FROM:<b@x>", b"RCPT TO:<joe@here>", b"DATA", b"two", b".")
    envelope, body = handed(service.pool.submitted[1][0])
    assert envelope.sender == b"b@x"
    assert body.endswith(b"two\n")


def test_close_is_at_once(peer):
    peer.session.close()
    assert peer.transport.aborted


def test_a_peer_that_does_not_even_read_its_end_is_cut_off(peer, service):
    """What is still to be written to it would keep the connection, and its place in the census, for ever."""
    peer.say(b"QUIT")
    assert peer.transport.closed
    peer.session.check_silence(service.loop.now + 29, 1200)
    assert not peer.transport.aborted
    peer.session.check_silence(service.loop.now + 31, 1200)
    assert peer.transport.aborted


def test_silence_first_and_then_no_reading_either(peer, service):
    service.loop.now += 1201
    peer.session.check_silence(service.loop.now, 1200)
    assert peer.transport.closed
    assert not peer.transport.aborted
    peer.session.check_silence(service.loop.now + 31, 1200)
    assert peer.transport.aborted


def test_a_refused_connection_that_lingers_is_cut_off():
    peer = Peer(FakeService(b"421 4.7.0 too many"))
    peer.session.check_silence(peer.service.loop.now + 31, 1200)
    assert peer.transport.aborted
