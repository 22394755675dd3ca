"""swaks, smtp-source and mutt, as Debian has them, against a running Quail. The box shares the machine's network."""

import re

import pytest

TO = "tester@localhost"


@pytest.fixture
def box(test_root, quail_server):
    with test_root.enter({quail_server.home + "/mail/tester": "/srv/tester"}, network="host") as box:
        yield box


def swaks(box, server, *words, to=TO, check=True):
    where = ["--server", "127.0.0.1", "--port", str(server.port), "--to", to, "--from", "sender@example.org"]
    return box.run(["swaks", *where, "--helo", "client.example.org", *words], check=check)


class TestSwaks:
    @pytest.mark.parametrize(
        "words",
        [(), ("--pipeline",), ("--protocol", "SMTP"), ("--from", "<>")],
        ids=["plain", "pipelining", "helo", "bounce"],
    )
    def test_a_message(self, box, quail_server, words):
        done = swaks(box, quail_server, "--header", "Subject: from swaks", "--body", ".hello\\n.\\n..", *words)
        assert re.search(r"^ -> \.\n<-  250 (2\.0\.0 )?ok \d+ qp \d+$", done.stdout, re.MULTILINE)
        (message,) = quail_server.delivered(1)
        assert b"\nSubject: from swaks\n" in message
        assert message.partition(b"\n\n")[2].startswith(b".hello\n.\n..\n")

    def test_an_attachment(self, box, quail_server):
        box.run(["sh", "-c", "head -c 300000 /dev/urandom > /tmp/attached; base64 -w76 /tmp/attached > /tmp/text"])
        swaks(box, quail_server, "--attach", "@/tmp/attached")
        (message,) = quail_server.delivered(1)
        first, last = box.run(["sh", "-c", "head -1 /tmp/text; tail -1 /tmp/text"]).stdout.encode().splitlines()
        assert first in message
        assert last in message

    def test_an_unknown_recipient(self, box, quail_server):
        done = swaks(box, quail_server, to="nobody-here@localhost", check=False)
        assert done.returncode == 24  # swaks(1): error with RCPT
        assert re.search(r"^<\*\* 550 5\.1\.1 ", done.stdout, re.MULTILINE)

    def test_a_foreign_recipient(self, box, quail_server):
        done = swaks(box, quail_server, to="someone@example.org", check=False)
        assert done.returncode == 24
        assert re.search(r"^<\*\* 55[03] ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["-s", "20", "-m", "300", "-l", "4096"], 300),
        (["-s", "20", "-m", "300", "-l", "4096", "-d"], 300),
        (["-s", "5", "-m", "20", "-l", "400000", "-d"], 20),
        (["-s", "1", "-m", "10", "-l", "1000", "-o"], 10),
    ],
    ids=["one-a-connection", "persistent", "large", "helo"],
)
def test_smtp_source(box, quail_server, words, count):
    address = f"127.0.0.1:{quail_server.port}"
    box.run(["smtp-source", *words, "-f", "sender@example.org", "-t", TO, address])
    messages = quail_server.delivered(count)
    length = int(words[words.index("-l") + 1])
    assert all(len(message) > length * 0.95 for message in messages)


MUTTRC = """\
set folder=/srv
set sort=subject
set delete=yes
set wait_key=no
set mark_old=yes
set pipe_decode=yes
set record=
"""
# Every message is opened and handed to cat; the one tagged by its subject is deleted; then mutt writes the changes.
KEYS = (
    "<tag-pattern>~A<enter><tag-prefix><pipe-message>cat>>/tmp/seen<enter>"
    "<untag-pattern>~A<enter><delete-pattern>~s second<enter><quit>"
)


def test_mutt_reads_and_changes_the_maildir(box, quail_server):
    for subject in ("first", "second", "third"):
        words = ["--header", f"Subject: the {subject}", "--body", f"body of the {subject}"]
        swaks(box, quail_server, *words)
    quail_server.delivered(3)
    box.run(["sh", "-c", "cat > /tmp/muttrc; touch /tmp/seen"], data=MUTTRC)
    command = f"mutt -F /tmp/muttrc -f /srv/tester/Maildir -e 'push \"{KEYS}\"'"
    box.run(["script", "-q", "-e", "-c", command, "/dev/null"], env={"TERM": "xterm"})
    seen = box.run(["cat", "/tmp/seen"]).stdout
    assert re.findall(r"^Subject: (.*)$", seen, re.MULTILINE) == ["the first", "the second", "the third"]
    assert re.findall(r"^body of .*$", seen, re.MULTILINE) == [f"body of the {n}" for n in ("first", "second", "third")]
    kept = box.run(["sh", "-c", "cd /srv/tester/Maildir; grep -h '^Subject:' cur/* new/* 2>&1 | sort"]).stdout
    assert "Subject: the first\n" in kept
    assert "Subject: the third\n" in kept
    assert "second" not in kept
