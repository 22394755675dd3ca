"""Who may send what to the running server, and how much: recipients, relaying, access rules, limits, line ends, silence."""

import contextlib
import re
import socket

import pytest


def refused(client, sender, recipient):
    """The reply to RCPT."""
    client.ok(f"MAIL FROM:<{sender}>")
    return client.say(f"RCPT TO:<{recipient}>")


def test_unknown_user_and_relaying(server):
    with server.smtp() as client:
        assert refused(client, "s@example.org", "none@localhost") == b"550 5.1.1 sorry, no mailbox here by that name"
        assert refused(client, "s@example.org", "joe-none@localhost").startswith(b"550 5.1.1 ")
        reply = refused(client, "s@example.org", "a@example.net")
        assert reply == b"553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts"
        assert client.say("DATA").startswith(b"503 5.5.1 ")
        client.ok("RCPT TO:<joe@localhost>")  # the sender still stands
        assert client.data(b"\r\n").startswith(b"250 ")
    server.line(r"smtpd: 127\.0\.0\.1 recipient <none@localhost> refused: 550_5\.1\.1_")


def test_no_recipient_check(make_server):
    server = make_server(rcptcheck="0").start()
    number = server.send("none@localhost", sender="joe@localhost")
    server.end(number)
    server.line(rf"^bounce msg {number} ")


def test_badmailfrom(make_server):
    server = make_server(badmailfrom="bad@example.org\n@spam.example").start()
    with server.smtp() as client:
        for sender in ("BAD@example.org", "anybody@SPAM.example"):
            reply = refused(client, sender, "joe@localhost")
            assert reply == b"553 5.7.1 sorry, your envelope sender is in my badmailfrom list"
        client.ok("MAIL FROM:<good@example.org>", "RCPT TO:<joe@localhost>")


def test_rules_of_access(make_server):
    """The compiled rules: who relays, who is denied, and what else a rule sets. A change holds for the next connection."""
    server = make_server().start()
    server.rules(b'127.0.0.1:allow,RELAYCLIENT="",DATABYTES="10",TCPREMOTEHOST="near.example"\n:allow\n')
    with server.smtp() as client:
        assert b"250-SIZE 10" in client.say("EHLO x")
        client.ok("MAIL FROM:<>", "RCPT TO:<a@example.net>")
        assert client.data(b"\r\n1234567890\r\n").startswith(b"552 5.3.4 ")
        client.ok("MAIL FROM:<>", "RCPT TO:<joe@localhost>")
        assert client.data(b"\r\n1\r\n").startswith(b"250 ")
    server.line(r"^end msg")
    assert b"Received: from near.example (HELO x) (127.0.0.1)\n" in server.mail()[0]
    server.rules(b'127.0.0.1:allow,RELAYCLIENT="-suffix@localhost"\n')
    server.dot_qmail("suffix", "./Maildir/\n")
    with server.smtp() as client:
        client.send("s@example.org", ["joe"], b"\r\n")
    server.line(r"to local joe-suffix@localhost$")
    server.rules(b"127.0.0.1:deny\n127.:allow\n")
    with server.smtp(greeting=b"") as client:
        assert client.hung_up()
    server.line(r"smtpd: 127\.0\.0\.1 denied by rule 127\.0\.0\.1:")
    with server.smtp(source=("127.0.0.2", 0)) as client:
        client.ok("NOOP")


def test_rules_that_cannot_be_read(server):
    path = server.path / "etc/tcprules.d/qmail-smtp.cdb"
    good = path.read_bytes()
    path.write_bytes(b"rubbish")
    with server.smtp(greeting=b"421 4.3.0 unable to read controls") as client:
        assert client.hung_up()
    path.write_bytes(good)
    server.end(server.send("joe@localhost"))


def test_databytes(make_server):
    """Counted as stored: a line end is one byte, and a limit is still inside."""
    server = make_server(databytes="20").start()
    with server.smtp() as client:
        assert client.say("MAIL FROM:<> SIZE=21").startswith(b"552 5.3.4 ")
        client.envelope("", "joe@localhost")
        assert client.data(b"\r\n" + b"x" * 18 + b"\r\n").startswith(b"250 ")
        client.envelope("", "joe@localhost")
        assert client.data(b"\r\n" + b"x" * 19 + b"\r\n").startswith(b"552 5.3.4 ")
        client.envelope("", "joe@localhost")  # and we are still in step
        assert client.data(b"\r\n").startswith(b"250 ")
    server.line(r"^end msg", count=2)
    assert len(server.mail()) == 2


def test_a_large_message_that_grows_too_large(make_server):
    """It has been streamed to the queue by then, which must not keep it."""
    server = make_server(databytes="1000000").start()
    with server.smtp() as client:
        client.envelope("", "joe@localhost")
        assert client.data(b"0123456789abcde\r\n" * 70_000).startswith(b"552 5.3.4 ")
        client.ok("NOOP")
    server.until(lambda: not list((server.path / "queue/mess").iterdir()), "queue/mess to be empty")
    assert server.ask({"do": "status"})["messages"] == 0
    server.end(server.send("joe@localhost"))


def test_maxrecipients(make_server):
    server = make_server(maxrecipients="100").start()
    server.dot_qmail("default", "./Maildir/\n")
    with server.smtp() as client:
        client.envelope("", *(f"joe-{n}@localhost" for n in range(100)))
        assert client.say("RCPT TO:<joe-100@localhost>").startswith(b"452 4.5.3 ")
        assert client.data(b"\r\n").startswith(b"250 ")
    server.line(r"^end msg")
    assert len(server.mail()) == 100


def test_maxconnectionsperip(make_server):
    server = make_server(maxconnectionsperip="3").start()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.smtp()) for _ in range(3)]
        fourth = stack.enter_context(server.smtp(greeting=b"421 4.7.0 too many connections"))
        assert fourth.hung_up()
        stack.enter_context(server.smtp(source=("127.0.0.2", 0))).ok("NOOP")
        assert clients[0].say("QUIT").startswith(b"221 ")
        assert clients[0].hung_up()
        # The slot is free once the server has seen our end too.
        clients[0].close()
        server.until(lambda: greets(server), "a fourth connection")
    server.line(r"smtpd: 127\.0\.0\.1 refused: too many connections")


def greets(server):
    with server.smtp(greeting=b"") as client:
        return client.reply().startswith(b"220 ")


def test_concurrencyincoming(make_server):
    """Over all workers and addresses."""
    server = make_server(concurrencyincoming="2").start()
    with (
        server.smtp(),
        server.smtp(source=("127.0.0.2", 0)),
        server.smtp(greeting=b"421 4.7.0 ", source=("127.0.0.3", 0)) as third,
    ):
        assert third.hung_up()
    server.until(lambda: greets(server), "a free connection")


def test_silence(make_server):
    """timeoutsmtpd, between commands and in the middle of a message; a client that says something lives on."""
    server = make_server(timeoutsmtpd="1").start()
    with server.smtp() as silent, server.smtp() as stuck:
        stuck.envelope("s@example.org", "joe@localhost")
        stuck.ok("DATA")
        stuck.write(b"Subject: never ends\r\n")
        for client in (silent, stuck):
            assert client.reply() == b"451 4.4.2 timeout"
            assert client.hung_up()
    server.line(r"smtpd: 127\.0\.0\.1 message from <s@example\.org> to 1 recipient given up: timeout")
    server.end(server.send("joe@localhost"))
    assert len(server.mail()) == 1


@pytest.mark.parametrize(("hops", "code"), [(97, b"250 "), (100, b"554 5.4.6 ")])
def test_hops(server, hops, code):
    with server.smtp() as client:
        client.envelope("s@example.org", "joe@localhost")
        assert client.data(b"Received: by a; date\r\n" * hops + b"\r\ntext\r\n").startswith(code)
        client.ok("NOOP")


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"])
def test_no_smuggling(server, end):
    """Only CR LF . CR LF ends a message. What looks like an end to others is refused, and what follows is no command."""
    with server.smtp() as client:
        client.envelope("s@example.org", "joe@localhost")
        client.ok("DATA")
        client.write(b"Subject: first\r\n\r\ntext" + end)
        client.write(b"MAIL FROM:<x@example.org>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\n\r\nsmuggled\r\n.\r\n")
        assert client.reply().startswith(b"554 5.6.0 bare ")
        client.ok("NOOP")
        client.envelope("s@example.org", "joe@localhost")
        assert client.data(b"Subject: second\r\n\r\n").startswith(b"250 ")
    server.line(r"^end msg")
    server.line(r"given up: bare (LF|CR)")
    (mail,) = server.mail()
    assert b"Subject: second\n" in mail


def test_smtputf8_and_eight_bits_pass(server):
    sender, text = "jürgen@bücher.example", "Subject: Grüße\r\n\r\nüber 8 bits: \x80\x00\r\n".encode()
    with server.smtp() as client:
        client.envelope(sender, "joe@localhost", options=" SMTPUTF8 BODY=8BITMIME")
        assert client.data(text).startswith(b"250 ")
    server.line(r"^end msg")
    (mail,) = server.mail()
    # Quoted as qmail quotes any byte above 127: the same address (RFC 6531 section 3.3).
    assert mail.startswith('Return-Path: <"jürgen"@bücher.example>\n'.encode())
    assert mail.endswith(text.replace(b"\r\n", b"\n"))
    info = server.line(r"^info msg \d+: bytes \d+ from <(.*)> qp")
    assert re.fullmatch(r"[\x21-\x7e]+", info[1])


def test_a_utf8_recipient(server):
    server.dot_qmail("grüße", "./Maildir/\n")
    with server.smtp() as client:
        client.envelope("", "joe-grüße@localhost", options=" SMTPUTF8")
        assert client.data(b"\r\n").startswith(b"250 ")
    server.line(r"^end msg")
    assert "Delivered-To: joe-grüße@localhost\n".encode() in server.mail()[0]


def test_a_client_that_goes_away_in_the_middle(server):
    """Nothing of its message is kept, small or large."""
    for size in (100, 300_000):
        client = server.smtp()
        client.envelope("s@example.org", "joe@localhost")
        client.ok("DATA")
        client.write(b"0123456789abcde\r\n" * (size // 17))
        client.close()
    server.line(r"given up: ", count=2)
    server.until(lambda: not list((server.path / "queue/mess").iterdir()), "queue/mess to be empty")
    assert server.ask({"do": "status"})["messages"] == 0


def test_a_client_that_shuts_its_side_still_gets_its_replies(server):
    with socket.create_connection(("127.0.0.1", server.port), 60) as sock:
        sock.sendall(b"MAIL FROM:<>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\n\r\ntext\r\n.\r\nQUIT\r\n")
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as replies:
            assert [line[:3] for line in replies] == [b"220", b"250", b"250", b"354", b"250", b"221"]
    server.line(r"^end msg")


def test_a_full_disk(make_server):
    """minfree above all that the disk has: mail is refused for now, what is in the queue goes on."""
    server = make_server().start()
    with server.closed_mailbox():
        number = server.send("joe@localhost")
        server.line(r"delivery 1: deferral")
    server.control("minfree", str(1 << 60))
    server.hup()
    server.line(r"^alert: \d+ bytes free for queue/: below minfree, mail is refused")
    with server.smtp() as client:
        client.envelope("s@example.org", "joe@localhost")
        assert client.data(b"\r\n") == b"452 4.3.1 queue disk is nearly full, try again later"
        client.envelope("s@example.org", "joe@localhost")
        assert client.data(b"0123456789abcde\r\n" * 30_000).startswith(b"452 4.3.1 ")
    server.alarm()
    server.end(number)
    server.control("minfree", "1")
    server.hup()
    with server.smtp() as client:

        def taken():
            client.envelope("s@example.org", "joe@localhost")
            return client.data(b"\r\n").startswith(b"250 ")

        server.until(taken, "mail to be taken again")
