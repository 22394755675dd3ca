"""What `quail run` tells a person, in homes that are not as it made them."""

import os

import pytest

from quail.cli import run
from quail.cli.init_single import init_single
from quail.cli.serve import Started
from quail.users import mailboxes


@pytest.fixture
def home(tmp_path):
    path = str(tmp_path / "home")
    init_single(path, name="jane")
    return path


def greeted(home, ports, capfd):
    pid = os.fork()
    if pid == 0:
        run._greet(Started(home, ports), os.path.dirname(home), first=False)
    os.waitpid(pid, 0)
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_a_home_that_takes_no_smtp(home, capfd):
    out = greeted(home, {"pop3": "127.0.0.1:2110"}, capfd)
    assert "Quail serves home: POP3 on 127.0.0.1:2110, mail for jane@localhost\n" in out
    assert "POP3 on 127.0.0.1 port 2110, user jane" in out
    assert "send" not in out


def test_a_home_that_takes_nothing(home, capfd):
    assert "Quail serves home: mail for jane@localhost\n" in greeted(home, {}, capfd)


def test_the_first_address_may_be_no_mailbox(home, capfd):
    mailboxes.add_user(home, "zoe", os.getuid(), os.getgid())
    for alias in mailboxes.ALIASES:
        with open(f"{home}/alias/.qmail-{alias}", "w", encoding="ascii") as file:
            file.write("&zoe\n")
    mailboxes.remove_user(home, "jane")
    out = greeted(home, {"smtp": "127.0.0.1:2525"}, capfd)
    assert "Quail serves home: SMTP on 127.0.0.1:2525, mail for zoe@localhost\n" in out
    assert "home/mail/zoe/Maildir" in out
