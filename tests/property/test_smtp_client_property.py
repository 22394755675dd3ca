"""The client's machine: any bytes of a server do no harm; with our own server mail arrives as it was. Outgoing texts."""

from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.client_target import TOKENS, check
from tests.unit.smtp.conversation import settings
from tests.unit.smtp.test_smtp_outgoing import normal, pieces_of, receive, sent

from quail.errors import PeerError
from quail.qmtp.client import ACCEPTED, LATER, MAX_REPLY, NEVER, Replies, request
from quail.smtp.body import Body
from quail.smtp.client import GO_AHEAD, OVER, READY, Client
from quail.smtp.outgoing import encode
from quail.smtp.server import BEGIN, BODY, END, RECIPIENT, Session

bodies = st.lists(
    st.sampled_from([b"\n", b"\r", b".", b"\r\n", b"\0", b"\xff", b"a"]) | st.binary(max_size=6), max_size=30
).map(b"".join)


@given(bodies, st.lists(st.integers(1, 8), min_size=1, max_size=8))
def test_a_text_has_one_end_and_arrives(body, sizes):
    wire = encode(body) + b".\r\n"
    assert receive(wire) == (normal(body), True)
    strict = Body(1 << 40, 1 << 40)
    assert strict.feed(wire).replace(b"\n", b"\r\n") == normal(body)
    assert (strict.fault, strict.rest) == (None, len(wire))
    for size in sizes:
        assert sent(pieces_of(body, size)) + b".\r\n" == wire


@given(st.binary(max_size=4), st.lists(st.sampled_from(TOKENS) | st.binary(max_size=20), max_size=40).map(b"".join))
def test_any_server(choices, data):
    check(choices.ljust(4, b"\0") + data)


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from([b"1:K,", b"2:Zx,", b"3:D\r\0,", b"9", b":"])).map(b"".join),
    st.integers(1, 9),
)
def test_any_qmtp_server(data, size):
    def read(size):
        replies, found = Replies(5), []
        try:
            for piece in pieces_of(data, size):
                found += replies.feed(piece)
                assert len(replies._buffer) <= MAX_REPLY + size
        except PeerError as error:
            return found, str(error)
        return found, None

    whole = read(len(data) or 1)
    assert read(size) == whole
    assert all(letter in (ACCEPTED, LATER, NEVER) for letter, _ in whole[0])


@given(st.binary(max_size=20), st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.binary(max_size=50))
def test_a_qmtp_request_is_read_as_it_was(sender, recipients, body):
    head, tail = request(sender, recipients, len(body))
    message, rest = netstring(head + body + tail)
    read_sender, rest = netstring(rest)
    box, rest = netstring(rest)
    assert (message, read_sender, rest) == (b"\n" + body, sender, b"")
    found = []
    while box:
        recipient, box = netstring(box)
        found.append(recipient)
    assert found == recipients


def netstring(data):
    length, _, rest = data.partition(b":")
    assert rest[int(length) : int(length) + 1] == b","
    return rest[: int(length)], rest[int(length) + 1 :]


local_parts = st.lists(st.sampled_from([*range(32, 127), *range(128, 256)]), max_size=10).map(bytes)
hosts = st.sampled_from([b"example.com", b"example.com", b"no.example", b"x\xff"])
addresses = st.tuples(local_parts, hosts).map(b"@".join)
messages = st.tuples(
    addresses | st.just(b""), st.lists(addresses, min_size=1, max_size=6), bodies, st.booleans(), st.booleans()
)


class Wire:
    """A client and our own server with a cut wire between them."""

    def __init__(self, pipelining, size, lmtp):
        served = settings(
            badmailfrom=lambda sender: sender.startswith(b"b"), check_recipients=True, max_bad_commands=0, lmtp=lmtp
        )
        if not pipelining:
            served.ehlo = served.ehlo.replace(b"250-PIPELINING\r\n", b"")
        self.server, self.client, self.size = Session(served), Client(b"me", lmtp=lmtp), size
        self.stored, self.text, self.events = [], b"", []
        self.server.start()

    def run(self):
        """Until nobody has anything to say."""
        while True:
            to_client, to_server = self.server.take_output(), self.client.take_output()
            if not to_client and not to_server:
                return self.events.pop(0) if self.events else None
            for piece in pieces_of(to_client, self.size):
                self.client.receive(piece)
                while event := self.client.next_event():
                    self.events.append(event)
            for piece in pieces_of(to_server, self.size):
                self.server.receive(piece)
                self.serve()

    def serve(self):
        server = self.server
        while event := server.next_event():
            if event[0] == RECIPIENT:
                server.recipient_verdict(b"550 5.1.1 no" if event[1].startswith(b"n") else None)
            elif event[0] == BEGIN:
                self.begun, self.text = event[1:], b""
            elif event[0] == BODY:
                self.text += event[1]
            elif event[0] == END:
                self.stored.append((*self.begun, self.text))
                server.message_done(b"451 4.3.0 later" if b"\xff" in self.text else b"250 2.0.0 ok")


@given(st.lists(messages, min_size=1, max_size=4), st.booleans(), st.sampled_from([1, 7, 1 << 20]), st.booleans())
def test_our_own_server_gets_what_was_sent(mails, pipelining, size, lmtp):
    wire = Wire(pipelining, size, lmtp)
    assert wire.run() == (READY,)
    for sender, recipients, body, eight_bit, utf8 in mails:
        before = len(wire.stored)
        accepted = [
            address
            for address in recipients
            if address.endswith(b"@example.com") and not address.startswith(b"n") and not sender.startswith(b"b")
        ]
        wire.client.begin(sender, recipients, size=len(body), eight_bit=eight_bit, utf8=utf8)
        event = wire.run()
        if accepted:
            assert event == (GO_AHEAD,)
            for piece in pieces_of(encode(body), size):
                wire.server.receive(piece)
                wire.serve()
            wire.client.body_sent()
            event = wire.run()
        kind, outcome = event
        assert kind == OVER
        assert outcome.sender.code == 250
        assert [reply.code < 300 for reply in outcome.recipients] == [address in accepted for address in recipients]
        assert wire.client.reusable
        if accepted:
            code = 451 if b"\xff" in body else 250
            finals = [code if address in accepted else None for address in recipients]
            assert [reply and reply.code for reply in outcome.finals] == (finals if lmtp else [])
            assert (outcome.final and outcome.final.code) == (None if lmtp else code)
            attributes = ([(b"body", b"8bitmime")] if eight_bit else []) + ([(b"smtputf8", b"")] if utf8 else [])
            assert wire.stored[before:] == [(sender, accepted, attributes, normal(body).replace(b"\r\n", b"\n"))]
        else:
            assert wire.stored[before:] == []
            assert outcome.final is None
    wire.client.quit()
    assert wire.run() is None
