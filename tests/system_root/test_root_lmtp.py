"""LMTP with real programs, in a system home: Postfix delivers to us, and we to Dovecot, by a route and from dot-qmail files."""

import os
import re
import subprocess

import pytest
from tests.system.harness import PATIENCE, Log, Smtp
from tests.system_root.harness_root import DOMAIN, uid

DOVE = "dove.test"  # handed over to Dovecot by its Unix socket
TCP = "tcp.test"  # by TCP
SHUT = "shut.test"  # a socket that qmailr can't connect to
GONE = "gone.test"
CONTROL = {
    "listen": "smtp 127.0.0.1:25\nlmtp 127.0.0.1:24\nlmtp run/lmtp",
    "rcpthosts": f"{DOMAIN}\n{DOVE}\n{TCP}\n{SHUT}\n{GONE}",
    "smtproutes": f"{DOVE}:lmtp:/run/dovecot/lmtp\n{TCP}:lmtp:127.0.0.1:2424\n{SHUT}:lmtp:/run/dovecot/shut\n"
    f"{GONE}:lmtp:/run/dovecot/gone",
}
CONFIGURATION = """\
protocols = lmtp
base_dir = /run/dovecot
log_path = /dev/stderr
ssl = no
mail_location = maildir:~/Maildir
mail_plugins = quota
auth_username_format = %Ln
first_valid_uid = 500
quota_full_tempfail = {tempfail}
plugin {{
  quota = maildir:User quota
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = /srv/shared/dovecot.users
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  unix_listener shut {{
    mode = 0600
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = 2424
  }}
}}
"""
QUOTA = "userdb_quota_rule=*:bytes=10000"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcd\r\n" * 1000


class Dovecot:
    """Its users are dana, dora, bob, and tiny, who has room for 10,000 bytes; their homes are in /srv/shared/dovecot."""

    def __init__(self, home, *, tempfail="no"):
        self.home = home
        folder = home.shared / "dovecot"
        folder.mkdir(exist_ok=True)
        lines = []
        for number, name in enumerate(("dana", "dora", "tiny", "bob"), 3001):
            (folder / name).mkdir(exist_ok=True)
            os.chown(folder / name, number, number)
            extra = QUOTA if name == "tiny" else ""
            lines.append(f"{name}:{{PLAIN}}x:{number}:{number}::/srv/shared/dovecot/{name}::{extra}\n")
        (home.shared / "dovecot.users").write_text("".join(lines))
        (home.shared / "dovecot.conf").write_text(CONFIGURATION.format(tempfail=tempfail))
        self.folder = folder
        words = ["dovecot", "-F", "-c", "/srv/shared/dovecot.conf"]
        self.process = home.box.popen(words, stderr=subprocess.PIPE, start_new_session=True)
        self.log = Log(self.process.stderr)
        self.log.until(lambda: any("starting up" in line for line in self.log.lines), "Dovecot")

    def mail(self, name):
        new = self.folder / name / "Maildir/new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.is_dir() else []

    def take(self, name):
        """The one message that has come, which is removed."""
        self.home.until(lambda: self.mail(name), f"mail for {name} in Dovecot")
        (text,) = self.mail(name)
        for path in (self.folder / name / "Maildir/new").iterdir():
            path.unlink()
        return text

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()


@pytest.fixture(scope="module")
def dovecot(home):
    dovecot = Dovecot(home)
    yield dovecot
    dovecot.stop()


def reports(home, number, count):
    """What became of each recipient of a message: address to report."""

    def look():
        found = {}
        story = home.story(number)
        names = {
            match[1]: match[2]
            for line in story
            if (match := re.match(r"starting delivery (\d+): .* to \w+ (\S+)$", line))
        }
        for line in story:
            if match := re.match(r"delivery (\d+): (.*)$", line):
                found[names[match[1]]] = match[2]
        return found if len(found) == count else None

    return home.until(look, f"{count} reports of message {number}")


class TestDovecotByRoute:
    @pytest.mark.parametrize("domain", [DOVE, TCP])
    def test_delivered(self, home, dovecot, domain):
        number = home.send(f"dana@{domain}", b"Subject: hello\r\n\r\n..dot\r\n")
        (report,) = reports(home, number, 1).values()
        place = "/run/dovecot/lmtp" if domain == DOVE else "127.0.0.1"
        assert report.startswith(f"success: {place}_accepted_message./Remote_host_said:_250_2.0.0_<dana@{domain}>_")
        text = dovecot.take("dana")
        assert b"\n.dot\n" in text.replace(b"\r", b"")
        assert text.startswith(b"Return-Path: <s@example.org>")
        assert f"Delivered-To: dana@{domain}".encode() in text
        home.end(number)

    def test_each_recipient_has_his_own_report(self, home, dovecot):
        """In one transaction; who is over quota is refused after the message, who does not exist at RCPT."""
        with home.smtp() as client:
            recipients = [f"{name}@{DOVE}" for name in ("dana", "ghost", "tiny", "dora")]
            number = client.send("s@example.org", recipients, LARGE)
        found = reports(home, number, 4)
        assert found[f"dana@{DOVE}"].startswith("success: ")
        assert found[f"dora@{DOVE}"].startswith("success: ")
        assert found[f"ghost@{DOVE}"].startswith(
            "failure: /run/dovecot/lmtp_does_not_like_recipient./Remote_host_said:_550_"
        )
        assert found[f"tiny@{DOVE}"].startswith(
            "failure: /run/dovecot/lmtp_failed_after_I_sent_the_message./Remote_host_said:_552_"
        )
        assert f"<dora@{DOVE}>" in found[f"dora@{DOVE}"]
        home.end(number)
        for name in ("dana", "dora"):
            assert len(dovecot.take(name)) > len(LARGE) - 2000
        assert dovecot.mail("tiny") == []
        assert len([line for line in dovecot.log.lines if "Connect from local" in line and "lmtp" in line]) >= 1

    def test_a_socket_that_is_shut_is_named(self, home, dovecot):
        number = home.send(f"dana@{SHUT}")
        (report,) = reports(home, number, 1).values()
        assert report == (
            "deferral: Sorry,_I_wasn't_able_to_connect_to_the_LMTP_server_at_/run/dovecot/shut:"
            "_access_denied_(EACCES)._(#4.4.1)/"
        )
        home.ask({"do": "remove", "numbers": [number]})

    def test_a_socket_that_is_not_there_is_named(self, home):
        number = home.send(f"dana@{GONE}")
        (report,) = reports(home, number, 1).values()
        assert "/run/dovecot/gone:_file_does_not_exist_(ENOENT)" in report
        home.ask({"do": "remove", "numbers": [number]})


class TestDovecotFromDotQmail:
    def test_delivered_with_its_lines(self, home, dovecot):
        home.dot_qmail("alice", "dove", f"|qmail-lmtp /run/dovecot/lmtp dana@{DOVE}\n")
        story = home.deliver(f"alice-dove@{DOMAIN}")
        assert any(f"success: qmail-lmtp:_dana@{DOVE}:_250_2.0.0_" in line for line in story), story
        text = dovecot.take("dana")
        assert b"\nDelivered-To: alice-dove@example.test" in text.replace(b"\r", b"")

    def test_several(self, home, dovecot):
        home.dot_qmail("alice", "two", f"|qmail-lmtp -r 127.0.0.1:2424 dana@{DOVE} dora@{DOVE}\n")
        home.deliver(f"alice-two@{DOMAIN}")
        assert dovecot.take("dana").count(b"Return-Path: ") == dovecot.take("dora").count(b"Return-Path: ") == 1

    @pytest.mark.parametrize(("name", "code"), [("ghost", "550"), ("tiny", "552")])
    def test_refused(self, home, dovecot, name, code):
        home.dot_qmail("alice", f"no-{name}", f"|qmail-lmtp /run/dovecot/lmtp {name}@{DOVE}\n")
        number = home.send(f"alice-no-{name}@{DOMAIN}", LARGE, sender="")
        assert f"failure: qmail-lmtp:_{name}@{DOVE}:_{code}_" in home.settled(number)
        home.end(number)

    def test_the_recipient_of_the_delivery(self, home, dovecot):
        """One of Dovecot's users has the name of one of ours."""
        home.dot_qmail("bob", "", "|qmail-lmtp /run/dovecot/lmtp\n")
        home.deliver(f"bob@{DOMAIN}")
        assert b"hello" in dovecot.take("bob")

    def test_nobody_there(self, home):
        home.dot_qmail("alice", "gone", "|qmail-lmtp /run/dovecot/gone x\n")
        number = home.send(f"alice-gone@{DOMAIN}")
        assert home.settled(number).endswith(
            "deferral: qmail-lmtp:_fatal:_unable_to_connect_to_the_LMTP_server_at_/run/dovecot/gone:_file_does_not_exist/"
        )
        home.ask({"do": "remove", "numbers": [number]})


def test_a_server_that_is_down_gets_the_mail_later(own_home):
    for name, text in CONTROL.items():
        own_home.control(name, text)
    own_home.start()
    number = own_home.send(f"dana@{DOVE}")
    assert "ENOENT" in own_home.settled(number)
    dovecot = Dovecot(own_home)
    own_home.alarm()
    own_home.end(number)
    assert b"hello" in dovecot.take("dana")
    dovecot.stop()
    assert own_home.stop() == 0


def test_a_quota_that_is_full_for_now_puts_off(own_home):
    """452 after the message, for one of two: the other has it once."""
    for name, text in CONTROL.items():
        own_home.control(name, text)
    own_home.start()
    dovecot = Dovecot(own_home, tempfail="yes")
    with own_home.smtp() as client:
        number = client.send("s@example.org", [f"tiny@{DOVE}", f"dana@{DOVE}"], LARGE)
    found = reports(own_home, number, 2)
    assert found[f"tiny@{DOVE}"].startswith(
        "deferral: /run/dovecot/lmtp_failed_after_I_sent_the_message./Remote_host_said:_452_"
    )
    assert found[f"dana@{DOVE}"].startswith("success: ")
    own_home.alarm()
    own_home.line(r"deferral: /run/dovecot/lmtp_failed", 2)
    assert len(dovecot.mail("dana")) == 1
    dovecot.stop()
    assert own_home.stop() == 0


MAIN = """\
compatibility_level = 3.6
queue_directory = /srv/spool
data_directory = /srv/data
maillog_file = /srv/shared/postfix.log
maillog_file_prefixes = /srv
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
relay_domains = example.test
transport_maps = inline:{{ {{ example.test = {transport} }} }}
local_recipient_maps =
smtputf8_enable = no
"""
MASTER = """\
2500       inet  n  -  n  -     -  smtpd
pickup     unix  n  -  n  60    1  pickup
cleanup    unix  n  -  n  -     0  cleanup
qmgr       unix  n  -  n  300   1  qmgr
rewrite    unix  -  -  n  -     -  trivial-rewrite
bounce     unix  -  -  n  -     0  bounce
defer      unix  -  -  n  -     0  bounce
trace      unix  -  -  n  -     0  bounce
verify     unix  -  -  n  -     1  verify
flush      unix  n  -  n  1000? 0  flush
proxymap   unix  -  -  n  -     -  proxymap
proxywrite unix  -  -  n  -     1  proxymap
showq      unix  n  -  n  -     -  showq
error      unix  -  -  n  -     -  error
retry      unix  -  -  n  -     -  error
lmtp       unix  -  -  n  -     -  lmtp
scache     unix  -  -  n  -     1  scache
anvil      unix  -  -  n  -     1  anvil
postlog    unix-dgram n - n -   1  postlogd
"""


@pytest.mark.parametrize("transport", ["lmtp:unix:/var/qmail/run/lmtp", "lmtp:inet:127.0.0.1:24"], ids=["unix", "tcp"])
def test_postfix_delivers_to_us(home, transport):
    """Two of our users and one whom nobody knows, in one transaction."""
    conf = home.shared / "postfix"
    conf.mkdir(exist_ok=True)
    (conf / "main.cf").write_text(MAIN.format(transport=transport))
    (conf / "master.cf").write_text(MASTER)
    log = home.shared / "postfix.log"
    log.write_text("")
    home.box.run(["sh", "-c", "mkdir -p /srv/spool /srv/data && chown postfix /srv/data"])
    postfix = ["postfix", "-c", "/srv/shared/postfix"]
    home.box.run([*postfix, "start"])
    try:
        before = [len(home.mail(user)) for user in ("carol", "dave")]
        home.until(lambda: listens(home), "Postfix")
        with home.in_network(Smtp, 2500) as client:
            client.envelope("s@example.org", *(f"{name}@{DOMAIN}" for name in ("carol", "ghost", "dave")))
            assert client.data(b"Subject: by Postfix\r\n\r\n.hello\r\n".replace(b"\r\n.", b"\r\n..")).startswith(
                b"250 "
            )
        home.until(lambda: len(re.findall(r"status=(sent|bounced)", log.read_text())) >= 3, "Postfix's reports")
        home.until(lambda: [len(home.mail(user)) for user in ("carol", "dave")] == [n + 1 for n in before], "the mail")
        told = log.read_text()
        assert len(re.findall(r"status=sent \(250 2\.0\.0 ok \d+ qp \d+\)", told)) == 2
        assert re.search(
            r"to=<ghost@example\.test>.* dsn=5\.1\.1, status=bounced \(host .* said: 550 5\.1\.1 sorry, no mailbox",
            told,
        )
        text = home.mail("dave")[-1]
        peer = rb"\d+@local" if "unix" in transport else rb"127\.0\.0\.1"
        assert re.search(rb"Received: from unknown \(HELO postfix\.test\) \(%b\)\n  by \S+ with LMTP; " % peer, text)
        assert b"\n.hello\n" in text
        ids = [
            re.findall(rb"^Received: \(qmail (\d+) invoked", home.mail(user)[-1], re.MULTILINE)[0]
            for user in ("carol", "dave")
        ]
        assert ids[0] == ids[1]
    finally:
        home.box.run([*postfix, "stop"], check=False)


def listens(home):
    try:
        home.in_network(Smtp, 2500).close()
    except (OSError, AssertionError):
        return False
    return True


def test_the_socket_is_everybody_s_and_tells_who_came(home):
    home.run_as("mallory", ["python3", "-c", CLIENT])
    home.line(rf"smtpd: {uid('mallory')}@local message from <x@y> to 1 recipient: msg ")


CLIENT = f"""
import socket
sock = socket.socket(socket.AF_UNIX)
sock.connect("/var/qmail/run/lmtp")
file = sock.makefile("rb")
for line in ("", "LHLO me", "MAIL FROM:<x@y>", "RCPT TO:<alice@{DOMAIN}>", "DATA", "hello\\r\\n."):
    if line:
        sock.sendall(line.encode() + b"\\r\\n")
    while (reply := file.readline())[3:4] == b"-":
        pass
    assert reply[:1] in b"23", (line, reply)
"""
