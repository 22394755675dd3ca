"""/etc/aliases and .forward files on a machine: names, lists and their owners, programs, loops; who is refused at RCPT."""

import re

import pytest
from tests.system_root.harness_root import DOMAIN, QMAIL, uid

CONTROL = {"defaultdelivery": "|dot-forward .forward\n./Maildir/"}
ALIASES = f"""\
# of this machine
info: bob
Sales: bob, "carol"@{DOMAIN} (both), bob, more@{DOMAIN}
more@{DOMAIN}: Bob <bob@{DOMAIN}>, carol
staff: :include:/etc/mail/staff, alice
owner-staff: dave
weather: "|cat > /srv/shared/weather; id -un > /srv/shared/who"
ring@{DOMAIN}: gnir@{DOMAIN}
gnir@{DOMAIN}: ring@{DOMAIN}, bob
round: dnuor
dnuor: round, bob
both@other.test: alice
@catch.test: bob
"""
PATH = {"PATH": f"{QMAIL}/bin:/usr/bin:/bin"}


@pytest.fixture(scope="module", autouse=True)
def aliases(home):
    """As the manual says: the file, newaliases, newinclude, and one line."""
    files = {"/etc/aliases": ALIASES, "/etc/mail/staff": f"bob, Carol <carol@{DOMAIN}>\nnobody-at-all\n"}
    for path, text in files.items():
        home.box.run(["sh", "-c", f'mkdir -p /etc/mail; cat > "{path}"'], data=text)
    home.box.run(["sh", "-c", "newaliases && newinclude /etc/mail/staff"], env=PATH)
    home.box.run(["sh", "-c", f"echo '| fastforward -d /etc/aliases.cdb' > {QMAIL}/alias/.qmail-default"])
    home.control("virtualdomains", "other.test:alias\ncatch.test:alias")
    home.control("rcpthosts", f"{DOMAIN}\nother.test\ncatch.test")
    home.hup()


class Mailboxes:
    """What comes into the users' Maildirs from now on."""

    def __init__(self, home):
        self.home = home
        self.before = self.sizes()

    def sizes(self):
        return {user: len(self.home.mail(user)) for user in ("alice", "bob", "carol", "dave")}

    def expect(self, **counts):
        """Wait until that many have come, and the queue is empty; the last of each."""

        def arrived():
            now = self.sizes()
            return {user: now[user] - self.before[user] for user in now if now[user] != self.before[user]}

        self.home.until(
            lambda: arrived() == counts and not self.home.ask({"do": "list"})["messages"], f"mail: {counts}"
        )
        return {user: self.home.mail(user)[-1] for user in counts}


@pytest.fixture
def boxes(home):
    return Mailboxes(home)


def test_init_tells_what_to_type(home):
    """The box has a /etc/aliases of another mail system's."""
    assert "The aliases in /etc/aliases do not count yet" in home.initialised.stdout
    assert f"echo '| fastforward -d /etc/aliases.cdb' > {QMAIL}/alias/.qmail-default" in home.initialised.stdout
    again = home.quail("init", "--system", DOMAIN, "--home", QMAIL, home=False)
    assert "/etc/aliases" not in again.stdout


def test_an_alias(home, boxes):
    home.deliver(f"INFO@{DOMAIN}")
    mail = boxes.expect(bob=1)["bob"]
    assert f"Delivered-To: INFO@{DOMAIN}\n".encode() in mail
    assert mail.startswith(b"Return-Path: <s@example.org>\n")


def test_an_alias_of_several_gives_each_one_copy(home, boxes):
    home.deliver(f"sales@{DOMAIN}")
    boxes.expect(bob=1, carol=1)


def test_a_list_and_its_owner(home, boxes):
    """Who is not there is told to the owner, by a bounce."""
    home.deliver(f"staff@{DOMAIN}")
    mail = boxes.expect(alice=1, bob=1, carol=1, dave=1)
    for user in ("alice", "bob", "carol"):
        assert mail[user].startswith(f"Return-Path: <owner-staff@{DOMAIN}>\n".encode())
    assert mail["dave"].startswith(b"Return-Path: <>\n")
    assert f"<nobody-at-all@{DOMAIN}>:\n".encode() in mail["dave"]
    assert b"Sorry, no mailbox here by that name. (#5.1.1)" in mail["dave"]


def test_a_bounce_to_a_list_has_no_owner(home, boxes):
    home.deliver(f"staff@{DOMAIN}", sender="")
    mail = boxes.expect(alice=1, bob=1, carol=1)
    assert mail["alice"].startswith(b"Return-Path: <>\n")


def test_a_program_runs_as_alias(home):
    home.deliver(f"weather@{DOMAIN}")
    assert (home.shared / "who").read_text() == "alias\n"
    text = (home.shared / "weather").read_text()
    assert re.match(
        rf"From s@example.org .*\nReturn-Path: <s@example.org>\nDelivered-To: weather@{DOMAIN}\nReceived: ", text
    )


def test_a_loop_within_the_database_ends(home, boxes):
    home.deliver(f"ring@{DOMAIN}")
    boxes.expect(bob=1)


def test_a_loop_by_way_of_the_queue_bounces(home, boxes):
    """Names without a host are looked up for mail that comes in, and only then."""
    home.deliver(f"round@{DOMAIN}", sender=f"dave@{DOMAIN}")
    mail = boxes.expect(bob=1, dave=1)
    assert b"This message is looping: it already has my Delivered-To line. (#5.4.6)" in mail["dave"]


def test_virtual_domains(home, boxes):
    home.deliver("both@other.test")
    home.deliver("whoever@catch.test")
    boxes.expect(alice=1, bob=1)


def test_accounts_and_files_of_alias_go_before(home, boxes):
    home.box.run(["sh", "-c", "printf 'alice: bob\\nmine: bob\\n' >> /etc/aliases; newaliases"], env=PATH)
    home.dot_qmail("alias", "mine", f"&carol@{DOMAIN}\n", mode=0o644)
    home.deliver(f"alice@{DOMAIN}")
    home.deliver(f"mine@{DOMAIN}")
    boxes.expect(alice=1, carol=1)


@pytest.mark.parametrize(
    "recipient", [f"nobody-at-all@{DOMAIN}", "nobody@other.test", f"nobody@{DOMAIN}", f"both@{DOMAIN}"]
)
def test_who_is_in_no_alias_is_refused(home, recipient):
    with home.smtp() as client:
        client.ok("HELO x", "MAIL FROM:<s@example.org>")
        assert client.say(f"RCPT TO:<{recipient}>").startswith(b"550 ")
        client.ok(
            f"RCPT TO:<info@{DOMAIN}>",
            "RCPT TO:<any@catch.test>",
            f"RCPT TO:<alice-x@{DOMAIN}>".replace("alice-x", "alice"),
        )


def test_a_new_alias_counts_at_once(home):
    with home.smtp() as client:
        client.ok("HELO x", "MAIL FROM:<s@example.org>")
        assert client.say(f"RCPT TO:<fresh@{DOMAIN}>").startswith(b"550 ")
        home.box.run(["sh", "-c", "echo 'fresh: bob' >> /etc/aliases; newaliases"], env=PATH)
        home.until(lambda: client.say(f"RCPT TO:<fresh@{DOMAIN}>").startswith(b"250 "), "the alias")


# .forward


@pytest.fixture
def dot_forward(home):
    written = []

    def write(user, text):
        written.append(home.write(user, ".forward", text))

    yield write
    for path in written:
        path.unlink()


def test_without_a_file_the_mailbox(home, boxes):
    home.deliver(f"alice@{DOMAIN}")
    boxes.expect(alice=1)


def test_forward_by_defaultdelivery(home, boxes, dot_forward):
    dot_forward("alice", "# away\nbob, Carol <carol>\n")
    home.deliver(f"alice@{DOMAIN}")
    mail = boxes.expect(bob=1, carol=1)
    assert f"Delivered-To: alice@{DOMAIN}\n".encode() in mail["bob"]


def test_forward_and_keep(home, boxes, dot_forward):
    dot_forward("alice", "\\alice, bob\n")
    home.deliver(f"alice@{DOMAIN}")
    boxes.expect(alice=1, bob=1)


def test_forward_in_a_dot_qmail_file(home, boxes, dot_forward):
    path = home.dot_qmail("alice", "", "|dot-forward .forward\n./Elsewhere/\n")
    home.maildir("alice", "Elsewhere")
    dot_forward("alice", f'alice@{DOMAIN}, "|id -un > /srv/shared/user; cat > /dev/null", bob')
    home.deliver(f"alice@{DOMAIN}")
    boxes.expect(bob=1)
    assert len(home.mail("alice", "Elsewhere")) == 1
    assert (home.shared / "user").read_text() == "alice\n"
    assert (home.shared / "user").stat().st_uid == uid("alice")
    path.unlink()


def test_a_mistake_puts_the_mail_off(home, dot_forward, boxes):
    dot_forward("alice", '"|touch /srv/shared/ran", "bob\n')
    number = home.send(f"alice@{DOMAIN}")
    assert "deferral" in home.settled(number)
    assert "unable_to_parse_this_line" in home.settled(number)
    assert not (home.shared / "ran").exists()
    home.write("alice", ".forward", "bob\n")
    home.ask({"do": "retry", "numbers": [number]})
    home.end(number)
    boxes.expect(bob=1)


def test_a_loop_of_forward_files_bounces(home, boxes, dot_forward):
    dot_forward("alice", "bob\n")
    dot_forward("bob", "alice\n")
    home.deliver(f"alice@{DOMAIN}", sender=f"dave@{DOMAIN}")
    mail = boxes.expect(dave=1)
    assert b"This message is looping: it already has my Delivered-To line. (#5.4.6)" in mail["dave"]
