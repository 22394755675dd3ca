"""Log-ins and verdicts on run/authd.sock: what is encoded comes back, and nothing else is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.errors import PeerError
from quail.net import authd_protocol as protocol
from quail.net.authd_protocol import Request

FIELD = st.binary(max_size=300).filter(lambda field: b"\0" not in field)
SLOTS = ("tag", "asked", "method", "service", "user", "secret", "challenge", "peer", "rest")


def request(tag=7, method=b"P", **words):
    fields = {
        "service": b"pop3",
        "user": b"jane",
        "secret": b"secret",
        "challenge": b"",
        "peer": b"192.0.2.1",
        "rest": b"",
    }
    return Request(tag, method, **(fields | words))


def values(one):
    return [getattr(one, slot) for slot in SLOTS]


@given(
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from(protocol.METHODS),
    st.fixed_dictionaries(dict.fromkeys(("service", "secret", "challenge", "peer"), FIELD)),
    FIELD.filter(bool),
    st.binary(max_size=2000),
    st.integers(0, (1 << 64) - 1),
)
def test_a_request(tag, method, fields, user, rest, asked):
    made = request(tag, method, user=user, rest=rest, asked=asked, **fields)
    frame = protocol.encode_request(made)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4 <= protocol.MAX_REQUEST
    assert values(protocol.decode_request(frame[4:])) == values(made)


@given(st.binary(max_size=200))
def test_only_peer_errors(data):
    for decode in (protocol.decode_request, protocol.decode_verdict):
        try:
            decode(data)
        except PeerError:
            pass


@pytest.mark.parametrize(
    "words",
    [
        {"method": b"?"}, {"user": b""}, {"user": b"a\0b"}, {"secret": b"\0"}, {"peer": b"x" * 1025}, {"user": b"x" * 1025},
        {"rest": b"x" * (protocol.MAX_REST + 1)},
    ],
    ids=["method", "nobody", "nul", "nul in secret", "long peer", "long user", "long rest"],
)  # fmt: skip
def test_what_is_refused(words):
    with pytest.raises(PeerError):
        protocol.decode_request(protocol.encode_request(request(**words))[4:])


def test_every_cut_is_noticed():
    whole = protocol.encode_request(request())[4:]
    for size in range(len(whole)):
        with pytest.raises(PeerError):
            protocol.decode_request(whole[:size])


@given(st.integers(0, 0xFFFFFFFF), st.sampled_from([b"K", b"N", b"T"]), st.binary(max_size=100))
def test_a_verdict(tag, letter, text):
    frame = protocol.encode_verdict(tag, letter, text)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert protocol.decode_verdict(frame[4:]) == (tag, letter, text)


def test_a_long_text_is_cut():
    assert len(protocol.encode_verdict(1, b"T", b"x" * 5000)) == 4 + protocol.MAX_VERDICT
