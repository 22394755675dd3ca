"""Mail to the accounts of a machine: whose it becomes, and what is refused while the client waits."""

import os
import re
import stat

import pytest
from tests.system_root.harness_root import DOMAIN, QMAIL, SENDMAIL, uid


def only(home, user, folder="Maildir"):
    """The newest message of a mailbox, taken out of it, and the status of its file."""
    path = max(home.mail_paths(user, folder), key=lambda path: path.stat().st_mtime_ns)
    text, status = path.read_bytes(), path.stat()
    path.unlink()
    return text, status


def modes(path):
    return stat.filemode(path.stat().st_mode), path.stat().st_uid, path.stat().st_gid


class TestWhoseMailItIs:
    @pytest.mark.parametrize("way", ["smtp", "sendmail"])
    @pytest.mark.parametrize("user", ["alice", "carol"])
    def test_a_users_mail_is_the_users(self, home, way, user):
        number = submit(home, way, f"{user}@{DOMAIN}")
        home.end(number)
        text, status = only(home, user)
        assert text.startswith(b"Return-Path: <")
        assert b"\nDelivered-To: %b@example.test\n" % user.encode() in text
        assert (status.st_uid, status.st_gid, stat.filemode(status.st_mode)) == (uid(user), uid(user), "-rw-------")
        maildir = home.home_of(user) / "Maildir"
        for folder in (maildir, maildir / "tmp", maildir / "new", maildir / "cur"):
            assert modes(folder) == ("drwx------", uid(user), uid(user))
        assert not list((maildir / "tmp").iterdir())

    @pytest.mark.parametrize("way", ["smtp", "sendmail"])
    @pytest.mark.parametrize("name", ["root", "postmaster", "mailer-daemon"])
    def test_the_mail_of_those_who_have_no_mailbox_of_their_own(self, home, way, name):
        number = submit(home, way, f"{name}@{DOMAIN}")
        home.end(number)
        text, status = only(home, "alias")
        assert b"\nDelivered-To: %b@example.test\n" % name.encode() in text
        alias = home.home_of("alias").stat()
        assert (status.st_uid, stat.filemode(status.st_mode)) == (alias.st_uid, "-rw-------")
        assert alias.st_uid not in (0, uid("alice"))

    def test_capitals(self, home):
        home.deliver("ALICE@Example.TEST")
        text, _ = only(home, "alice")
        assert b"\nDelivered-To: ALICE@Example.TEST\n" in text

    @pytest.mark.parametrize(
        ("recipient", "folder", "default"),
        [("alice-Ext", "Ext", None), ("alice-other-thing", "Rest", b"other-thing"), ("alice-sub-x.y", "Sub", b"x.y")],
    )
    def test_extensions(self, home, recipient, folder, default):
        for name in ("Ext", "Rest", "Sub"):
            home.maildir("alice", f"in-{recipient}-{name}")
        home.dot_qmail("alice", "ext", f"./in-{recipient}-Ext/\n")
        home.dot_qmail("alice", "sub-default", f'|echo "$DEFAULT" > default\n./in-{recipient}-Sub/\n')
        home.dot_qmail("alice", "default", f'|echo "$DEFAULT" > default\n./in-{recipient}-Rest/\n')
        home.deliver(f"{recipient}@{DOMAIN}")
        text, status = only(home, "alice", f"in-{recipient}-{folder}")
        assert b"\nDelivered-To: %b@example.test\n" % recipient.encode() in text
        assert status.st_uid == uid("alice")
        if default is not None:
            assert (home.home_of("alice") / "default").read_bytes() == default + b"\n"
        home.dot_qmail("alice", "default", "#\n")

    def test_a_virtual_domain_of_a_user(self, home):
        home.control("virtualdomains", "virtual.test:bob-virtual")
        home.control("rcpthosts", f"{DOMAIN}\nvirtual.test")
        home.hup()
        home.maildir("bob", "Info")
        home.dot_qmail("bob", "virtual-info", "./Info/\n")
        # HUP is obeyed by each service in its time: until then the domain is a stranger's.
        comes_to(home, "info@virtual.test", b"250 ")
        home.deliver("info@virtual.test")
        text, status = only(home, "bob", "Info")
        assert b"\nDelivered-To: bob-virtual-info@virtual.test\n" in text
        assert status.st_uid == uid("bob")


def submit(home, way, recipient):
    """One message, over SMTP or by a user's sendmail; its number."""
    if way == "smtp":
        return home.send(recipient)
    seen = len(home.log.lines)
    home.run_as("dave", [SENDMAIL, recipient], "Subject: by hand\n\nhello\n")

    def look():
        told = "\n".join(home.log.lines[seen:])
        return re.search(rf"^info msg (\d+): .* uid {uid('dave')}$", told, re.MULTILINE)

    return int(home.until(look, "the message of dave")[1])


class TestTrace:
    def test_a_message_from_a_user_says_by_whom(self, home):
        home.end(submit(home, "sendmail", f"alice@{DOMAIN}"))
        text, _ = only(home, "alice")
        assert re.search(rb"^Received: \(qmail \d+ invoked by uid %d\); " % uid("dave"), text, re.MULTILINE)
        assert b"\nFrom: dave@example.test\n" in text
        assert b"\nReturn-Path: <dave@example.test>\n" in b"\n" + text

    def test_a_message_from_the_network_says_so(self, home):
        home.deliver(f"alice@{DOMAIN}")
        text, _ = only(home, "alice")
        assert re.search(rb"^Received: \(qmail \d+ invoked from network\); ", text, re.MULTILINE)
        assert re.search(rb"^Received: from \S+ \(HELO client\.example\) \(127\.0\.0\.1\)$", text, re.MULTILINE)

    def test_what_alias_forwards_says_so(self, home):
        home.dot_qmail("alias", "everyone", f"&alice@{DOMAIN}\n", mode=0o644)
        first = home.send(f"everyone@{DOMAIN}")
        story = home.end(first) and "\n".join(home.story(first))
        second = int(re.search(r"success: did_0\+1\+0/qp_(\d+)/", story)[1])
        home.end(second)
        text, _ = only(home, "alice")
        assert re.search(rb"^Received: \(qmail %d invoked by alias\); " % second, text, re.MULTILINE)
        assert re.search(rb"^Delivered-To: everyone@example\.test$", text, re.MULTILINE)

    def test_what_a_user_forwards_says_by_whom(self, home):
        home.dot_qmail("carol", "on", f"&alice@{DOMAIN}\n")
        first = home.send(f"carol-on@{DOMAIN}")
        home.end(first)
        second = int(re.search(r"qp_(\d+)/", "\n".join(home.story(first)))[1])
        home.end(second)
        text, _ = only(home, "alice")
        assert re.search(rb"^Received: \(qmail %d invoked by uid %d\); " % (second, uid("carol")), text, re.MULTILINE)

    def test_a_bounce_says_so(self, home):
        """To a user of ours who wrote to nobody, past the check at RCPT, as sendmail lets one."""
        home.run_as("bob", [SENDMAIL, f"nobody-here@{DOMAIN}"], "Subject: to nobody\n\n")
        home.until(lambda: home.mail("bob"), "the bounce")
        text, _ = only(home, "bob")
        assert text.startswith(b"Return-Path: <>\n")
        assert re.search(rb"^Received: \(qmail \d+ invoked for bounce\); ", text, re.MULTILINE)
        assert b"<nobody-here@example.test>:\nSorry, no mailbox here by that name. (#5.1.1)\n" in text


class TestRefusedAtTheDoor:
    @pytest.mark.parametrize(
        "address",
        ["someone@elsewhere.test", "someone@sub.example.test", "alice%elsewhere.test@example.org", "a@[192.0.2.1]"],
    )
    def test_nothing_is_relayed(self, home, address):
        with home.smtp() as client:
            client.ok("EHLO client.example", "MAIL FROM:<s@elsewhere.test>")
            assert client.say(f"RCPT TO:<{address}>").startswith(b"553 ")
            assert client.say("DATA").startswith(b"503 ")

    @pytest.mark.parametrize(
        "local", ["nobody-here", "alic", "alicee", "carol-ext", "nobody-", "qmail", "nologin", "daemon-x"]
    )
    def test_unknown_users(self, home, local):
        assert asked(home, f"{local}@{DOMAIN}").startswith(b"550 5.1.1 ")

    def test_accounts_that_own_no_home_of_theirs_have_no_mail(self, home):
        """qmail-getpw(8): an account counts only if its home exists and is its own; so no service gets any."""
        for name in ("daemon", "bin", "nobody", "qmailq", "qmaild", "qmails", "qmailr", "qmaill", "qmailp", "qmailpop"):
            assert asked(home, f"{name}@{DOMAIN}").startswith(b"550 "), name

    def test_known_ones(self, home):
        home.dot_qmail("bob", "list", "./Maildir/\n")
        for local in ("alice", "ALICE", "bob", "carol", "root", "postmaster", "mailer-daemon"):
            assert asked(home, f"{local}@{DOMAIN}").startswith(b"250 "), local

    def test_a_closed_home_counts_as_having_it(self, home):
        """users is qmailp and can't look into a home of mode 0700: the mail is taken, and the delivery decides."""
        reply = asked(home, f"bob-no-such-list@{DOMAIN}")
        assert reply.startswith(b"250 ")
        number = home.send(f"bob-no-such-list@{DOMAIN}", sender="")
        home.end(number)
        assert any("Sorry,_no_mailbox_here_by_that_name" in line for line in home.story(number))

    def test_an_open_home_is_looked_into(self, home):
        home.dot_qmail("carol", "list", "./Maildir/\n")
        home.dot_qmail("carol", "team-default", "./Maildir/\n")
        assert asked(home, f"carol-list@{DOMAIN}").startswith(b"250 ")
        assert asked(home, f"carol-team-x@{DOMAIN}").startswith(b"250 ")
        assert asked(home, f"carol-other@{DOMAIN}").startswith(b"550 5.1.1 ")

    def test_a_home_that_is_not_there_is_not_its_owners(self, home):
        """A home that vanishes: getpw no longer gives the account its mail, alias has nothing for it either."""
        hidden = home.homes / "dave.away"
        (home.homes / "dave").rename(hidden)
        try:
            comes_to(home, f"dave@{DOMAIN}", b"550 ")
        finally:
            hidden.rename(home.homes / "dave")
        comes_to(home, f"dave@{DOMAIN}", b"250 ")

    def test_trouble_with_the_assignments_is_no_refusal(self, home):
        cdb = home.path / "users/cdb"
        assert not cdb.exists()
        cdb.write_bytes(b"rubbish")
        try:
            comes_to(home, f"alice@{DOMAIN}", b"451 ")
            comes_to(home, f"nobody-here@{DOMAIN}", b"451 ")
        finally:
            cdb.unlink()
        comes_to(home, f"alice@{DOMAIN}", b"250 ")

    def test_trouble_of_the_name_service_is_no_refusal(self, home):
        """passwd can't be read by qmailp for a while."""
        home.box.run(["chmod", "600", "/etc/passwd"])
        try:
            comes_to(home, f"alice@{DOMAIN}", b"451 ")
        finally:
            home.box.run(["chmod", "644", "/etc/passwd"])
        comes_to(home, f"alice@{DOMAIN}", b"250 ")

    def test_assignments_come_first(self, home):
        (home.path / "users/assign").write_text(
            f"=hugo:bob:{uid('bob')}:{uid('bob')}:/home/bob:::\n"
            f"+carol-:bob:{uid('bob')}:{uid('bob')}:/home/bob:-:lists-:\n"
            ".\n"
        )
        home.box.run([f"{QMAIL}/bin/qmail-newu"])
        try:
            home.deliver(f"hugo@{DOMAIN}")
            text, status = only(home, "bob")
            assert b"\nDelivered-To: hugo@example.test\n" in text
            assert status.st_uid == uid("bob")
            home.maildir("bob", "Lists")
            home.dot_qmail("bob", "lists-x", "./Lists/\n")
            home.deliver(f"carol-x@{DOMAIN}")
            text, status = only(home, "bob", "Lists")
            assert b"\nDelivered-To: carol-x@example.test\n" in text
        finally:
            os.unlink(home.path / "users/assign")
            os.unlink(home.path / "users/cdb")


def asked(home, address):
    """The reply to RCPT."""
    with home.smtp() as client:
        client.ok("EHLO client.example", "MAIL FROM:<s@elsewhere.test>")
        return client.say(f"RCPT TO:<{address}>")


def comes_to(home, address, reply):
    """The reply to RCPT is this one, once what users has been asked a moment ago is looked up again."""
    home.until(lambda: asked(home, address).startswith(reply), f"{reply} for {address}")
