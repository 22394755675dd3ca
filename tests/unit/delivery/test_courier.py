"""A courier against scripted hosts on the loopback: which connection is used, what is tried next, what is kept."""

import asyncio
import errno
import socket

import pytest
import uvloop
from tests.remote.hostactions import CLOSE, HANG, and_close, late
from tests.remote.smtphost import Hosts, SmtpHost

from quail.control.reader import Control
from quail.delivery.remote import courier as courier_module
from quail.delivery.remote import report
from quail.delivery.remote.courier import KEPT_FOR, Courier
from quail.delivery.remote.exchangers import SMTP, Target
from quail.delivery.remote.message import Mail
from quail.delivery.remote.settings import Settings
from quail.net.resolver import Resolver
from quail.storage.tcpto import Tcpto

REFUSED = ("127.0.0.1", 1)


@pytest.fixture
def hosts():
    with Hosts() as hosts:
        yield hosts


class Found:
    """A search that is over already."""

    trouble = False

    def __init__(self, groups):
        self.left = [list(group) for group in groups]

    async def next_group(self):
        return self.left.pop(0) if self.left else None


class Road:
    """A courier whose searches find the given targets, in groups."""

    def __init__(self, folder, monkeypatch, groups):
        (folder / "me").write_text("mx.example.com\n")
        (folder / "timeoutconnect").write_text("5\n")
        self.settings = Settings(Control(str(folder)))
        self.groups = groups
        self.lines = []

        monkeypatch.setattr(courier_module, "Search", lambda *_: Found(self.groups))

    def run(self, *mails, between=None):
        """The results of mails one after the other; `between` is called with the courier and the number of the next."""

        async def deliver():
            loop = asyncio.get_running_loop()
            courier = Courier(loop, self.settings, Resolver(), Tcpto(-1), log=self.lines.append)
            results = []
            for number, mail in enumerate(mails):
                if between is not None and number:
                    await between(courier, number)
                results.append(await courier.deliver(mail))
            courier.close()
            while courier._open:  # noqa: ASYNC110  it has no event to wait for, and needs none
                await asyncio.sleep(0)
            return results

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(deliver())


@pytest.fixture
def road(tmp_path, monkeypatch):
    return lambda *groups: Road(tmp_path, monkeypatch, [[target(*each) for each in group] for group in groups])


def target(address, port, direct=False):
    return Target(address, port, SMTP, direct=direct)


def mail(*recipients, body=b"Subject: x\n\nhello\n"):
    return Mail(b"far.example", b"s@x.example", list(recipients or [b"r@far.example"]), body)


def letters(result, count=1):
    return b"".join(result.of(place)[0] for place in range(count))


def test_mails_for_one_host_share_a_connection(hosts, road):
    host = SmtpHost()
    results = road([("127.0.0.1", hosts.open(host))]).run(mail(), mail(), mail())
    assert [letters(result) for result in results] == [b"K"] * 3
    assert [len(connection.transactions) for connection in host.connections] == [3]
    assert host.connections[0].commands[-1] == b"QUIT"
    assert host.faults == []


def test_a_refused_connection_and_a_refusing_greeting_lead_to_the_next(hosts, road):
    busy, good = SmtpHost(greeting="421 busy"), SmtpHost()
    ports = [("127.0.0.1", hosts.open(host)) for host in (busy, good)]
    (result,) = road([REFUSED, ports[0]], [ports[1]]).run(mail())
    assert letters(result) == b"K"
    assert len(busy.connections) == len(good.messages) == 1


def test_a_kernel_without_ipv6_leads_to_the_next(hosts, road, monkeypatch):
    make = socket.socket

    def refuse(family=-1, *args, **kwargs):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return make(family, *args, **kwargs)

    good = SmtpHost()
    its_road = road([("::1", 1)], [("127.0.0.1", hosts.open(good))])
    monkeypatch.setattr(socket, "socket", refuse)
    (result,) = its_road.run(mail())
    assert letters(result) == b"K"
    assert its_road.lines == []


def test_when_all_fail_what_the_last_host_said_is_told_and_the_host_is_down(hosts, road):
    place = ("127.0.0.1", hosts.open(SmtpHost(greeting="554 go away")))
    (result,) = road([place, REFUSED]).run(mail())
    assert result.of(0) == (b"Z", b"Connected to 127.0.0.1 but greeting failed.\nRemote host said: 554 go away\n")
    assert result.host_down
    (result,) = road([REFUSED]).run(mail())
    assert result.of(0) == (b"Z", b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n")
    assert result.host_down


def test_slow_name_servers_take_no_time_from_the_connections(hosts, road, monkeypatch):
    """Else a host whose names are slow to find would be one that nobody ever tries to connect to."""
    host = SmtpHost()
    its_road = road([("127.0.0.1", hosts.open(host))])
    monkeypatch.setattr(courier_module, "_ROUNDS", 0.01)  # of five seconds
    found = Found.next_group

    async def slow(self):
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.06
        while loop.time() < end:  # noqa: ASYNC110  time itself is what it waits for
            await asyncio.sleep(0)
        return await found(self)

    monkeypatch.setattr(Found, "next_group", slow)
    (result,) = its_road.run(mail())
    assert letters(result) == b"K"


def test_a_host_that_closes_behind_its_extensions_leads_to_the_next(hosts, road):
    fickle, good = SmtpHost(ehlo=and_close("250 host.example")), SmtpHost()
    ports = [("127.0.0.1", hosts.open(host)) for host in (fickle, good)]
    (result,) = road(ports).run(mail())
    assert letters(result) in (b"K", b"Z")  # Z if MAIL went out before the end was seen: the host may have counted it
    assert len(good.messages) == (letters(result) == b"K")


@pytest.mark.parametrize("late_word", [None, "421 idle for too long"])
def test_a_kept_connection_that_has_been_closed_costs_nothing(hosts, road, late_word):
    """Closed while it was idle, or closed as we speak: the mail goes over a new one."""
    host = SmtpHost(mail=["250 ok", CLOSE if late_word is None else and_close(late_word), "250 ok"])
    results = road([("127.0.0.1", hosts.open(host))]).run(mail(), mail())
    assert [letters(result) for result in results] == [b"K", b"K"]
    assert len(host.connections) == 2
    assert len(host.messages) == 2


def test_a_connection_is_kept_for_a_while(hosts, road):
    host = SmtpHost()

    async def wait(courier, _number):
        loop = asyncio.get_running_loop()
        for connection in courier._open:
            connection.last = loop.time() - KEPT_FOR - 1
        courier.tick()

    road([("127.0.0.1", hosts.open(host))]).run(mail(), mail(), between=wait)
    assert len(host.connections) == 2
    assert host.faults == []


def test_a_host_that_takes_few_recipients_gets_the_others_at_once(hosts, road):
    host = SmtpHost(rcpt_limit=2, rcpt={"c": "550 nobody"})
    recipients = [b"%c@far.example" % char for char in b"abcdefg"]
    (result,) = road([("127.0.0.1", hosts.open(host))]).run(mail(*recipients))
    assert letters(result, 7) == b"KKZKKKK" or letters(result, 7) == b"KKDKKKK"
    assert sorted(address for message in host.messages for address in message.accepted) == sorted(
        set(recipients) - {b"c@far.example"}
    )
    assert len(host.connections) == 1


@pytest.mark.parametrize(
    ("final", "wanted"), [("250 ok", b"KKDKK"), (and_close("250 ok"), b"KKZZZ"), ("451 later", b"ZZZZZ")]
)
def test_552_behind_a_recipient_who_was_taken_may_mean_that_there_are_too_many(hosts, road, final, wanted):
    """As RFC 821 had it; RFC 5321 s4.5.3.1.10 says to take it for 452. To the first of a transaction it is a refusal."""
    host = SmtpHost(rcpt_limit=2, too_many="552 too many recipients", rcpt={"full": "552 mailbox full"}, final=final)
    recipients = [b"%b@far.example" % name for name in (b"a", b"b", b"full", b"d", b"e")]
    (result,) = road([("127.0.0.1", hosts.open(host))]).run(mail(*recipients))
    assert letters(result, 5) == wanted


def test_a_full_mailbox_is_full_for_good(hosts, road):
    host = SmtpHost(rcpt={"full": "552 mailbox full"})
    its_road = road([("127.0.0.1", hosts.open(host))])
    (result,) = its_road.run(mail(b"full@far.example"))
    assert letters(result) == b"D"
    (result,) = its_road.run(mail(b"a@far.example", b"full@far.example", b"b@far.example"))
    said = b"127.0.0.1 does not like recipient.\nRemote host said: 552 mailbox full\n"
    assert letters(result, 3) == b"KDK"
    assert result.of(1) == (b"D", said)


def test_a_silent_host_is_given_up(hosts, road):
    host = SmtpHost(mail=late("250 ok", 3600))
    its_road = road([("127.0.0.1", hosts.open(host))])

    async def run():
        loop = asyncio.get_running_loop()
        courier = Courier(loop, its_road.settings, Resolver(), Tcpto(-1), log=its_road.lines.append)
        task = loop.create_task(courier.deliver(mail()))
        while not host.transactions:  # noqa: ASYNC110  what another thread does
            await asyncio.sleep(0)
        for connection in courier._open:
            connection.patience = -1
        courier.tick()
        return await task

    result = asyncio.run(run())
    assert result.of(0) == (b"Z", b"Connected to 127.0.0.1 but connection died. (#4.4.2)\n")


def test_addresses_that_can_t_be_written_in_smtp_are_not_sent(hosts, road):
    host = SmtpHost()
    (result,) = road([("127.0.0.1", hosts.open(host))]).run(mail(b"a\r\nRCPT TO:<b@x>@far.example"))
    assert letters(result) == b"D"
    assert host.connections == []


def test_one_who_can_t_be_named_keeps_the_mail_from_nobody_else(hosts, road):
    host = SmtpHost()
    recipients = [b"a@far.example", b"b\nb@far.example", b"c@far.example"]
    (result,) = road([("127.0.0.1", hosts.open(host))]).run(mail(*recipients))
    assert letters(result, 3) == b"KDK"
    assert result.of(1) == (b"D", report.UNSENDABLE + b"\n")
    assert [message.accepted for message in host.messages] == [[recipients[0], recipients[2]]]


def test_who_needs_smtputf8_keeps_the_mail_from_nobody_else(hosts, road):
    plain, able = SmtpHost(keywords=("PIPELINING",)), SmtpHost()
    recipients = ["jürgen@far.example".encode(), b"bob@far.example"]
    (result,) = road([("127.0.0.1", hosts.open(plain))]).run(mail(*recipients))
    assert letters(result, 2) == b"DK"
    assert result.of(0) == (b"D", report.NEEDS_UTF8 % b"127.0.0.1" + b"\n")
    assert [message.accepted for message in plain.messages] == [[recipients[1]]]
    (result,) = road([("127.0.0.1", hosts.open(able))]).run(mail(*recipients))
    assert letters(result, 2) == b"KK"
    assert sorted(address for message in able.messages for address in message.accepted) == sorted(recipients)


def test_when_nobody_is_there_each_of_those_recipients_hears_it_once(road):
    (result,) = road([REFUSED]).run(mail("jürgen@far.example".encode(), b"bob@far.example", b"\n@far.example"))
    assert [result.of(place) for place in range(3)] == [
        (b"Z", report.NO_CONNECTION + b"\n"),
        (b"Z", report.NO_CONNECTION + b"\n"),
        (b"D", report.UNSENDABLE + b"\n"),
    ]
    assert result.host_down


ITSELF = (b"D", report.TALKS_TO_ITSELF % b"127.0.0.1" + b"\n")
DOWN = (b"Z", report.NO_CONNECTION + b"\n")
BUSY = (b"Z", b"Connected to 127.0.0.1 but greeting failed.\nRemote host said: 421 busy\n")


@pytest.mark.parametrize(
    ("groups", "says", "third"),
    [
        (["i", "t"], ITSELF, 0),
        (["ii"], ITSELF, 0),
        (["r", "i", "t"], DOWN, 0),
        (["ri"], DOWN, 0),
        (["ir"], DOWN, 0),
        (["b", "i", "t"], BUSY, 0),
        (["it"], None, 1),
    ],
)
def test_this_host_behind_another_name_is_no_reason_to_return_mail_for_others(hosts, road, groups, says, third):
    """i: greets with our name. r: nobody is there. b: busy. t: takes mail. A group that we are in is the last one."""
    other = SmtpHost()
    scripted = {"i": SmtpHost(ehlo="250-MX.example.com\n250 8BITMIME"), "b": SmtpHost(greeting="421 busy"), "t": other}
    places = {letter: ("127.0.0.1", hosts.open(host), True) for letter, host in scripted.items()} | {"r": REFUSED}
    (result,) = road(*([places[letter] for letter in group] for group in groups)).run(mail())
    assert len(other.messages) == third
    assert result.of(0)[0] == b"K" if says is None else result.of(0) == says


def test_this_host_is_no_reason_to_return_mail_for_a_better_one_that_can_t_be_looked_up(hosts, road, monkeypatch):
    monkeypatch.setattr(Found, "trouble", True)
    place = ("127.0.0.1", hosts.open(SmtpHost(ehlo="250-MX.example.com\n250 8BITMIME")), True)
    (result,) = road([place]).run(mail())
    assert result.of(0) == DOWN


def test_a_delivery_that_is_given_up_leaves_no_connection_behind(hosts, road):
    """The queue has died, and the host has not greeted yet: nobody would ever look at the connection again."""
    host = SmtpHost(greeting=HANG)
    its_road = road([("127.0.0.1", hosts.open(host))])

    async def run():
        loop = asyncio.get_running_loop()
        courier = Courier(loop, its_road.settings, Resolver(), Tcpto(-1), log=its_road.lines.append)
        task = loop.create_task(courier.deliver(mail()))
        while not courier._open:  # noqa: ASYNC110  it has no event to wait for, and needs none
            await asyncio.sleep(0)
        for _ in range(10):  # until it waits for the greeting
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(10):
            await asyncio.sleep(0)
        return len(courier._open)

    assert asyncio.run(run()) == 0
