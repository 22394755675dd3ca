"""The QMQP server's machine: one message, one reply; every cut, every broken byte."""

import pytest
from tests.unit.qmtp.packages import ACCEPTED, all_ways, qmqp, request

from quail.message.hops import MAX_HOPS
from quail.qmqp import server
from quail.qmqp.client import request as client_request
from quail.qmtp.netstring import netstring
from quail.queue import handover

TEXT = b"Subject: hi\n\nhello\n"
ONE = request(TEXT, b"s@x", b"joe@example.com", b"a@anywhere")
UNFIT = b"Dsorry, I can't accept addresses like that (#5.1.3)"


def test_a_message_and_its_bytes_on_the_wire():
    talk = all_ways(qmqp, b"27:6:hello\n,3:s@x,3:a@b,3:c@d,," + b"what follows is not looked at")
    assert talk.messages == [(b"s@x", [b"a@b", b"c@d"], b"hello\n")]
    assert talk.output == b"20:Kok 1700000000 qp 12,"
    assert talk.closed == (0, "done")


def test_what_our_own_client_sends():
    head, tail = client_request(b"s@x", [b"a@b", b""], len(TEXT))
    assert all_ways(qmqp, head + TEXT + tail).messages == [(b"s@x", [b"a@b", b""], TEXT)]


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\nx\r\n", b"\0\xff,", b"x" * 5000], ids=range(5))
def test_texts_are_taken_as_they_are(text):
    assert all_ways(qmqp, request(text, b"", b"a@b")).messages == [(b"", [b"a@b"], text)]


def test_a_message_for_nobody_is_the_queues_affair():
    assert all_ways(qmqp, request(TEXT, b"s@x")).messages == [(b"s@x", [], TEXT)]


@pytest.mark.parametrize(
    "addresses",
    [
        (b"s" * 1000, b"a@b"),
        (b"s\0", b"a@b"),
        (b"s", b"a@b", b"r" * 1000),
        (b"s", b"\0", b"a@b"),
        (b"s", b"x" * 70_000),
    ],
    ids=range(5),
)
def test_addresses_that_can_not_be(addresses):
    talk = all_ways(qmqp, request(TEXT, *addresses))
    assert (talk.messages, talk.replies, talk.abandoned) == ([], [UNFIT], [UNFIT[1:].decode()])
    assert talk.closed == (0, "done")


def test_the_longest_addresses():
    assert all_ways(qmqp, request(TEXT, b"s" * 999, b"r" * 999)).messages == [(b"s" * 999, [b"r" * 999], TEXT)]


def test_loops_end():
    talk = all_ways(qmqp, request(b"Received: x\n" * MAX_HOPS, b"s@x", b"a@b"))
    assert talk.replies == [b"Dtoo many hops, this message is looping (#5.4.6)"]


def test_no_more_recipients_than_the_queue_takes():
    assert (server.MAX_RECIPIENTS, server.MAX_ENVELOPE) == (handover.MAX_RECIPIENTS, handover.MAX_ENVELOPE)
    many = [b""] * server.MAX_RECIPIENTS
    (message,) = qmqp().send(request(b"x", b"", *many)).messages
    assert len(message[1]) == server.MAX_RECIPIENTS
    talk = qmqp().send(request(b"x", b"", *many, b""))
    assert (talk.messages, talk.replies) == ([], [b"Dtoo many recipients (#5.5.3)"])


def test_no_longer_envelope_than_the_queue_takes():
    sender, recipient = b"s" * 500, b"r" * 997
    count, rest = divmod(server.MAX_ENVELOPE - 1 - 502, 999)
    fits = [recipient] * count + [b"r" * (rest - 2)]
    (message,) = qmqp().send(request(b"x", sender, *fits)).messages
    assert len(handover.encode_envelope(*message[:2])) - 4 <= handover.MAX_ENVELOPE
    talk = qmqp().send(request(b"x", sender, *fits, b""))
    assert talk.replies == [b"Dtoo many recipients (#5.5.3)"]


def test_the_driver_may_refuse_early():
    talk = all_ways(lambda: qmqp(early=b"Zlater"), ONE)
    assert (talk.messages, talk.replies, talk.abandoned, talk.closed) == ([], [b"Zlater"], [], (0, "done"))


@pytest.mark.parametrize("cut", range(len(ONE)))
def test_a_peer_that_goes_in_the_middle(cut):
    talk = all_ways(qmqp, ONE[:cut])
    assert (talk.messages, talk.output, talk.closed) == ([], b"", (0, "end of input"))


WRONG = {
    "no length": b"x", "empty": b"0:,", "message longer than all": b"5:9:ab,,", "message as long as all": b"5:3:abc,",
    "all ends behind the message": b"4:1:x,,", "all ends within the sender": b"7:1:x,9:s,,", "no comma": b"10:1:x,0:,0:,x",
    "one comma short": b"9:1:x,0:,0:,,", "one byte over": b"11:1:x,0:,0:,,,", "recipient broken": b"10:1:x,0:,a:,,",
    "a length alone": b"8:1:x,0:,1,",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_qmqp_ends_the_connection(name):
    talk = all_ways(qmqp, WRONG[name], end=False)
    assert (talk.messages, talk.output, talk.closed[0]) == ([], b"", 100)


@pytest.mark.parametrize("data", [b"200000001:", b"20:300000000:", b"15:1:x,9999999999"], ids=range(3))
def test_lengths_that_nobody_takes(data):
    assert all_ways(qmqp, data, end=False).closed[0] == 111


@pytest.mark.parametrize("at", range(len(ONE)))
def test_every_byte_another(at):
    for byte in (b"0", b"9", b":", b",", b"\0", b"x"):
        all_ways(qmqp, ONE[:at] + byte + ONE[at + 1 :])
        all_ways(qmqp, ONE[:at] + byte + ONE[at:])
    all_ways(qmqp, ONE[:at] + ONE[at + 1 :])


def test_shutdown():
    talk = qmqp()
    talk.session.shutdown()
    talk.pump()
    assert talk.closed == (0, "shutdown")
    talk = qmqp().send(ONE[:9])
    talk.session.shutdown()
    assert talk.send(ONE[9:]).output == netstring(ACCEPTED)


def test_timeout():
    talk = qmqp().send(ONE[:9])
    talk.session.timeout()
    talk.pump()
    assert talk.events == [("abandon", "timeout"), ("close", 111, "timeout")]
