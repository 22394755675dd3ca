"""Clients that fetch mail by POP3, as Debian has them, from a running Quail. The box shares the machine's network."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from tests.root.image import UID

TYPIST = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "system_root/inside/typist.py")
SECRET = "open sesame"
TEXTS = {
    "one": b"Subject: one\n\nhello\n",
    "dots": b"Subject: dots\n\n.\n..\n.hidden\nFrom the start\n",
    "long": b"Subject: long\n\n" + b"y" * 70 + b"\n" + b"line\n" * 20_000,
}


@pytest.fixture
def server(quail_server):
    done = subprocess.run(
        [sys.executable, "-m", "quail.cli.main", "--home", quail_server.home, "user", "passwd", "tester", "--cram"],
        input=SECRET.encode() + b"\n",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    new = f"{quail_server.home}/mail/tester/Maildir/new"
    for number, (name, text) in enumerate(TEXTS.items()):
        with open(f"{new}/{number}.{name}", "wb") as file:
            file.write(text)
    return quail_server


def pop3_port(server):
    with open(f"{server.home}/run/ports.json", encoding="utf-8") as ports:
        return int(json.load(ports)["pop3"].rpartition(":")[2])


@pytest.fixture
def box(test_root, server, tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(TYPIST, tmp_path / "tools")
    binds = {server.home + "/mail/tester": "/srv/tester", str(tmp_path / "tools"): "/srv/tools"}
    with test_root.enter(binds, network="host") as box:
        yield box


def left(box):
    return box.run(["sh", "-c", "ls /srv/tester/Maildir/new /srv/tester/Maildir/cur"]).stdout.count("\n") - 3


def bodies(text):
    """What the messages end in, in any order: their bodies, of files with headers of the client's own in front."""
    return {name: TEXTS[name].partition(b"\n\n")[2].decode() in text for name in TEXTS}


ALL = dict.fromkeys(TEXTS, True)


MPOPRC, FETCHMAILRC = "/tmp/mpoprc", "/tmp/fetchmailrc"


def file(box, path, text):
    box.run(["sh", "-c", f"umask 077; cat > {path}"], data=text)


@pytest.mark.parametrize("keep", ["on", "off"])
def test_mpop(box, server, keep):
    file(
        box,
        MPOPRC,
        f"defaults\ntls off\nauth user\naccount default\nhost 127.0.0.1\nport {pop3_port(server)}\nuser tester\n"
        f'password "{SECRET}"\nkeep {keep}\ndelivery mbox /tmp/box\nreceived_header off\n',
    )
    box.run(["mpop", f"--file={MPOPRC}"])
    text = box.run(["cat", "/tmp/box"]).stdout.replace("\n>From", "\nFrom")
    assert bodies(text) == ALL
    assert left(box) == (3 if keep == "on" else 0)
    box.run(["mpop", f"--file={MPOPRC}"])  # by UIDL: none of them again
    assert box.run(["grep", "-c", "^From ", "/tmp/box"]).stdout.strip() == "3"


def test_mpop_by_apop(box, server):
    server.quail("config", "set", "apop", "1")
    server.stop(signal.SIGTERM)
    server.start()
    file(
        box,
        MPOPRC,
        f"defaults\ntls off\nauth apop\naccount default\nhost 127.0.0.1\nport {pop3_port(server)}\nuser tester\n"
        f'password "{SECRET}"\nkeep on\ndelivery mbox /tmp/box\nreceived_header off\n',
    )
    box.run(["mpop", f"--file={MPOPRC}"])
    assert box.run(["grep", "-c", "^From ", "/tmp/box"]).stdout.strip() == "3"


def test_fetchmail_delivers_into_our_smtp(box, server):
    file(
        box,
        FETCHMAILRC,
        f"poll 127.0.0.1 service {pop3_port(server)} protocol pop3 no uidl\n"
        f"  username tester password '{SECRET}' is tester@localhost here\n"
        f"  smtphost 127.0.0.1/{server.port} fetchall sslproto ''\n",
    )
    done = box.run(["fetchmail", "-f", FETCHMAILRC, "--nosyslog", "-v"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    server.delivered(3)
    text = box.run(["sh", "-c", "cat /srv/tester/Maildir/*/*"]).stdout
    assert bodies(text) == ALL
    assert text.count("\nReceived: from ") >= 3


def test_getmail(box, server):
    """It delivers nothing as root."""
    config = (
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {pop3_port(server)}\nusername = tester\n"
        f"password = {SECRET}\n[destination]\ntype = Maildir\npath = /tmp/got/\n[options]\ndelete = true\n"
    )
    make = "umask 077; mkdir -p /tmp/got/tmp /tmp/got/new /tmp/got/cur /tmp/getmail; cat > /tmp/getmail/getmailrc"
    box.run(["sh", "-c", make], user=UID, data=config)
    box.run(["getmail", "--rcfile", "/tmp/getmail/getmailrc", "--getmaildir", "/tmp/getmail"], user=UID)
    text = box.run(["sh", "-c", "cat /tmp/got/new/*"]).stdout
    assert bodies(text) == ALL
    assert left(box) == 0


def test_curl(box, server):
    where = f"pop3://127.0.0.1:{pop3_port(server)}"
    words = ["curl", "--silent", "--show-error", "--user", f"tester:{SECRET}"]
    listed = box.run([*words, f"{where}/"]).stdout.split("\n")
    assert len([line for line in listed if re.match(r"\d+ \d+\r?$", line)]) == 3
    text = "".join(box.run([*words, f"{where}/{number}"]).stdout for number in (1, 2, 3)).replace("\r\n", "\n")
    assert bodies(text) == ALL
    refused = box.run([*words[:-1], "tester:wrong", f"{where}/"], check=False)
    assert refused.returncode == 67  # curl(1): the server denied the log-in


MUTT_KEYS = "<pipe-message>cat>>/tmp/seen<enter><delete-message><quit>"


def test_mutt(box, server):
    where = f"pop://tester@127.0.0.1:{pop3_port(server)}/"
    settings = (
        f"set pop_user=tester\nset pop_pass='{SECRET}'\nset ssl_starttls=no\nset ssl_force_tls=no\nset folder=/tmp\n"
    )
    settings += "set sort=subject\nset delete=yes\nset wait_key=no\nset pipe_decode=yes\nset mark_old=no\nset record=\n"
    file(box, "/tmp/muttrc", settings)
    command = f"mutt -F /tmp/muttrc -f {where} -e 'push \"{MUTT_KEYS}\"'"
    box.run(["script", "-q", "-e", "-c", command, "/dev/null"], env={"TERM": "xterm"})
    seen = box.run(["cat", "/tmp/seen"]).stdout
    assert re.findall(r"^Subject: (.*)$", seen, re.MULTILINE) == ["dots"]  # the first by subject
    server.await_line(r"authd: session of tester from 127\.0\.0\.1 by pop3 ended: quit, \d+ sent, 1 removed")
    assert left(box) == 2


def test_alpine(box, server):
    """A person types the password, looks at the index, and leaves."""
    folder = f"{{127.0.0.1:{pop3_port(server)}/pop3/notls/user=tester}}INBOX"
    file(
        box,
        "/tmp/pinerc",
        f"user-domain=localhost\ninbox-path={folder}\nfeature-list=quit-without-confirm\nlast-version-used=9.99\n"
        "last-time-prune-questioned=999.9\n",
    )
    steps = [["ENTER PASSWORD", SECRET + "\r"], ["Preserve password", "n"], ["dots", "q"]]
    box.run(["python3", "/srv/tools/typist.py", json.dumps(steps), "alpine", "-i", "-p", "/tmp/pinerc"], check=False)
    server.await_line(r"popd: 127\.0\.0\.1 log-in of tester: ok")
    server.await_line(r"authd: session of tester from 127\.0\.0\.1 by pop3 ended: ")
    assert left(box) == 3
