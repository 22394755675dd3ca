"""Who takes mail for a host: MX groups, implicit MX, null MX, this host itself, literals, relays (RFC 5321 s5.1, facts 9.1)."""

import asyncio

import pytest

from quail.control.reader import Control
from quail.delivery.remote import report
from quail.delivery.remote.exchangers import NoTargetError, Search, literal
from quail.delivery.remote.settings import Settings
from quail.net.resolver import NoSuchHost, UnresolvedError


class Names:
    """A resolver that knows a dict: (kind, name) to answer, None for one that does not exist, an error to raise."""

    def __init__(self, known):
        self.known = known
        self.asked = []

    def _answer(self, kind, host):
        self.asked.append((kind, host))
        answer = self.known.get((kind, host), None if ("MX", host) not in self.known else [])
        if answer is None:
            raise NoSuchHost(host.decode())
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def mx(self, host):
        return self._answer("MX", host)

    async def addresses(self, host, *, want_ipv6):
        return [each for each in self._answer("A", host) if want_ipv6 or ":" not in each]


@pytest.fixture
def settings(tmp_path):
    def make(smtproutes="", *, ipv6=True):
        (tmp_path / "me").write_text("mx.example.com\n")
        (tmp_path / "smtproutes").write_text(smtproutes)
        settings = Settings(Control(str(tmp_path)))
        settings.own_addresses = frozenset({"192.0.2.1", "0.0.0.0"})
        settings.use_ipv6 = ipv6
        return settings

    return make


def search(known, host, settings):
    """All groups as lists of addresses, and the letter and text of the error that ended the search, if one did."""

    async def run():
        found = []
        look = Search(Names(known), host, settings)
        try:
            while (group := await look.next_group()) is not None:
                found.append(sorted(target.address for target in group))
        except NoTargetError as error:
            return found, (error.result.message.letter, error.result.message.text.strip(), error.result.host_down)
        return found, None

    return asyncio.run(run())


FAILED = UnresolvedError("no answer")
MX3 = {
    ("MX", b"far.example"): [(20, b"b.far.example"), (10, b"a1.far.example"), (10, b"a2.far.example")],
    ("A", b"a1.far.example"): ["10.0.0.1"],
    ("A", b"a2.far.example"): ["10.0.0.2", "10.0.0.3"],
    ("A", b"b.far.example"): ["10.0.0.9"],
}


def test_groups_of_equal_preference_best_first(settings):
    assert search(MX3, b"far.example", settings()) == ([["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["10.0.0.9"]], None)


def test_worse_exchangers_are_looked_up_only_when_better_ones_have_failed(settings):
    async def run():
        names = Names(MX3)
        await Search(names, b"far.example", settings()).next_group()
        return names.asked

    assert ("A", b"b.far.example") not in asyncio.run(run())


@pytest.mark.parametrize("step", [0, 1])
def test_an_endless_list_of_exchangers_is_not_looked_up_to_its_end(settings, step):
    """Each may take as long as the resolver has patience, and the delivery keeps its slot all the while."""
    names = [b"mx%d.far.example" % number for number in range(1000)]
    known = {("MX", b"far.example"): [(number * step, name) for number, name in enumerate(names)]}
    names = Names(known | dict.fromkeys([("A", name) for name in names], FAILED))

    async def run():
        with pytest.raises(NoTargetError) as told:
            await Search(names, b"far.example", settings()).next_group()
        return told.value.result.message.letter

    assert asyncio.run(run()) == b"Z"
    assert len(names.asked) <= 1 + 100
    assert step == 0 or names.asked[1] == ("A", b"mx0.far.example")


def test_no_more_addresses_are_kept_than_are_ever_tried(settings):
    """An answer has room for four thousand, and a hundred exchangers may have as many each."""
    names = [b"mx%d.far.example" % number for number in range(20)]
    known = {("MX", b"far.example"): [(0, name) for name in names]}
    for first, name in enumerate(names):
        known["A", name] = [f"10.{first}.{number >> 8}.{number & 255}" for number in range(4000)]
        known["A", name] += [f"2001:db8::{first:x}:{number:x}" for number in range(2000)]
    (group,), error = search(known, b"far.example", settings())
    assert error is None
    assert len(group) == 100
    assert any(":" in address for address in group)
    assert any("." in address for address in group)
    (group,), error = search(known, b"far.example", settings(":mx1.far.example"))
    assert len(group) == 100


def test_a_host_without_mx_is_its_own_exchanger(settings):
    known = {("MX", b"far.example"): [], ("A", b"far.example"): ["10.0.0.5"]}
    assert search(known, b"far.example", settings()) == ([["10.0.0.5"]], None)


@pytest.mark.parametrize(
    ("known", "letter", "text"),
    [
        ({}, b"D", report.NO_SUCH_HOST % b"far.example"),
        ({("MX", b"far.example"): FAILED}, b"Z", report.HOST_UNRESOLVED),
        ({("MX", b"far.example"): []}, b"D", report.NO_EXCHANGER),
        ({("MX", b"far.example"): [], ("A", b"far.example"): FAILED}, b"Z", report.HOST_UNRESOLVED),
        ({("MX", b"far.example"): [(0, b"")]}, b"D", report.NULL_MX % b"far.example"),
        ({("MX", b"far.example"): [(10, b"gone.example")]}, b"D", report.NO_EXCHANGER),
        ({("MX", b"far.example"): [(10, b"sick.example")], ("A", b"sick.example"): FAILED}, b"Z", report.HOST_UNRESOLVED),
    ],
)  # fmt: skip
def test_nobody_to_connect_to(settings, known, letter, text):
    groups, error = search(known, b"far.example", settings())
    assert groups == []
    assert error == (letter, text, letter == b"Z")


def with_own(preference, address="192.0.2.1", name=b"me.far.example"):
    known = {("MX", b"far.example"): [(10, b"a.far.example"), (20, b"b.far.example"), (preference, name)]}
    return known | {
        ("A", b"a.far.example"): ["10.0.0.1"],
        ("A", b"b.far.example"): ["10.0.0.2"],
        ("A", name): [address],
    }


@pytest.mark.parametrize(
    ("preference", "groups"),
    [(5, []), (10, []), (15, [["10.0.0.1"]]), (20, [["10.0.0.1"]]), (25, [["10.0.0.1"], ["10.0.0.2"]])],
)  # fmt: skip
@pytest.mark.parametrize(
    ("address", "name"),
    [("192.0.2.1", b"me.far.example"), ("127.0.0.5", b"me.far.example"), ("10.9.9.9", b"MX.example.com")],
)
def test_this_host_and_all_not_better_are_left_out(settings, preference, groups, address, name):
    found, error = search(with_own(preference, address, name), b"far.example", settings())
    assert found == groups
    assert error == (None if groups else (b"D", report.OWN_EXCHANGER % b"far.example", False))


def test_a_better_exchanger_that_can_t_be_told_makes_mail_wait_although_this_host_is_next(settings):
    known = with_own(15) | {("A", b"a.far.example"): FAILED}
    assert search(known, b"far.example", settings()) == ([], (b"Z", report.HOST_UNRESOLVED, True))


def test_ipv6_and_ipv4_by_turns_and_ipv6_not_at_all_without_an_address_of_it(settings):
    known = {("MX", b"far.example"): [], ("A", b"far.example"): ["2001:db8::1", "2001:db8::2", "10.0.0.1"]}

    async def first(settings):
        return [target.address for target in await Search(Names(known), b"far.example", settings).next_group()]

    assert asyncio.run(first(settings())) == ["2001:db8::1", "10.0.0.1", "2001:db8::2"]
    assert asyncio.run(first(settings(ipv6=False))) == ["10.0.0.1"]


def test_a_host_with_ipv6_only_is_one_that_can_t_be_reached_without_it(settings):
    """It exists, and this host may have IPv6 again in a moment: no reason to return mail."""
    known = {("MX", b"far.example"): [(10, b"six.example"), (20, b"four.example")]}
    known |= {("A", b"six.example"): ["2001:db8::1"], ("A", b"four.example"): ["10.0.0.1"]}
    assert search(known, b"far.example", settings(ipv6=False)) == ([["2001:db8::1"], ["10.0.0.1"]], None)


def test_relays_by_address_without_mx_and_this_host_is_as_good_as_any(settings):
    known = {("MX", b"relay.example"): [(1, b"other.example")], ("A", b"relay.example"): ["10.0.0.7"]}
    routes = "far.example:relay.example:26\n.far.example:[127.0.0.1]:2525\n"
    assert search(known, b"far.example", settings(routes)) == ([["10.0.0.7"]], None)
    assert search(known, b"x.far.example", settings(routes)) == ([["127.0.0.1"]], None)


@pytest.mark.parametrize(
    ("answer", "text"), [(None, report.NO_RELAY % b"relay.example"), (FAILED, report.HOST_UNRESOLVED)]
)
def test_a_relay_that_is_not_found_makes_mail_wait(settings, answer, text):
    known = {("A", b"relay.example"): answer}
    assert search(known, b"far.example", settings(":relay.example\n")) == ([], (b"Z", text, True))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"[192.0.2.7]", "192.0.2.7"),
        (b"192.0.2.7", "192.0.2.7"),
        (b"[IPv6:2001:DB8::1]", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[IPv6:fe80::1%eth0]", None),
        (b"[300.1.1.1]", None),
        (b"1.2.3", None),
        (b"a.b.c.d", None),
        (b"[]", None),
        (b"\xff[", None),
    ],
)
def test_literals(host, address):
    assert literal(host) == address


def test_a_literal_of_this_host_is_a_loop(settings):
    assert search({}, b"[192.0.2.1]", settings())[1][:2] == (b"D", report.OWN_EXCHANGER % b"[192.0.2.1]")
    assert search({}, b"[192.0.2.2]", settings()) == ([["192.0.2.2"]], None)
