"""Programs of Debian with a system home: those that a dot-qmail file calls, and those that send through /usr/sbin/sendmail."""

import json
import re
import signal
import smtplib
import subprocess
from email.header import decode_header, make_header

import pytest
from tests.system.harness import PATIENCE, Log
from tests.system_root.harness_root import DOMAIN, QMAIL, SENDMAIL, describe, uid

BOB = f"bob@{DOMAIN}"
TEXT = b"Subject: hello\r\nX-Kind: keep\r\n\r\nFrom here on\r\nbody\r\n"


def taken(home, user, folder="Maildir"):
    """The one message of a mailbox, taken out of it."""
    home.until(lambda: home.mail(user, folder), f"mail for {user}")
    (path,) = home.mail_paths(user, folder)
    text = path.read_bytes()
    path.unlink()
    return text


def header(text, name):
    found = re.findall(rb"^%b: (.*(?:\n[ \t].*)*)$" % name.encode(), text.partition(b"\n\n")[0], re.MULTILINE)
    assert len(found) == 1, (name, text)
    return found[0].decode()


class TestCalledByDotQmailFiles:
    def success(self, home, recipient, text=TEXT):
        story = home.deliver(recipient, text)
        assert any("success: did_0+0+1/" in line for line in story), story

    def test_procmail_into_an_mbox(self, home):
        home.write("alice", "rc-mbox", "DEFAULT=$HOME/procmail.mbox\n")
        home.dot_qmail("alice", "pm", "|preline procmail ./rc-mbox\n")
        for _ in range(2):
            self.success(home, f"alice-pm@{DOMAIN}")
        mbox = (home.home_of("alice") / "procmail.mbox").read_bytes()
        assert len(re.findall(rb"^From s@example\.org \w{3} ", mbox, re.MULTILINE)) == 2
        assert mbox.startswith(b"From s@example.org ")
        assert mbox.count(b"\nReturn-Path: <s@example.org>\nDelivered-To: alice-pm@example.test\n") == 2
        assert mbox.count(b"\n>From here on\nbody\n\n") == 2
        assert describe(home.home_of("alice") / "procmail.mbox") == ("-rw-------", uid("alice"), uid("alice"))

    def test_procmail_into_maildirs(self, home):
        rc = "DEFAULT=$HOME/Rest/\n:0\n* ^X-Kind: keep\nKept/\n"
        home.write("alice", "rc-maildir", rc)
        home.dot_qmail("alice", "pmd", "|preline procmail ./rc-maildir\n")
        self.success(home, f"alice-pmd@{DOMAIN}")
        self.success(home, f"alice-pmd@{DOMAIN}", b"Subject: other\r\n\r\n")
        assert b"\nX-Kind: keep\n\nFrom here on\nbody\n" in taken(home, "alice", "Kept")
        assert b"\nSubject: other\n" in taken(home, "alice", "Rest")

    def test_procmail_defers_and_refuses(self, home):
        """EXITCODE 75 and 77 are sysexits(3)."""
        home.write("alice", "rc-later", "EXITCODE=75\nHOST\n")
        home.write("alice", "rc-never", "EXITCODE=77\nHOST\n")
        home.dot_qmail("alice", "later", "|preline procmail ./rc-later\n")
        home.dot_qmail("alice", "never", "|preline procmail ./rc-never\n")
        later = home.send(f"alice-later@{DOMAIN}")
        assert "deferral" in home.settled(later)
        home.ask({"do": "remove", "numbers": [later]})
        assert "failure" in home.settled(home.send(f"alice-never@{DOMAIN}", sender=""))

    def test_procmail_forwards(self, home):
        home.write("alice", "rc-on", f"SENDMAIL={SENDMAIL}\n:0\n! {BOB}\n")
        home.dot_qmail("alice", "on", "|preline procmail ./rc-on\n")
        self.success(home, f"alice-on@{DOMAIN}")
        text = taken(home, "bob")
        assert b" invoked by uid %d); " % uid("alice") in text
        assert text.count(b"\nDelivered-To: ") == 2  # his own and alice-on's, which stops loops

    def test_maildrop(self, home):
        filter_file = 'if (/^X-Kind: keep/)\n{\n  to "./Dropped/"\n}\nto "./dropped.mbox"\n'
        home.write("alice", "filter", filter_file)
        home.maildir("alice", "Dropped")
        home.dot_qmail("alice", "md", "|preline -f maildrop ./filter\n")
        self.success(home, f"alice-md@{DOMAIN}")
        text = taken(home, "alice", "Dropped")
        assert text.startswith(b"Return-Path: <s@example.org>\nDelivered-To: alice-md@example.test\n")
        assert text.endswith(b"\nX-Kind: keep\n\nFrom here on\nbody\n")
        self.success(home, f"alice-md@{DOMAIN}", b"Subject: other\r\n\r\n")
        mbox = (home.home_of("alice") / "dropped.mbox").read_bytes()
        assert mbox.startswith(b"From ")
        assert b"\nSubject: other\n" in mbox

    def test_condredirect_with_a_program_of_debian(self, home):
        home.dot_qmail("alice", "cond", f"|condredirect {BOB} grep -q '^X-Kind: keep'\n./Maildir/\n")
        home.deliver(f"alice-cond@{DOMAIN}", TEXT)
        assert b"\nX-Kind: keep\n" in taken(home, "bob")


class TestSendingThroughSendmail:
    def test_bsd_mail(self, home):
        home.run_as("alice", ["mail", "-s", "from mail", "-c", f"carol@{DOMAIN}", "bob"], "hello\n.\nmore\n")
        text = taken(home, "bob")
        assert header(text, "Subject") == "from mail"
        assert header(text, "To") == BOB
        assert header(text, "From") == f"alice@{DOMAIN}"
        assert text.startswith(b"Return-Path: <alice@example.test>\n")
        assert b"\n\nhello\n" in text
        taken(home, "carol")

    def test_s_nail(self, home):
        words = ["s-nail", "-:/", "-s", "from Grüße", "-b", f"carol@{DOMAIN}", BOB]
        home.run_as("alice", words, "hello\n", env={"LC_ALL": "C.UTF-8"})
        text = taken(home, "bob")
        assert str(make_header(decode_header(header(text, "Subject")))) == "from Grüße"
        assert header(text, "From") == f"alice@{DOMAIN}"
        assert b"carol" not in text
        assert b"\nDelivered-To: carol@example.test\n" in taken(home, "carol")

    def test_mutt(self, home):
        home.write("alice", "attached", bytes(range(256)) * 400)
        words = [
            "mutt",
            "-s",
            "from mutt",
            "-c",
            f"carol@{DOMAIN}",
            "-b",
            f"dave@{DOMAIN}",
            "-a",
            "attached",
            "--",
            BOB,
        ]
        home.run_as("alice", words, "hello\n.\n")
        text = taken(home, "bob")
        assert header(text, "Subject") == "from mutt"
        assert header(text, "Cc") == f"carol@{DOMAIN}"
        assert b"\n\nhello\n.\n" in text
        assert b'filename="attached"' in text or b"filename=attached" in text
        assert b"\nDelivered-To: carol@example.test\n" in taken(home, "carol")
        hidden = taken(home, "dave")
        assert b"Bcc" not in hidden
        assert b"\nDelivered-To: dave@example.test\n" in hidden

    def test_mutt_with_a_sender_of_its_own(self, home):
        home.write(
            "alice", "muttrc", "set envelope_from=yes\nset from='Alice <alice-lists@example.test>'\nset use_from=yes\n"
        )
        home.run_as("alice", ["mutt", "-F", "muttrc", "-s", "x", "--", BOB], "hello\n")
        text = taken(home, "bob")
        assert text.startswith(b"Return-Path: <alice-lists@example.test>\n")
        assert header(text, "From") == "Alice <alice-lists@example.test>"

    def test_alpine(self, home):
        settings = (
            f"user-domain={DOMAIN}\nsendmail-path={SENDMAIL} -oem -t -oi\nlast-version-used=99.99\nsmtp-server=\n"
        )
        home.write("alice", "pinerc", settings + "feature-list=no-enable-mailcap-param-substitution\n")
        steps = [["hello", "\x18"], ["Send message", "y"], ["Create?", "y"]]  # ^X; yes; a folder for what was sent
        link = f"mailto:{BOB}?subject=from%20alpine&body=hello"
        words = [
            "python3",
            "/srv/tools/typist.py",
            json.dumps(steps),
            "alpine",
            "-p",
            "/home/alice/pinerc",
            "-url",
            link,
        ]
        home.run_as("alice", words)
        text = taken(home, "bob")
        assert header(text, "Subject") == "from alpine"
        assert header(text, "To") == BOB
        assert b"\n\nhello\n" in text

    def test_sendmail_speaks_smtp(self, home):
        """What swaks and some mail programs use instead of a port."""
        words = ["swaks", "--pipe", f"{SENDMAIL} -bs", "--to", BOB, "--from", f"alice@{DOMAIN}", "--helo", "x.test"]
        done = home.run_as("alice", [*words, "--body", "hello"])
        assert re.search(r"^<-  250 .*ok \d+ qp \d+$", done.stdout, re.MULTILINE)
        assert b"\n\nhello\n" in taken(home, "bob")

    def test_mailq(self, home):
        """The name that lists the queue: to who may see it."""
        home.box.run(["ln", "-sf", SENDMAIL, "/usr/bin/mailq"])
        with home.closed_mailbox("bob"):
            number = home.send(BOB)
            home.settled(number)
        done = home.box.run(["mailq"])
        assert f"#{number}" in done.stdout
        assert f"\tlocal\t{BOB}\n" in done.stdout
        home.ask({"do": "remove", "numbers": [number]})
        done = home.run_as("alice", ["mailq"], check=False)
        assert done.returncode != 0
        assert BOB not in done.stdout

    def test_newaliases(self, home):
        home.box.run(["ln", "-sf", SENDMAIL, "/usr/bin/newaliases"])
        home.box.run(["sh", "-c", "printf 'postmaster: root\\nroot: bob' > /etc/aliases"])
        home.box.run(["newaliases"])
        made = home.box.run(
            ["sh", "-c", "printforward < /etc/aliases.cdb"], env={"PATH": f"{QMAIL}/bin:/usr/bin:/bin"}
        ).stdout
        assert made == f"postmaster@:\n, &root@{DOMAIN}\n;\nroot@:\n, &bob@{DOMAIN}\n;\n"

    def test_over_both_families(self, home):
        for address in ("127.0.0.1", "::1"):
            with home.in_network(smtplib.SMTP, address, 25, local_hostname="x.test", timeout=PATIENCE) as client:
                client.sendmail("s@example.org", [BOB], "Subject: x\n\n")
            assert b" (HELO x.test) (%b)\n" % address.encode() in taken(home, "bob")

    def test_postfixs_own_client(self, home):
        words = ["-s", "10", "-m", "200", "-l", "3000", "-f", "s@example.org", "-t", f"carol@{DOMAIN}"]
        before = len(home.mail("carol"))
        home.box.run(["smtp-source", *words, "-d", "127.0.0.1:25"])
        home.until(lambda: len(home.mail_paths("carol")) - before == 200, "all of them")
        for path in home.mail_paths("carol"):
            path.unlink()


class TestWithTheQueueDown:
    """What has been sent waits in queue/drop/ and is delivered when serve runs again."""

    def waiting(self, home):
        return list((home.path / "queue/drop").glob("new.*"))

    def test_a_cron_job(self, own_home):
        """A real one: @reboot runs when cron starts."""
        tab = "MAILTO=bob\n@reboot echo hello from cron; id -un\n"
        own_home.write("alice", "tab", tab)
        own_home.run_as("alice", ["crontab", "/home/alice/tab"])
        cron = own_home.box.popen(["cron", "-f"], stderr=subprocess.PIPE)
        log = Log(cron.stderr)
        (path,) = log.until(lambda: self.waiting(own_home), "the message of cron")
        assert describe(path)[:2] == ("-rw-r-----", uid("alice"))
        cron.send_signal(signal.SIGTERM)
        cron.wait()
        log.close()
        own_home.start()
        text = taken(own_home, "bob")
        assert header(text, "To") == BOB
        assert header(text, "Subject") == "Cron <alice@localhost> echo hello from cron; id -un"
        assert header(text, "From") == f"root@{DOMAIN} (Cron Daemon)"
        assert text.endswith(b"\n\nhello from cron\nalice\n")
        assert b" invoked by uid %d); " % uid("alice") in text
        assert not self.waiting(own_home)
        assert own_home.stop() == 0

    def test_every_way_to_send(self, own_home):
        own_home.run_as("alice", ["mail", "-s", "one", BOB], "hello\n")
        own_home.run_as("alice", ["s-nail", "-:/", "-s", "two", BOB], "hello\n")
        own_home.run_as("alice", ["mutt", "-s", "three", "--", BOB], "hello\n")
        own_home.run_as("alice", [SENDMAIL, "-t"], f"To: {BOB}\nSubject: four\n\nhello\n")
        own_home.write("alice", "envelope", f"Falice@{DOMAIN}\0T{BOB}\0\0")
        program = ["sh", "-c", "/var/qmail/bin/qmail-queue 1< envelope"]
        own_home.run_as("alice", program, "Subject: five\n\nhello\n")
        assert len(self.waiting(own_home)) == 5
        large = f"To: {BOB}\nSubject: six\n\n" + f"{'z' * 70}\n" * 5000
        own_home.run_as("carol", [SENDMAIL, "-t"], large)
        own_home.start()
        own_home.until(lambda: len(own_home.mail_paths("bob")) == 6, "all of them")
        subjects = {header(text, "Subject") for text in own_home.mail("bob")}
        assert subjects == {"one", "two", "three", "four", "five", "six"}
        assert not self.waiting(own_home)
        assert own_home.stop() == 0

    @pytest.mark.parametrize("mode", ["0700", "0000"])
    def test_a_drop_that_is_closed(self, own_home, mode):
        """Then the sender keeps the message, and its program says so."""
        own_home.box.run(["chmod", mode, "/var/qmail/queue/drop"])
        done = own_home.run_as("alice", [SENDMAIL, BOB], "Subject: x\n\n", check=False)
        assert done.returncode == 111
        assert done.stderr
        assert not self.waiting(own_home)
