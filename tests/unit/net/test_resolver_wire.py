"""Plain answers read without the library say what the library says of them; whatever is not plain is left to it."""

import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quail.net.resolver_query import AAAA, MX, A, _parse, _Query, read
from quail.net.resolver_wire import plain

NAME = dns.name.from_text("host.example.test.")
KINDS = {"A": A, "AAAA": AAAA, "MX": MX}
LABEL = st.text("abcXYZ019-_", min_size=1, max_size=20)
TARGET = st.lists(LABEL, min_size=1, max_size=5).map(".".join).map(lambda name: name + ".")
RECORDS = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str),
    "MX": st.tuples(st.integers(0, 65535), st.one_of(TARGET, st.just("."), st.just("mx.host.example.test."))).map(
        lambda pair: f"{pair[0]} {pair[1]}"
    ),
}


def response(kind, records, *, ttl=300, owner=NAME):
    query = dns.message.make_query(NAME, kind)
    answer = dns.message.make_response(query, recursion_available=True)
    if records:
        answer.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, *records))
    return answer.to_wire()


def question(kind):
    return _Query(NAME, KINDS[kind], edns=False).question


@st.composite
def answers(draw):
    kind = draw(st.sampled_from(list(RECORDS)))
    records = draw(st.lists(RECORDS[kind], min_size=1, max_size=8))
    return kind, records, draw(st.integers(0, (1 << 31) - 1))


@settings(deadline=None)
@given(answers())
def test_what_it_reads_is_what_the_library_reads(answer):
    kind, records, ttl = answer
    data = response(kind, records, ttl=ttl)
    found = plain(data, question(kind), KINDS[kind])
    told = read(_parse(data), NAME, KINDS[kind])
    assert found is not None
    assert (found[0], max(1, min(86_400, found[1]))) == (told.records, told.ttl)


@settings(deadline=None)
@given(answers(), st.data())
def test_damaged_answers_are_read_as_the_library_reads_them_or_left_to_it(answer, data):
    kind, records, ttl = answer
    wire = bytearray(response(kind, records, ttl=ttl))
    asked = len(question(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(12 + asked, len(wire) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(wire[: data.draw(st.integers(12 + asked, len(wire)))])
    found = plain(damaged, question(kind), KINDS[kind])
    if found is None:
        return
    told = read(_parse(damaged), NAME, KINDS[kind])
    assert (found[0], max(1, min(86_400, found[1]))) == (told.records, told.ttl)


@settings(deadline=None)
@given(st.binary(min_size=12, max_size=200))
def test_no_bytes_make_it_fail(data):
    plain(data, question("MX"), MX)


@pytest.mark.parametrize(
    "data",
    [
        response("MX", []),
        response("MX", ["10 mx.example.test."], owner=dns.name.from_text("other.example.test.")),
        response("MX", [r"10 m\032x.example.test."]),
        response("A", ["192.0.2.1"]).replace(b"\0\1\0\1\0\0\1\x2c", b"\0\5\0\1\0\0\1\x2c"),  # an alias in its place
    ],
    ids=["no records", "of another name", "an odd name", "an alias"],  # else they would have the random ids of messages
)
def test_left_to_the_library(data):
    assert plain(data, question("MX"), MX) is None


def test_a_pointer_that_leads_nowhere_new_ends():
    data = response("MX", ["10 host.example.test."])
    place = data.rindex(b"\xc0\x0c")
    assert plain(data[:place] + bytes((0xC0, place)) + data[place + 2 :], question("MX"), MX) is None


def test_another_way_to_write_the_name_is_the_same_name():
    data = response("A", ["192.0.2.1"])
    long = data.replace(b"\xc0\x0c", b"\4HOST\7eXample\4test\0", 1)
    assert plain(long, question("A"), A) == (("192.0.2.1",), 300)
    assert data[3] & dns.flags.RA
