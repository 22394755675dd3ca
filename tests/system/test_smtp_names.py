"""The name of an SMTP client, where control/remotelookup asks for it: in rules and in Received, and never in the way."""

import contextlib
import signal

import pytest
from tests.remote.dnsserver import DnsServer

POINTER = "1.0.0.127.in-addr.arpa"
ZONE = f"{POINTER} PTR Near.test\nnear.test A 127.0.0.1"


@pytest.fixture
def names():
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture
def named(make_server, names):
    """A server that looks its clients up."""
    return make_server(remotelookup="1", nameservers=f"127.0.0.1:{names.port}").start()


def received(server):
    """The Received field of the one mail that has come."""
    server.send("joe@localhost")
    server.line(r"^end msg")
    (mail,) = server.mail()
    return next(line for line in mail.splitlines() if line.startswith(b"Received: from "))


def test_a_name_that_leads_back(named, names):
    named.rules(b'=near.test:allow,RELAYCLIENT=""\n:allow\n')
    with named.smtp() as client:
        client.ok("MAIL FROM:<>", "RCPT TO:<a@example.net>")
    assert received(named).startswith(b"Received: from near.test ")
    assert names.count(POINTER, "PTR") >= 1


@pytest.mark.parametrize(
    ("records", "behaviour"),
    [
        (f"{POINTER} PTR near.test\nnear.test A 192.0.2.1", None),
        (f"{POINTER} PTR near.test", None),
        ("", None),
        (ZONE, "servfail"),
        (ZONE, "garbage"),
    ],
    ids=["leads elsewhere", "leads nowhere", "no name", "servfail", "garbage"],
)
def test_no_name_is_no_refusal(make_server, records, behaviour):
    with DnsServer(records) as names:
        if behaviour:
            names.behave("*", behaviour)
        server = make_server(remotelookup="1", nameservers=f"127.0.0.1:{names.port}").start()
        server.rules(b"=near.test:deny\n=:deny\n:allow\n")
        assert received(server).startswith(b"Received: from unknown ")
        assert names.count(POINTER, "PTR") >= 1


def test_a_denied_name(named):
    named.rules(b"=.test:deny\n")
    with named.smtp(greeting=b"") as client:
        assert client.hung_up()
    named.line(r"smtpd: 127\.0\.0\.1 denied by rule =\.test:")


def test_what_is_said_before_the_greeting_is_heard_after_it(named, names):
    names.behave(POINTER, "hold")
    with named.smtp(greeting=b"") as client:
        client.write(b"EHLO early\r\nNOOP\r\n")
        names.until(lambda: names.count(POINTER))
        names.release()
        assert client.reply().startswith(b"220 ")
        assert b"PIPELINING" in client.reply()
        assert client.reply().startswith(b"250 ")
        client.ok("MAIL FROM:<>")


def test_name_servers_that_say_nothing_cost_five_seconds(named, names):
    names.behave("*", "silent")
    assert received(named).startswith(b"Received: from unknown ")


def test_clients_that_go_and_a_server_that_stops_while_names_are_looked_up(named, names):
    names.behave(POINTER, "hold")
    named.smtp(greeting=b"").close()
    with named.smtp(greeting=b"") as client:
        names.until(lambda: names.count(POINTER))
        named.process.send_signal(signal.SIGTERM)
        assert client.reply().startswith(b"421 4.3.2 ")
        assert client.hung_up()
    assert named.ended() == 0


def test_nobody_is_looked_up_without_it_and_hup_turns_it_on(make_server, names):
    server = make_server(nameservers=f"127.0.0.1:{names.port}").start()
    assert received(server).startswith(b"Received: from unknown ")
    assert names.questions == []
    server.control("remotelookup", "1")
    server.hup()

    def looked_up():
        with server.smtp(), contextlib.suppress(AssertionError):
            return names.count(POINTER, "PTR")
        return 0

    server.until(looked_up, "a look-up")


def test_a_line_that_is_no_name_server(make_server, names):
    """The check at start finds it; afterwards smtpd goes on with the servers that it knows."""
    named = make_server(remotelookup="1", nameservers=f"127.0.0.1:{names.port}", smtpdworkers="1").start()
    with named.smtp() as client:  # it has read its files
        client.ok("NOOP")
    named.control("nameservers", "# ours\nns.example.org")
    named.hup()
    what = r"control/nameservers line 2: ns\.example\.org is not the address of a name server; write "
    named.line(f"smtpd: alert: unable to reread controls: {what}")
    assert received(named).startswith(b"Received: from near.test ")
    assert named.stop() == 0
    named.start(wait=False)
    named.line(r"^control/nameservers line 2: error: ns\.example\.org is not the address of a name server")
    assert named.ended() != 0
