"""Python's own SMTP client against a running Quail; mail read from the Maildir by Python's own mailbox module."""

import mailbox
import smtplib
from email import message_from_binary_file
from email.message import EmailMessage
from email.policy import SMTPUTF8
from functools import partial

import pytest

TO = "tester@localhost"
FROM = "sender@example.org"


def body_of(message):
    return message.partition(b"\n\n")[2]


@pytest.fixture
def client(quail_server):
    with smtplib.SMTP("127.0.0.1", quail_server.port, timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        b"one line\n",
        b"",
        b".\n..\n.dot\n. dot\n...\n",
        b"\xff\xfe 8 bits \x80\n",
        b"no line end at the end",
        b"x" * 990 + b"\n",
        b"\n\n\n",
        b"".join(b"line %d of a long one\n" % number for number in range(20_000)),
    ],
    ids=["plain", "empty", "dots", "8-bit", "no-newline", "long-line", "blank-lines", "440-kB"],
)
def test_a_body_arrives_as_it_was_sent(quail_server, client, body):
    client.sendmail(FROM, [TO], b"Subject: x\r\n\r\n" + body.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])
    (message,) = quail_server.delivered(1)
    assert body_of(message) == body + (b"" if body.endswith(b"\n") or not body else b"\n")


def test_what_is_put_before_a_message(quail_server, client):
    client.ehlo("client.example.org")
    client.sendmail(FROM, [TO], b"Subject: x\r\n\r\nhello\r\n")
    (message,) = quail_server.delivered(1)
    lines = message.split(b"\n")
    assert lines[0] == b"Return-Path: <sender@example.org>"
    assert lines[1] == b"Delivered-To: tester@localhost"
    assert message.count(b"\nReceived: ") == 2
    assert b"HELO client.example.org" in message
    assert b"(127.0.0.1)" in message
    assert message.endswith(b"\nSubject: x\n\nhello\n")


def test_send_message_with_unicode_all_through(quail_server, client):
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = "jürgen@müller.example"
    message["To"] = TO
    message["Subject"] = "Grüße"
    message.set_content("Schöne Grüße\n")
    client.send_message(message)
    quail_server.delivered(1)
    maildir = quail_server.home + "/mail/tester/Maildir"
    (kept,) = mailbox.Maildir(maildir, factory=partial(message_from_binary_file, policy=SMTPUTF8), create=False)
    assert kept["Return-Path"].replace('"', "") == "<jürgen@müller.example>"  # qmail quotes what is not ASCII
    assert kept["Subject"] == "Grüße"
    assert kept.get_content() == "Schöne Grüße\n"


def test_a_bounce_has_an_empty_return_path(quail_server, client):
    client.sendmail("", [TO], b"Subject: bounce\r\n\r\n")
    (message,) = quail_server.delivered(1)
    assert message.startswith(b"Return-Path: <>\n")


def test_only_the_unknown_recipient_is_refused(quail_server, client):
    refused = client.sendmail(FROM, [TO, "nobody-here@localhost", "postmaster@localhost"], b"Subject: x\r\n\r\n")
    assert {address: code for address, (code, _) in refused.items()} == {"nobody-here@localhost": 550}
    quail_server.await_line(
        r"delivery \d+: success", 3
    )  # of them one to the alias, which forwards a message of its own
    assert len(quail_server.messages()) == 2


@pytest.mark.parametrize(
    "address", ["someone@example.org", "tester%example.org@localhost", "tester@localhost.example.org"]
)
def test_nothing_is_relayed(client, address):
    client.ehlo()
    client.mail(FROM)
    assert client.rcpt(address)[0] in (550, 553)


def test_a_source_route_is_dropped_and_not_followed(quail_server, client):
    client.ehlo()
    client.mail(FROM)
    assert client.docmd("RCPT", "TO:<@example.org:tester@localhost>")[0] == 250  # smtplib's rcpt() would cut it
    client.data(b"Subject: x\r\n\r\n")
    (message,) = quail_server.delivered(1)
    assert b"\nDelivered-To: tester@localhost\n" in message


def test_one_connection_carries_many_messages(quail_server, client):
    for number in range(40):
        client.sendmail(FROM, [TO], b"Subject: number %d\r\n\r\n" % number)
    subjects = {message.split(b"Subject: ")[1] for message in quail_server.delivered(40)}
    assert subjects == {b"number %d\n\n" % number for number in range(40)}


def test_the_other_commands(client):
    assert client.noop()[0] == 250
    assert client.verify("tester")[0] == 252
    assert client.help()
    assert client.docmd("EXPN", "tester")[0] in (500, 502)
    assert client.docmd("DATA")[0] == 503
    client.ehlo()
    assert client.docmd("RCPT", "TO:<tester@localhost>")[0] == 503
    assert client.rset()[0] == 250


def test_databytes_is_announced_and_kept(quail_home):
    quail_home.quail("config", "set", "databytes", "2000")
    quail_home.start()
    with smtplib.SMTP("127.0.0.1", quail_home.port, timeout=60) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "2000"
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:  # by its SIZE parameter
            client.sendmail(FROM, [TO], b"Subject: x\r\n\r\n" + b"x\r\n" * 1000)
        assert refused.value.smtp_code == 552
        client.mail(FROM)  # and by what is really sent
        client.rcpt(TO)
        assert client.data(b"Subject: x\r\n\r\n" + b"x\r\n" * 1000)[0] == 552
        client.sendmail(FROM, [TO], b"Subject: fits\r\n\r\n")
    (message,) = quail_home.delivered(1)
    assert b"Subject: fits" in message


def test_what_was_accepted_is_delivered_after_a_restart(quail_home):
    quail_home.quail("config", "set", "concurrencylocal", "0")
    quail_home.start()
    with smtplib.SMTP("127.0.0.1", quail_home.port, timeout=60) as client:
        for number in range(5):
            client.sendmail(FROM, [TO], b"Subject: number %d\r\n\r\n" % number)
    assert len(quail_home.quail("queue", "list", "--json").splitlines()) == 5
    assert quail_home.stop() == 0
    quail_home.quail("config", "set", "concurrencylocal", "10")
    quail_home.start()
    subjects = {message.split(b"Subject: ")[1] for message in quail_home.delivered(5)}
    assert subjects == {b"number %d\n\n" % number for number in range(5)}
