"""qmail-pop3d as a process."""

import os
import re
import time

import pytest
from tests.lacking import without
from tests.programs.launch import launch
from tests.programs.pop3_process import POP3D, Pop3, make_joe, put


@pytest.fixture
def home(tmp_path):
    return make_joe(tmp_path)


def test_a_session(home):
    put(home, "new/1", b"Subject: x\n\n.\n")
    client = Pop3([*POP3D, "Maildir"], home)
    assert client.line() == b"+OK \r\n"
    assert client.ask(b"STAT") == b"+OK 1 17\r\n"
    assert client.ask(b"RETR 1") == b"+OK \r\n"
    assert client.text() == b"Subject: x\r\n\r\n..\r\n"
    assert client.ask(b"QUIT") == b"+OK \r\n"
    assert client.rest() == b""
    assert client.end() == (0, b"")
    assert os.listdir(f"{home}/Maildir/cur") == ["1:2,"]


def test_root_is_refused(home):
    if os.getuid():
        without("uid 0")
    done = launch("qmail-pop3d", "Maildir", cwd=home)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"qmail-pop3d invoked as uid 0, terminating\n")


@pytest.mark.parametrize("words", [["none"], []], ids=["none", "no-argument"])
def test_no_maildir(home, words):
    client = Pop3([*POP3D, *words], home)
    assert client.rest() == b"-ERR this user has no $HOME/Maildir\r\n"
    assert client.end() == (0, b"")


def test_half_a_maildir(home):
    os.rename(f"{home}/Maildir/cur", f"{home}/cur")
    client = Pop3([*POP3D, "Maildir"], home)
    assert client.rest() == b"-ERR unable to scan $HOME/Maildir\r\n"
    assert client.end() == (0, b"qmail-pop3d: unable to read .: No such file or directory\n")


def test_what_can_not_be_removed_is_logged(home):
    put(home, "cur/1:2,", b"x\n")
    client = Pop3([*POP3D, "Maildir"], home)
    client.line()
    client.ask(b"DELE 1")
    os.rename(f"{home}/Maildir/cur/1:2,", f"{home}/1")
    os.mkdir(f"{home}/Maildir/cur/1:2,")
    assert client.ask(b"QUIT") == b"-ERR [SYS/TEMP] unable to unlink all deleted messages\r\n"
    code, said = client.end()
    assert code == 0, said
    assert re.fullmatch(rb"qmail-pop3d: unable to unlink \./cur/1:2,: .*\n", said)


def deleted_in_vain(home, *names):
    """Messages that can't be removed: what was said of them, by line."""
    for name in names:
        put(home, f"cur/{name}", b"x\n")
    client = Pop3([*POP3D, "Maildir"], home)
    client.line()
    for number, name in enumerate(names, 1):
        client.ask(b"DELE %d" % number)
        os.rename(f"{home}/Maildir/cur/{name}", f"{home}/{number}")
        os.mkdir(f"{home}/Maildir/cur/{name}")
    assert client.ask(b"QUIT").startswith(b"-ERR")
    code, said = client.end()
    assert code == 0, said
    return said.splitlines()


def test_a_name_can_not_forge_a_line_of_the_log(home):
    (line,) = deleted_in_vain(home, "1\nqmail-pop3d: all is well\x1b[2J\r:2,")
    assert line.startswith(rb"qmail-pop3d: unable to unlink ./cur/1\nqmail-pop3d: all is well\x1b[2J\r:2,: ")


def test_many_that_can_not_be_removed_are_counted(home):
    lines = deleted_in_vain(home, *[f"{number}:2," for number in range(8)])
    assert len(lines) == 4
    assert all(line.startswith(b"qmail-pop3d: unable to unlink ./cur/") for line in lines[:3])
    assert lines[3] == b"qmail-pop3d: unable to unlink 5 more"


@pytest.fixture
def quirks(tmp_path):
    """A home with this in control/pop3quirks, which joe can read wherever the test is: by a descriptor that he inherits."""

    def made(text):
        os.makedirs(tmp_path / "qmail/control")
        (tmp_path / "qmail/control/pop3quirks").write_text(text)
        return str(tmp_path / "qmail")

    return made


def test_quirks(home, quirks):
    path = put(home, "cur/1:2,", b"x\n")
    os.utime(path, (time.time() - 60,) * 2)
    os.rename(quirks("1\n"), f"{home}/qmail")
    client = Pop3([*POP3D, "Maildir"], home, QMAILHOME="qmail")
    client.line()
    client.ask(b"DELE 1")
    assert client.ask(b"STAT") == b"+OK 1 0\r\n"
    assert client.ask(b"CAPA") == b"-ERR unimplemented\r\n"
    assert client.end() == (0, b"")


def test_a_malformed_control_file(home, quirks):
    os.rename(quirks("perhaps\n"), f"{home}/qmail")
    client = Pop3([*POP3D, "Maildir"], home, QMAILHOME="qmail")
    assert client.rest() == b"-ERR [SYS/TEMP] unable to read controls\r\n"
    code, said = client.end()
    assert code == 111
    assert b"control/pop3quirks line 1" in said


def memory(pid):
    """The most that the process has had so far, in KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])


def test_a_large_message_takes_no_memory(home):
    put(home, "cur/1:2,", b"Subject: large\n\n" + b"0123456789abcdef\n" * (50_000_000 // 17))
    client = Pop3([*POP3D, "Maildir"], home)
    client.line()
    before = memory(client.process.pid)
    client.send(b"STAT\r\nRETR 1\r\nQUIT\r\n")
    received = client.rest()
    assert len(received) > 50_000_000
    assert received.endswith(b"\r\n.\r\n+OK \r\n")
    assert client.end() == (0, b"")
    # While it is sent: the process can't have ended before it was read.
    client = Pop3([*POP3D, "Maildir"], home)
    client.line()
    client.ask(b"RETR 1")
    for _ in range(200_000):
        client.line()
    client.send(b"NOOP\r\n")
    assert memory(client.process.pid) - before < 4096
    client.end()
