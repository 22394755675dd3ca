"""qmail-showctl as a process."""

import os

import pytest
from launch import launch

from quail.cli.init_single import init_single
from quail.control.table import TABLE


@pytest.fixture
def home(tmp_path):
    init_single(str(tmp_path / "home"), name="joe", smtp_port=0)
    return tmp_path / "home"


def showctl(home) -> list[list[str]]:
    """The paragraphs that it prints, as lines."""
    done = launch("qmail-showctl", env={"QMAILHOME": str(home)})
    assert (done.returncode, done.stderr) == (0, b"")
    return [paragraph.splitlines() for paragraph in done.stdout.decode("ascii").split("\n\n")]


def about(home, name: str) -> list[str]:
    return next(lines for lines in showctl(home) if lines[0].startswith(f"{name}: "))


def test_first_the_installation_then_every_file(home):
    shown = showctl(home)
    assert shown[0][:3] == [f"qmail home directory: {home}.", "user-ext delimiter: -.", "paternalism (in decimal): 2."]
    assert shown[0][-2:] == [
        f"user ids: {os.getuid()} for all (single home).",
        f"group ids: {os.getgid()} for all (single home).",
    ]
    assert [lines[0].partition(":")[0] for lines in shown[1:]] == list(TABLE)


def test_default_is_marked(home):
    assert about(home, "bouncefrom") == [
        "bouncefrom: (Default.) Local part of the address that bounces come from: MAILER-DAEMON."
    ]
    assert about(home, "timeoutsmtpd")[0].endswith(": 1200 seconds.")
    assert about(home, "bouncehost")[0].startswith("bouncehost: (Default.) ")
    assert about(home, "bouncehost")[0].endswith(": localhost.")
    assert not about(home, "me")[0].startswith("me: (Default.)")
    assert about(home, "badmailfrom")[0].startswith("badmailfrom: (Default.) ")
    assert about(home, "badmailfrom")[0].endswith(": none.")
    assert about(home, "morercpthosts.cdb")[0].endswith(": not there.")


def test_lists_have_a_line_for_each_entry(home):
    (home / "control/rcpthosts").write_bytes(b"localhost\n# no\nb.example\xff\n")
    assert about(home, "rcpthosts")[1:3] == ["localhost", "b.example?"]
    assert about(home, "listen")[1:] == [
        f"{service} 127.0.0.1:{port}" for service, port in (("smtp", 0), ("pop3", 2110), ("qmtp", 0), ("qmqp", 0))
    ]


def test_trouble(home):
    (home / "control/databytes").write_bytes(b"lots\n")
    assert about(home, "databytes") == [
        "databytes: Oops! Trouble reading this file.",
        "Oops! Line 1 does not begin with a digit; write a whole number, or remove the file for the default.",
    ]
    (home / "control/me").unlink()
    assert about(home, "me")[0] == "me: (Default.) Undefined."
    assert about(home, "me")[1].startswith("Oops! It does not exist; ")


def test_compiled_file_that_is_too_old(home):
    (home / "control/morercpthosts").write_bytes(b"example.org\n")
    assert launch("qmail-newmrh", env={"QMAILHOME": str(home)}).returncode == 0
    os.utime(home / "control/morercpthosts.cdb", (1000, 1000))
    assert about(home, "morercpthosts.cdb")[1] == "Oops! It is older than control/morercpthosts; call qmail-newmrh."


def test_unknown_file(home):
    (home / "control/notes").write_bytes(b"")
    (home / "control/.hidden").write_bytes(b"")
    assert showctl(home)[-1] == ["notes: I have no idea what this file does."]


def test_system_home_has_the_accounts(home):
    (home / "control/mode").write_bytes(b"system\n")
    ids = next(line for line in showctl(home)[0] if line.startswith("user ids: "))
    assert len(ids.split(", ")) == 8
    assert ids.split(", ")[3] == "0"


def test_no_installation(tmp_path):
    done = launch("qmail-showctl", env={"QMAILHOME": str(tmp_path)})
    assert done.returncode == 111
    assert done.stderr == f"qmail-showctl: fatal: unable to list {tmp_path}/control: file does not exist\n".encode()
    assert launch("qmail-showctl", "x", env={"QMAILHOME": str(tmp_path)}).returncode == 100
