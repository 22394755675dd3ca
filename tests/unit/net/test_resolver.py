"""Answers: what the resolver makes of a zone. A server of the tests' own is asked over real sockets."""

import gc
import os

import pytest
from tests.unit.net.resolving import MOST, QUICK

from quail.errors import PermanentError, TemporaryError
from quail.net.resolver import NoSuchHost, UnresolvedError


def test_exchangers(desk):
    desk.dns.add("example.test MX 20 Second.example.test.", "example.test MX 10 mx.example.test")
    assert sorted(desk.mx(b"example.test")) == [(10, b"mx.example.test"), (20, b"second.example.test")]


def test_a_name_without_exchangers_is_not_a_name_that_is_missing(desk):
    desk.dns.add("host.test A 192.0.2.1", "deep.below.test A 192.0.2.1")
    assert desk.mx(b"host.test") == []
    assert desk.mx(b"below.test") == []
    with pytest.raises(NoSuchHost, match=r"^none\.test does not exist$"):
        desk.mx(b"none.test")
    assert issubclass(NoSuchHost, PermanentError)
    assert issubclass(UnresolvedError, TemporaryError)


def test_a_null_mx(desk):
    desk.dns.add("null.test MX 0 .")
    assert desk.mx(b"null.test") == [(0, b"")]


def test_an_exchanger_that_can_be_no_host(desk):
    desk.dns.add("odd.test MX 10 a\\032b.test", "odd.test MX 20 a\\.b.test", "odd.test MX 30 \\195\\188.test")
    names = [name for _, name in sorted(desk.mx(b"odd.test"))]
    assert names == [b"a\\032b.test", b"a\\.b.test", b"\\195\\188.test"]
    asked = desk.dns.count()
    for name in names:
        with pytest.raises(NoSuchHost):
            desk.a(name)
    assert desk.dns.count() == asked


def test_addresses_of_both_kinds(desk):
    desk.dns.add("host.test A 192.0.2.1\nhost.test A 192.0.2.2\nhost.test AAAA 2001:db8::1")
    found = desk.both(b"host.test")
    assert found[0] == "2001:db8::1"
    assert sorted(found[1:]) == ["192.0.2.1", "192.0.2.2"]
    assert desk.both(b"host.test") == found  # from memory
    assert desk.dns.count() == 2


def test_ipv6_only_where_it_is_wanted(desk):
    desk.dns.add("six.test AAAA 2001:db8::1", "none.test TXT x")
    assert desk.a(b"six.test") == []
    assert desk.dns.count(kind="AAAA") == 0
    assert desk.both(b"six.test") == ["2001:db8::1"]
    assert desk.both(b"none.test") == []


@pytest.mark.parametrize(
    ("of_a", "of_aaaa", "found"),
    [
        ("normal", "servfail", ["192.0.2.1"]),
        ("normal", "nxdomain", ["192.0.2.1"]),
        ("servfail", "normal", ["2001:db8::1"]),
        ("nxdomain", "normal", ["2001:db8::1"]),
        ("empty", "nxdomain", []),
        ("nxdomain", "empty", []),
        ("empty", "servfail", UnresolvedError),
        ("servfail", "empty", UnresolvedError),
        ("servfail", "nxdomain", UnresolvedError),
        ("nxdomain", "servfail", UnresolvedError),
        ("servfail", "servfail", UnresolvedError),
        ("nxdomain", "nxdomain", NoSuchHost),
    ],
)
def test_a_server_that_fails_for_one_kind_of_address(desk, of_a, of_aaaa, found):
    desk.dns.add("host.test A 192.0.2.1\nhost.test AAAA 2001:db8::1")
    for kind, behaviour in (("A", of_a), ("AAAA", of_aaaa)):
        if behaviour != "normal":
            desk.dns.behave(f"host.test {kind}", behaviour)
    for _ in range(2):  # the second from memory
        if isinstance(found, list):
            assert desk.both(b"host.test") == found
        else:
            with pytest.raises(found):
                desk.both(b"host.test")
    assert desk.dns.count() == 2


def test_names_that_are_no_names_are_not_asked_for(desk):
    for host in (
        *(
            b"",
            b".",
            b"..",
            b"a..b",
            b".a",
            b"a..",
            b"a b",
            b"a\tb",
            b"a\0b",
            b"a\x7fb",
            b"a\nb",
            b"a\\b",
            b"\xff.test",
        ),
        *(b"x" * 64 + b".test", b".".join([b"x" * 49] * 6), "\u00fc".encode() * 600, "a\u00a0b.test".encode()),
        *("x\u00fc".encode() + b"y" * 70, "\u00fc..test".encode(), "\u2488.test".encode(), b"\xed\xa0\x80.test"),
    ):
        for ask in (desk.mx, desk.a, desk.both):
            with pytest.raises(NoSuchHost, match="cannot be the name of a host"):
                ask(host)
    assert desk.dns.questions == []


def test_the_longest_name(desk):
    name = b".".join([b"x" * 63, b"y" * 63, b"z" * 63, b"w" * 61])
    assert len(name) == 253
    desk.dns.add(f"{name.decode()} A 192.0.2.1")
    assert desk.a(name) == ["192.0.2.1"]


def test_one_name_in_several_spellings(desk):
    desk.dns.add("example.test MX 10 mx.example.test", "xn--bcher-kva.test MX 10 mx.b.test")
    for host in (b"example.test", b"EXAMPLE.test", b"Example.Test."):
        assert desk.mx(host) == [(10, b"mx.example.test")]
    for host in ("b\u00fccher.test", "B\u00dcCHER.test", "b\u00fccher\u3002test.", "xn--bcher-kva.TEST"):
        assert desk.mx(host.encode()) == [(10, b"mx.b.test")]
    assert [(asked.name, asked.type) for asked in desk.dns.questions] == [
        ("example.test", "MX"),
        ("xn--bcher-kva.test", "MX"),
    ]


def test_an_underscore_is_a_name(desk):
    desk.dns.add("_x.a_b.test A 192.0.2.1")
    assert desk.a(b"_x.a_b.test") == ["192.0.2.1"]


def test_localhost_is_not_asked_for(desk):
    for name in (b"localhost", b"LOCALHOST.", b"a.b.localhost"):
        assert desk.both(name) == ["::1", "127.0.0.1"]
        assert desk.a(name) == ["127.0.0.1"]
        assert desk.mx(name) == []
    assert desk.dns.questions == []


def test_a_chain_of_aliases(desk):
    for number in range(16):
        desk.dns.add(f"c{number}.test CNAME c{number + 1}.test")
    desk.dns.add("c16.test A 192.0.2.1", "c16.test MX 10 mx.test")
    assert desk.a(b"c0.test") == ["192.0.2.1"]
    assert desk.mx(b"c0.test") == [(10, b"mx.test")]
    assert desk.both(b"c8.test") == ["192.0.2.1"]
    desk.dns.add("c-1.test CNAME c0.test")
    with pytest.raises(UnresolvedError, match="aliases"):
        desk.a(b"c-1.test")


def test_an_alias_of_nothing(desk):
    desk.dns.add("gone.test CNAME none.test", "bare.test CNAME there.test", "there.test TXT x")
    with pytest.raises(NoSuchHost):
        desk.mx(b"gone.test")
    assert desk.mx(b"bare.test") == []
    assert desk.dns.count() == 2


@pytest.mark.parametrize("length", [1, 2, 3])
def test_aliases_that_go_round(desk, length):
    for number in range(length):
        desk.dns.add(f"r{number}.test CNAME r{(number + 1) % length}.test")
    with pytest.raises(UnresolvedError):
        desk.a(b"r0.test")


def test_a_server_that_leaves_the_chain_to_the_client(desk):
    desk.dns.add("a.test CNAME b.test", "b.test CNAME c.test", "c.test A 192.0.2.1")
    for name in ("a.test", "b.test"):
        desk.dns.behave(name, "first-link")
    assert desk.a(b"a.test") == ["192.0.2.1"]
    assert [asked.name for asked in desk.dns.questions] == ["a.test", "b.test", "c.test"]
    for number in range(17):
        desk.dns.add(f"l{number}.test CNAME l{number + 1}.test")
        desk.dns.behave(f"l{number}.test", "first-link")
    desk.dns.add("l17.test A 192.0.2.1", "loop.test CNAME loop.test")
    assert desk.a(b"l1.test") == ["192.0.2.1"]
    with pytest.raises(UnresolvedError):
        desk.a(b"l0.test")
    desk.dns.behave("loop.test", "first-link")
    with pytest.raises(UnresolvedError):
        desk.a(b"loop.test")


@pytest.mark.parametrize("count", [50, 300])
def test_answers_too_large_for_udp(desk, count):
    names = [f"mx{number}.with-a-long-name.of-{number}.example.test" for number in range(count)]
    desk.dns.add(*(f"big.test MX {number} {name}" for number, name in enumerate(names)))
    assert sorted(desk.mx(b"big.test")) == [(number, name.encode()) for number, name in enumerate(names)]
    assert desk.dns.count("big.test", tcp=False) == 1
    assert desk.dns.count("big.test", tcp=True) == 1


def test_answers_of_many_records_that_udp_has_room_for(desk):
    desk.dns.add(*(f"many.test A 192.0.2.{number}" for number in range(60)))
    assert len(desk.a(b"many.test")) == 60
    assert MOST > 12 + 60 * 16
    assert desk.dns.count(tcp=True) == 0


def test_the_callers_list_is_his_own(desk):
    desk.dns.add("host.test A 192.0.2.1")
    desk.a(b"host.test").append("10.0.0.1")
    assert desk.a(b"host.test") == ["192.0.2.1"]


def test_errors_do_not_grow_in_memory(desk):
    def depth():
        with pytest.raises(NoSuchHost) as caught:
            desk.mx(b"none.test")
        traceback, count = caught.value.__traceback__, 0
        while traceback is not None:
            traceback, count = traceback.tb_next, count + 1
        return count

    assert depth() >= depth() == depth()


def test_no_descriptor_stays_open(desk):
    desk.dns.add("big.test A 192.0.2.1")
    desk.dns.behave("big.test", "truncate")
    desk.dns.behave("slow.test", "silent")
    desk.dns.behave("shut.test", "tcp-silent")
    desk.use(timeout=QUICK)
    desk.a(b"big.test")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for name in (b"slow.test", b"shut.test"):
        with pytest.raises(UnresolvedError):
            desk.a(name)
    desk.dns.behave("big.test AAAA", "truncate")
    desk.both(b"big.test")
    # The server's side of a TCP connection ends when it has seen the end of ours.
    desk.dns.until(lambda: len(os.listdir("/proc/self/fd")) <= before)


NAMES = "1.2.0.192.in-addr.arpa"


def test_the_name_of_an_address(desk):
    desk.dns.add(f"{NAMES} PTR Host.test", "host.test A 192.0.2.9\nhost.test A 192.0.2.1")
    assert desk.name_of("192.0.2.1") == b"host.test"
    assert desk.name_of("::ffff:192.0.2.1") == b"host.test"
    six = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"
    desk.dns.add(f"{six} PTR six.test", "six.test AAAA 2001:DB8:0::1", "six.test A 192.0.2.1")
    assert desk.name_of("2001:db8::1") == b"six.test"
    link = "1" + ".0" * 28 + ".8.e.f.ip6.arpa"
    desk.dns.add(f"{link} PTR near.test", "near.test AAAA fe80::1")
    assert desk.name_of("fe80::1%eth0") == b"near.test"


def test_a_name_that_does_not_lead_back(desk):
    assert desk.name_of("192.0.2.1") is None
    desk.dns.add(f"{NAMES} PTR elsewhere.test\n{NAMES} PTR none.test\n{NAMES} PTR bad\\032name.test\n{NAMES} PTR .")
    desk.dns.add("elsewhere.test A 192.0.2.2", "elsewhere.test AAAA ::ffff:192.0.2.1")
    desk.use()
    assert desk.name_of("192.0.2.1") is None
    desk.dns.add(f"{NAMES} PTR broken.test\n{NAMES} PTR right.test", "right.test A 192.0.2.1")
    desk.dns.behave("broken.test", "servfail")
    desk.use()
    assert desk.name_of("192.0.2.1") == b"right.test"


def test_ten_names_of_an_address_are_looked_at(desk):
    for number in range(11):
        desk.dns.add(f"{NAMES} PTR n{number}.test")
    desk.name_of("192.0.2.1")
    asked = {each.name for each in desk.dns.questions if each.type == "A"}
    assert len(asked) == 10
    (left,) = {f"n{number}.test" for number in range(11)} - asked
    desk.dns.add(f"{left} A 192.0.2.1")
    assert desk.name_of("192.0.2.1") is None


def test_an_alias_among_pointers(desk):
    """RFC 2317: the zone of less than 256 addresses."""
    desk.dns.add(f"{NAMES} CNAME 1.0-31.2.0.192.in-addr.arpa", "1.0-31.2.0.192.in-addr.arpa PTR host.test")
    desk.dns.add("host.test A 192.0.2.1")
    assert desk.name_of("192.0.2.1") == b"host.test"


def test_no_name_when_it_can_not_be_told(desk):
    assert desk.name_of("no address") is None
    desk.dns.behave("*", "servfail")
    assert desk.name_of("192.0.2.1") is None
    desk.dns.behave("*", "hold")
    assert desk.name_of("192.0.2.2", patience=QUICK) is None


def test_texts(desk):
    desk.dns.add(
        'listed.test TXT "one" " two"', 'listed.test TXT "\\000\\255"', 'empty.test TXT ""', "host.test A 192.0.2.1"
    )
    desk.dns.add("alias.test CNAME listed.test")
    assert sorted(desk.txt(b"Listed.test")) == [b"\0\xff", b"one two"]
    assert sorted(desk.txt(b"alias.test")) == [b"\0\xff", b"one two"]
    assert desk.txt(b"empty.test") == [b""]
    assert desk.txt(b"host.test") == []
    with pytest.raises(NoSuchHost):
        desk.txt(b"none.test")
    desk.dns.behave("dead.test", "servfail")
    with pytest.raises(UnresolvedError):
        desk.txt(b"dead.test")
