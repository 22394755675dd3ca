"""Servers that fail, lie or say nothing; several of them; what is remembered; many questions at once."""

import asyncio
import time

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.remote.dnsserver import DnsServer
from tests.unit.net.resolving import QUICK

from quail.net.resolver import NoSuchHost, UnresolvedError
from quail.net.resolver_query import MX, ServerFailed, _parse, _Query, read

EXAMPLE = "example.test MX 10 mx.example.test"
ANSWER = [(10, b"mx.example.test")]


@pytest.fixture(autouse=True)
def zone(desk):
    desk.dns.add(EXAMPLE)


@pytest.mark.parametrize(
    "behaviour",
    [
        *("servfail", "refused", "formerr", "notimp", "silent", "garbage", "lame"),
        *("truncate-all", "tcp-close", "tcp-silent", "wrong-id-only"),
    ],
)
def test_what_may_go_away(desk, behaviour):
    desk.dns.behave("*", behaviour)
    desk.use(timeout=QUICK)
    with pytest.raises(UnresolvedError, match=r"example\.test MX: "):
        desk.mx(b"example.test")
    desk.dns.normal()
    with pytest.raises(UnresolvedError):  # remembered for a while
        desk.mx(b"example.test")
    desk.clock.now += 30
    assert desk.mx(b"example.test") == ANSWER


def test_nobody_is_there(desk):
    gone = DnsServer()
    desk.use(gone)
    gone.close()
    begin = time.monotonic()
    with pytest.raises(UnresolvedError):
        desk.mx(b"example.test")
    assert time.monotonic() - begin < 4  # refused, not waited for


def test_truncated_and_no_tcp(desk):
    cut = desk.server(EXAMPLE, tcp=False)
    cut.behave("*", "truncate")
    desk.use(cut)
    with pytest.raises(UnresolvedError):
        desk.mx(b"example.test")


def test_a_server_that_answers_late(desk):
    """What comes after its time is not heard; the next try is."""
    desk.dns.behave("*", f"late:{4 * QUICK}", times=1)
    desk.use(timeout=QUICK)
    assert desk.mx(b"example.test") == ANSWER
    assert desk.dns.count() == 2


@pytest.mark.parametrize("spoof", ["wrong-id", "wrong-question"])
def test_an_answer_to_another_question_is_not_heard(desk, spoof):
    desk.dns.add("host.test A 192.0.2.1")
    desk.dns.behave("*", spoof)
    assert desk.mx(b"example.test") == ANSWER
    assert desk.a(b"host.test") == ["192.0.2.1"]
    assert desk.dns.count() == 2


def test_ids_are_random(desk):
    name = dns.name.from_text("example.test.")
    assert len({_Query(name, MX, edns=True).wire[:2] for _ in range(100)}) > 90


@pytest.mark.parametrize("behaviour", ["servfail", "refused", "silent", "garbage", "lame", "truncate-all", "tcp-close"])
def test_the_next_server(desk, behaviour):
    second = desk.server(EXAMPLE)
    desk.dns.behave("*", behaviour)
    desk.use(desk.dns, second, timeout=QUICK * 4)
    assert desk.mx(b"example.test") == ANSWER
    assert second.count() == 1


def test_a_server_that_is_silent_is_asked_last_for_a_while(desk):
    second = desk.server(EXAMPLE, "other.test MX 1 a.test", "third.test MX 1 a.test")
    desk.dns.behave("*", "silent")
    desk.use(desk.dns, second, timeout=QUICK)
    desk.mx(b"example.test")
    asked = desk.dns.count()
    desk.mx(b"other.test")
    assert desk.dns.count() == asked
    desk.clock.now += 30
    desk.mx(b"third.test")
    assert desk.dns.count() == asked + 1


def test_each_server_has_its_share_of_the_patience(desk):
    """`options timeout:30` must not have the first one, which is dead, use up the time of the second, again and again."""
    second = desk.server(EXAMPLE)
    desk.dns.behave("*", "silent")
    desk.use(desk.dns, desk.dns, second, timeout=100 * QUICK, patience=12 * QUICK)
    assert desk.mx(b"example.test") == ANSWER
    assert desk.dns.count() == 2


def test_patience_has_an_end(desk):
    desk.dns.behave("*", "silent")
    desk.use(desk.dns, desk.dns, desk.dns, timeout=3 * QUICK, patience=4 * QUICK)
    begin = time.monotonic()
    with pytest.raises(UnresolvedError):
        desk.mx(b"example.test")
    assert time.monotonic() - begin >= 4 * QUICK
    assert 3 <= desk.dns.count() <= 6  # of nine; a timer may be a millisecond early, which is left then


@pytest.mark.parametrize("behaviour", ["no-edns", "edns-silent"])
def test_a_server_without_edns(desk, behaviour):
    desk.dns.behave("*", behaviour)
    desk.use(timeout=None if behaviour == "no-edns" else QUICK)
    assert desk.mx(b"example.test") == ANSWER
    assert [asked.edns for asked in desk.dns.questions] == [True, False]
    if behaviour == "edns-silent":  # which would cost every question a wait
        desk.dns.add("other.test MX 1 a.test")
        assert desk.mx(b"other.test") == [(1, b"a.test")]
        assert [asked.edns for asked in desk.dns.questions] == [True, False, False]


def test_ipv6(desk):
    try:
        six = desk.server(EXAMPLE, address="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    desk.use(six)
    assert desk.mx(b"example.test") == ANSWER


def test_an_interface_that_is_gone(desk):
    second = desk.server(EXAMPLE)
    desk.use(nameservers=[("fe80::1%none0", 53), second.place])
    assert desk.mx(b"example.test") == ANSWER


@pytest.fixture
def conf(desk, tmp_path, monkeypatch):
    """Writes resolv.conf, in a world where port 53 is the first server's; a second one has the address 127.0.0.2."""
    monkeypatch.setattr("quail.net.resolvconf.DNS_PORT", desk.dns.port)
    path = tmp_path / "resolv.conf"

    def write(text):
        path.write_text(text)
        desk.clock.now += 1

    desk.second = desk.server(EXAMPLE, address="127.0.0.2", port=desk.dns.port)
    for number in range(20):
        for server in (desk.dns, desk.second):
            server.add(f"n{number}.test A 192.0.2.{number}")
    desk.use(nameservers=None, resolv_conf=str(path))
    return write


def test_resolv_conf_is_followed(desk, conf):
    conf("nameserver 127.0.0.1\n")
    desk.a(b"n1.test")
    assert (desk.dns.count(), desk.second.count()) == (1, 0)
    conf("search test\nnameserver 127.0.0.2\n")
    desk.a(b"n2.test")
    assert (desk.dns.count(), desk.second.count()) == (1, 1)
    with pytest.raises(NoSuchHost):
        desk.a(b"n3")  # no search list
    conf("nameserver 127.0.0.2\noptions use-vc\n")
    desk.a(b"n4.test")
    assert (desk.second.count(tcp=True), desk.second.count("n4.test", tcp=False)) == (1, 0)
    conf("nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions rotate\n")
    before = desk.dns.count(), desk.second.count()
    for number in range(5, 15):
        desk.a(f"n{number}.test".encode())
    assert (desk.dns.count(), desk.second.count()) == (before[0] + 5, before[1] + 5)


# What is remembered.


def hold(desk, name, seconds, ask=None):
    """Whether the answer holds for so many seconds and no longer."""
    ask = ask or desk.a
    before = desk.dns.count(name.decode())
    for later in (0, seconds - 0.01):
        desk.clock.now += later
        expect(ask, name)
        assert desk.dns.count(name.decode()) == before + 1
    desk.clock.now += 0.01
    expect(ask, name)
    assert desk.dns.count(name.decode()) == before + 2


def expect(ask, name):
    try:
        return ask(name)
    except (NoSuchHost, UnresolvedError) as error:
        return error


@pytest.mark.parametrize(
    ("records", "seconds"),
    [
        ("x.test 100 A 192.0.2.1", 100),
        ("x.test 0 A 192.0.2.1", 1),
        ("x.test 100000 A 192.0.2.1", 86_400),
        ("x.test 100 CNAME y.test\ny.test 50 A 192.0.2.1", 50),
        ("x.test 50 CNAME y.test\ny.test 100 A 192.0.2.1", 50),
    ],
)
def test_answers_hold_as_long_as_they_say(desk, records, seconds):
    desk.dns.add(records)
    hold(desk, b"x.test", seconds)


def test_each_link_of_a_chain_counts(desk):
    desk.dns.add("x.test 20 CNAME y.test", "y.test 100 A 192.0.2.1")
    desk.dns.behave("x.test", "first-link")
    hold(desk, b"x.test", 20)


@pytest.mark.parametrize(("of_the_soa", "seconds"), [(100, 100), (0, 1), (3600, 300), (None, 60)])
@pytest.mark.parametrize("name", [b"none.test", b"example.test"])
def test_that_there_is_none_holds_as_the_zone_says(desk, of_the_soa, seconds, name):
    """RFC 2308, at most five minutes."""
    desk.dns.negative = of_the_soa
    hold(desk, name, seconds)


def test_failures_hold_for_half_a_minute(desk):
    desk.dns.behave("*", "servfail")
    hold(desk, b"x.test", 30)


def test_memory_is_bounded(desk):
    for number in range(30):
        desk.dns.add(f"n{number}.test A 192.0.2.1")
    desk.use(max_entries=10)
    for number in range(30):
        desk.a(f"n{number}.test".encode())
    assert desk.dns.count() == 30
    for number in range(29, 19, -1):
        desk.a(f"n{number}.test".encode())
    assert desk.dns.count() == 30
    desk.a(b"n0.test")
    assert desk.dns.count() == 31


# Many at once.


async def until_asked(desk, count):
    await asyncio.to_thread(desk.dns.until, lambda: desk.dns.count() >= count)


def test_equal_questions_in_flight_are_one(desk):
    desk.dns.behave("*", "hold")

    async def ask():
        waiting = [asyncio.ensure_future(desk.resolver.mx(host)) for host in (b"example.test", b"EXAMPLE.test.") * 50]
        await until_asked(desk, 1)
        desk.dns.release()
        return await asyncio.gather(*waiting)

    assert desk.one(ask()) == [ANSWER] * 100
    assert desk.dns.count() == 1


def test_one_who_goes_takes_nothing_from_others(desk):
    desk.dns.behave("*", "hold")

    async def ask():
        first, second, third = (asyncio.ensure_future(desk.resolver.mx(b"example.test")) for _ in range(3))
        await until_asked(desk, 1)
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        assert first.cancelled()
        assert third.cancelled()
        desk.dns.release()
        return await second

    assert desk.one(ask()) == ANSWER
    assert desk.dns.count() == 1


def test_an_answer_that_nobody_waits_for_any_more_is_kept(desk):
    desk.dns.behave("*", "hold")

    async def ask():
        only = asyncio.ensure_future(desk.resolver.mx(b"example.test"))
        await until_asked(desk, 1)
        only.cancel()
        await asyncio.wait([only])
        desk.dns.release()
        return await desk.resolver.mx(b"example.test")

    assert desk.one(ask()) == ANSWER
    assert desk.dns.count() == 1


def test_so_many_questions_at_once_and_no_more(desk):
    for number in range(20):
        desk.dns.add(f"n{number}.test A 192.0.2.1")
    desk.dns.behave("*", "hold")
    desk.use(max_queries=3)

    async def ask():
        waiting = [
            asyncio.ensure_future(desk.resolver.addresses(f"n{number}.test".encode(), want_ipv6=False))
            for number in range(20)
        ]
        await until_asked(desk, 3)
        await asyncio.wait(waiting, timeout=2 * QUICK)  # nothing more comes
        assert desk.dns.count() == 3
        desk.dns.release()
        return await asyncio.gather(*waiting)

    assert desk.one(ask()) == [["192.0.2.1"]] * 20


def test_not_all_may_wait(desk, monkeypatch):
    monkeypatch.setattr("quail.net.resolver._MOST_FLIGHTS", 3)
    desk.dns.add(*(f"n{number}.test A 192.0.2.1" for number in range(5)))
    desk.use(max_queries=1)
    hosts = [f"n{number}.test".encode() for number in range(5)]
    results = desk.run(*(desk.resolver.addresses(host, want_ipv6=False) for host in hosts))
    assert results[:3] == [["192.0.2.1"]] * 3
    assert [type(result) for result in results[3:]] == [UnresolvedError] * 2
    assert desk.a(b"n4.test") == ["192.0.2.1"]  # and it is not remembered


def test_a_thousand_names_at_once(desk):
    desk.dns.add("*.w.test MX 10 mx.{name}")
    results = desk.run(*(desk.resolver.mx(f"n{number}.w.test".encode()) for number in range(1000)))
    assert results == [[(10, f"mx.n{number}.w.test".encode())] for number in range(1000)]


def test_close_ends_all_waiting(desk):
    desk.dns.behave("*", "hold")

    async def ask():
        waiting = [asyncio.ensure_future(desk.resolver.mx(host)) for host in (b"a.test", b"a.test", b"b.test")]
        await until_asked(desk, 2)
        desk.resolver.close()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in desk.one(ask())] == [UnresolvedError] * 3


# Foreign bytes.

NAME = dns.name.from_text("example.test.")
QUERY = _Query(NAME, MX, edns=False)


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_no_answer_is_too_strange(tail, questions, answers, authorities):
    counts = b"".join(number.to_bytes(2, "big") for number in (questions, answers, authorities, 0))
    data = QUERY.wire[:2] + b"\x80\x80" + counts + QUERY.wire[12:] + tail
    QUERY.fits(data)
    QUERY.fits(tail)
    try:
        answer = read(_parse(data), NAME, MX)
    except ServerFailed:
        return
    assert 1 <= answer.ttl <= 86_400
