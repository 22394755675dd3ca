"""Mail through the whole server: from an SMTP client, or a local injector, to files in a Maildir; and what the log tells."""

import os
import re

DATE = rb"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000"


def test_one_message_byte_for_byte(server):
    with server.smtp() as client:
        text = b"Subject: hello\r\n\r\n..a dot\r\nlast\r\n"
        number = client.send("s@example.org", ["joe@localhost"], text)
        assert client.say("QUIT") == b"221 2.0.0 localhost"
        assert client.hung_up()
    server.end(number)
    (mail,) = server.mail()
    received = (
        rb"Return-Path: <s@example\.org>\n"
        rb"Delivered-To: joe@localhost\n"
        rb"Received: \(qmail %d invoked by uid %d\); %b\n"
        rb"Received: from unknown \(HELO client\.example\) \(127\.0\.0\.1\)\n"
        rb"  by localhost with SMTP; %b\n" % (number, os.getuid(), DATE, DATE)
    )
    match = re.match(received, mail)
    assert match, mail
    assert mail[match.end() :] == b"Subject: hello\n\n.a dot\nlast\n"


def test_the_log_of_one_message(server):
    number = server.send("joe@localhost")
    server.end(number)
    (path,) = (server.path / "mail/joe/Maildir/new").iterdir()
    head = b"Return-Path: <s@example.org>\nDelivered-To: joe@localhost\n"
    size = path.stat().st_size - len(head)
    start = server.queue_lines().index(f"new msg {number}")
    assert server.queue_lines()[start:] == [
        f"new msg {number}",
        f"info msg {number}: bytes {size} from <s@example.org> qp {number} uid {os.getuid()}",
        f"starting delivery 1: msg {number} to local joe@localhost",
        "status: local 1/100 remote 0/0",
        "delivery 1: success: did_1+0+0/",
        "status: local 0/100 remote 0/0",
        f"end msg {number}",
    ]
    assert f"smtpd: 127.0.0.1 message from <s@example.org> to 1 recipient: msg {number}" in server.log.lines


def test_several_recipients_and_messages_on_one_connection(server):
    assert server.quail("user", "add", "jane").returncode == 0
    with server.smtp() as client:
        first = client.send("a@example.org", ["joe@localhost", "JANE@LOCALHOST"], b"Subject: one\r\n\r\n")
        second = client.send("b@example.org", ["jane@localhost"], b"Subject: two\r\n\r\n")
    for number in (first, second):
        server.end(number)
    jane = [path.read_bytes() for path in (server.path / "mail/jane/Maildir/new").iterdir()]
    assert sorted(re.search(rb"Subject: (.*)", mail)[1] for mail in jane) == [b"one", b"two"]
    assert [re.search(rb"Subject: (.*)", mail)[1] for mail in server.mail()] == [b"one"]
    lines = "\n".join(server.story(first))
    assert "to local joe@localhost" in lines
    assert "to local JANE@LOCALHOST" in lines


def test_pipelined_in_one_write(server):
    with server.smtp() as client:
        message = b"MAIL FROM:<s@example.org>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\n"
        client.write(b"EHLO x\r\n" + message)
        assert [client.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        client.write(b"Subject: 1\r\n\r\n.\r\n" + message)
        assert [client.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        client.write(b"Subject: 2\r\n\r\n.\r\nQUIT\r\n")
        assert [client.reply()[:3] for _ in range(2)] == [b"250", b"221"]
    server.line(r"^end msg", count=2)
    assert sorted(re.search(rb"Subject: (.)", mail)[1] for mail in server.mail()) == [b"1", b"2"]


def test_a_large_message(server):
    """More than fits a record of the journal: a file of its own in queue/mess/, which goes with the message."""
    body = b"".join(b"%07d %b\r\n" % (line, b"x" * 60) for line in range(20_000))
    number = server.send("joe@localhost", b"Subject: large\r\n\r\n" + body)
    server.end(number)
    (mail,) = server.mail()
    assert mail.endswith(b"Subject: large\n\n" + body.replace(b"\r\n", b"\n"))
    server.until(lambda: not os.listdir(server.path / "queue/mess"), "queue/mess to be empty")


def test_aliases(server):
    for address in ("postmaster@localhost", "MAILER-DAEMON@localhost"):
        number = server.send(address)
        server.line(rf"msg {number} to local {address}")
        server.end(number)
    server.line(r"to local joe@localhost", count=2)
    server.line(r"^end msg", count=4)
    mails = server.mail()
    assert len(mails) == 2
    assert all(b"Delivered-To: joe@localhost\n" in mail for mail in mails)
    assert any(b"Delivered-To: postmaster@localhost\n" in mail for mail in mails)


def test_dot_qmail_extensions(server):
    server.dot_qmail("list", "./Lists/\n&joe-copy\n")
    server.dot_qmail("default", "./Rest/\n")
    for folder in ("Lists", "Rest"):
        for part in ("", "cur", "new", "tmp"):
            (server.path / "mail/joe" / folder / part).mkdir(mode=0o700)
    number = server.send("joe-list@localhost")
    server.end(number)
    server.line(r"delivery 1: success: did_1\+1\+0/qp_\d+/")
    server.line(r"^end msg", count=2)
    assert len(server.mail("Lists")) == len(server.mail("Rest")) == 1
    assert b"Delivered-To: joe-copy@localhost\n" in server.mail("Rest")[0]


def test_a_loop_ends_in_a_bounce(server):
    server.dot_qmail("a", "&joe-b\n")
    server.dot_qmail("b", "&joe-a\n")
    server.send("joe-a@localhost", sender="joe@localhost")
    server.line(r"failure: This_message_is_looping:_it_already_has_my_Delivered-To_line")
    server.line(r"success: did_1\+0\+0/")
    (bounce,) = server.mail()
    assert b"<joe-a@localhost>:\nThis message is looping" in bounce


def test_virtual_domains(make_server):
    server = make_server(
        virtualdomains="virtual.example:joe\nboss@person.example:joe-boss", rcpthosts="localhost\nvirtual.example"
    )
    server.dot_qmail("sales", "./Maildir/\n")
    server.start()
    with server.smtp() as client:
        client.ok("MAIL FROM:<>", "RCPT TO:<Sales@Virtual.Example>")
        assert client.say("RCPT TO:<none@virtual.example>").startswith(b"550 5.1.1 ")
        assert client.say("RCPT TO:<boss@person.example>").startswith(b"553 5.7.1 ")
        client.data(b"\r\n")
    server.line(r"to local joe-Sales@Virtual\.Example$")
    server.line(r"^end msg")
    assert b"Delivered-To: joe-Sales@Virtual.Example\n" in server.mail()[0]
    # In a bounce the address is as its sender knows it.
    server.queue(b"joe@localhost", b"none@virtual.example", b"boss@person.example")
    server.line(r"^end msg", count=3)
    (bounce,) = [mail for mail in server.mail() if b"failure notice" in mail]
    assert b"\n<none@virtual.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n" in bounce
    assert b"\n<joe-boss-boss@person.example>:\n" in bounce


def test_bounce(server):
    number = server.queue(b"joe@localhost", b"none@localhost", b"joe-none@localhost", text=b"Subject: lost\n\ntext\n")
    server.end(number)
    bounce = int(server.line(rf"^bounce msg {number} qp (\d+)$")[1])
    server.end(bounce)
    assert server.story(number) == [
        f"new msg {number}",
        server.line(rf"^info msg {number}: .*")[0],
        f"starting delivery 1: msg {number} to local none@localhost",
        f"starting delivery 2: msg {number} to local joe-none@localhost",
        *sorted(f"delivery {n}: failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/" for n in (1, 2)),
        f"bounce msg {number} qp {bounce}",
        f"end msg {number}",
    ]
    assert re.search(rf"bytes \d+ from <> qp {bounce} uid {os.getuid()}$", server.story(bounce)[1])
    (mail,) = server.mail()
    expected = (
        rb"Return-Path: <>\nDelivered-To: joe@localhost\n"
        rb"Received: \(qmail %d invoked for bounce\); %b\n"
        rb"Date: %b\nFrom: MAILER-DAEMON@localhost\nTo: joe@localhost\nSubject: failure notice\n\n"
        rb"Hi\. This is the qmail-send program at localhost\.\n.*\n\n"
        rb"(<none@localhost>|<joe-none@localhost>):\nSorry, no mailbox here by that name\. \(#5\.1\.1\)\n\n"
        rb"(<joe-none@localhost>|<none@localhost>):\nSorry, no mailbox here by that name\. \(#5\.1\.1\)\n\n"
        rb"--- Below this line is a copy of the message\.\n\nReturn-Path: <joe@localhost>\n"
        rb"Received: \(qmail %d invoked by uid %d\); %b\nSubject: lost\n\ntext\n"
    ) % (bounce, DATE, DATE, number, os.getuid(), DATE)
    assert re.fullmatch(expected, mail, re.DOTALL), mail
    assert {match[1] for match in re.finditer(rb"\n<(.*)>:\n", mail)} == {b"none@localhost", b"joe-none@localhost"}


def test_double_bounce(server):
    number = server.queue(b"ghost@localhost", b"none@localhost")
    bounce = int(server.line(rf"^bounce msg {number} qp (\d+)$")[1])
    double = int(server.line(rf"^bounce msg {bounce} qp (\d+)$")[1])
    server.end(double)
    server.line(r"^end msg", count=4)  # the alias forwards it
    assert f"starting delivery 3: msg {double} to local postmaster@localhost" in server.log.lines
    assert re.search(r"from <#@\[\]> ", server.story(double)[1])
    (mail,) = server.mail()
    assert mail.startswith(b"Return-Path: <#@[]>\nDelivered-To: joe@localhost\n")
    assert b"--- Below this line is the original bounce.\n\nReturn-Path: <>\n" in mail
    assert b"<ghost@localhost>:\n" in mail
    assert b"<none@localhost>:\n" in mail


def test_triple_bounce(make_server):
    server = make_server(doublebounceto="nobody").start()
    number = server.queue(b"", b"none@localhost")
    double = int(server.line(rf"^bounce msg {number} qp (\d+)$")[1])
    server.end(double)
    assert server.story(double)[2:] == [
        f"starting delivery 2: msg {double} to local nobody@localhost",
        "delivery 2: failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/",
        f"triple bounce: discarding bounce/{double}",
        f"end msg {double}",
    ]
    assert server.mail() == []
    assert server.ask({"do": "status"})["messages"] == 0


def test_verp(server):
    """One sender, another one for each recipient; one bounce, to the sender without the mark."""
    server.dot_qmail("list-default", "./Maildir/\n")
    server.dot_qmail("copy", "./Maildir/\n")
    number = server.queue(b"joe-list-@localhost-@[]", b"joe-copy@localhost", b"none@localhost")
    server.end(number)
    server.line(r"^end msg", count=2)
    copy, bounce = sorted(server.mail(), key=lambda mail: b"failure notice" in mail)
    assert copy.startswith(b"Return-Path: <joe-list-joe-copy=localhost@localhost>\n")
    assert bounce.startswith(b"Return-Path: <>\nDelivered-To: joe-list-@localhost\n")
    assert b"Return-Path: <joe-list-@localhost>\n" in bounce


def test_a_large_original_is_cut_in_its_bounce(server):
    text = b"Subject: large\n\n" + b"0123456789abcde\n" * 20_000
    server.queue(b"joe@localhost", b"none@localhost", text=text)
    server.line(r"^end msg", count=2)
    (bounce,) = server.mail()
    assert 102_400 < len(bounce) < 104_000
    assert re.search(
        rb"\n--- The rest of the message is left out here: it has %d\d\d bytes in all\.\n$" % (len(text) // 100), bounce
    )


def test_too_long_in_the_queue(make_server):
    """With a queuelifetime of nothing the first try is the last one."""
    server = make_server(queuelifetime="0").start()
    with server.closed_mailbox():
        number = server.queue(b"", b"joe@localhost")
        server.line(r"^end msg", count=1)
    assert server.story(number)[3] == (
        "delivery 1: failure: Home_directory_is_sticky:_user_is_editing_his_.qmail_file._(#4.2.1)/"
        "I'm_not_going_to_try_again;_this_message_has_been_in_the_queue_too_long./"
    )


def test_a_mailbox_that_comes_and_goes(server):
    assert server.quail("user", "add", "jane").returncode == 0
    server.end(server.send("jane@localhost"))
    assert server.quail("user", "remove", "jane").returncode == 0
    with server.smtp() as client:
        client.ok("MAIL FROM:<>")
        server.until(lambda: client.say("RCPT TO:<jane@localhost>").startswith(b"550 5.1.1 "), "jane to be unknown")


def test_a_home_with_a_long_path(make_server):
    """Socket paths have at most 107 bytes, paths of homes more."""
    server = make_server("/".join(["a" * 60] * 3)).start()
    server.end(server.send("joe@localhost"))
    listed = server.quail("queue", "list")
    assert (listed.returncode, listed.stdout) == (0, "0 messages in the queue\n")
