"""Laws of QMTP and QMQP: what a client sends is what the server's driver gets, however it is cut; bad bytes have one effect."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.qmtp.packages import ACCEPTED, package, qmqp, qmtp, request

from quail.qmqp.client import request as qmqp_request
from quail.qmtp.client import Replies
from quail.qmtp.client import request as qmtp_request

TEXTS = st.binary(max_size=300) | st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"received"])).map(b"".join)
ADDRESSES = st.binary(max_size=30).map(lambda address: address.replace(b"\0", b""))
LOCAL = ADDRESSES.map(lambda address: address.replace(b"@", b"") + b"@example.com")
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def cut(talk, data, sizes):
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        talk.send(data[at : at + size])
        at += size
        turn += 1
    return talk.send(b"")


@given(st.lists(st.tuples(TEXTS, ADDRESSES, st.lists(LOCAL, min_size=1, max_size=4)), max_size=4), CUTS)
def test_qmtp_messages_arrive_as_they_were_sent(messages, sizes):
    data = b""
    for text, sender, recipients in messages:
        head, tail = qmtp_request(sender, recipients, len(text))
        data += head + text + tail
    talk = cut(qmtp(), data, sizes)
    assert talk.messages == [(sender, recipients, text) for text, sender, recipients in messages]
    count = sum(len(recipients) for _, _, recipients in messages)
    assert list(Replies(count).feed(talk.output)) == [(b"K", ACCEPTED[1:])] * count


@given(TEXTS, CUTS)
def test_cr_lf_becomes_lf_and_nothing_else_changes(text, sizes):
    talk = cut(qmtp(), package(text, b"", b"a@example.com", end=b"\r"), sizes)
    assert talk.messages == [(b"", [b"a@example.com"], text.replace(b"\r\n", b"\n"))]


@given(TEXTS, st.integers(1, 300), CUTS)
def test_databytes(text, most, sizes):
    talk = cut(qmtp(databytes=most), package(text, b"", b"a@example.com"), sizes)
    assert bool(talk.messages) == (len(text) <= most)


@given(TEXTS, ADDRESSES, st.lists(ADDRESSES, max_size=5), CUTS)
def test_qmqp_messages_arrive_as_they_were_sent(text, sender, recipients, sizes):
    head, tail = qmqp_request(sender, recipients, len(text))
    assert head + text + tail == request(text, sender, *recipients)
    assert cut(qmqp(), head + text + tail, sizes).messages == [(sender, recipients, text)]


@given(st.binary(max_size=200), CUTS)
def test_any_bytes_have_one_effect(data, sizes):
    for make in (qmtp, qmqp):
        whole, pieces = cut(make(), data, [max(1, len(data))]), cut(make(), data, sizes)
        assert (whole.events, whole.output) == (pieces.events, pieces.output)
