"""config-fast as a process: what it writes, and what it leaves alone. config: what it says without the DNS."""

import os
import stat

import pytest
from tests.programs.launch import launch

FILES = ("defaultdomain", "locals", "me", "plusdomain", "rcpthosts")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "control").mkdir()
    return tmp_path


def run(home, *args, name="config-fast"):
    done = launch(name, *args, env={"QMAILHOME": str(home)})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def written(home):
    return {name: (home / "control" / name).read_text() for name in sorted(os.listdir(home / "control"))}


@pytest.mark.parametrize(
    ("name", "default", "plus"),
    [
        ("mail.example.com", "example.com", "example.com"),
        ("a.b.example.com", "b.example.com", "example.com"),
        ("example.com", "example.com", "example.com"),
        ("localhost", "localhost", "localhost"),
        ("example.co.uk", "example.co.uk", "example.co.uk"),
        ("mail.example.co.uk", "example.co.uk", "example.co.uk"),
        ("mail.example.test", "example.test", "example.test"),
    ],
)
def test_what_is_written(home, name, default, plus):
    code, out, error = run(home, name)
    assert (code, error) == (0, "")
    expected = {"me": name, "defaultdomain": default, "plusdomain": plus, "locals": name, "rcpthosts": name}
    assert written(home) == {file: f"{text}\n" for file, text in expected.items()}
    assert out.splitlines()[:5] == [f"control/{file}: {text}" for file, text in expected.items()]
    for file in FILES:
        assert stat.S_IMODE((home / "control" / file).stat().st_mode) == 0o644


def test_the_name_is_kept_as_the_dns_has_it(home):
    assert run(home, "Mail.Example.COM.")[0] == 0
    assert written(home)["me"] == "mail.example.com\n"


def test_modes_do_not_depend_on_the_caller(home):
    mask = os.umask(0o077)
    try:
        assert run(home, "mail.example.com")[0] == 0
    finally:
        os.umask(mask)
    assert {stat.S_IMODE((home / "control" / file).stat().st_mode) for file in FILES} == {0o644}


@pytest.mark.parametrize(
    "name", ["", "mail", "a..b", "-a.b", "192.0.2.1", "a b.c", "m\u00fcller.example", "x" * 64 + ".com"]
)
def test_names_that_are_none(home, name):
    code, out, error = run(home, name)
    assert (code, out) == (100, "")
    assert error.startswith("config-fast: fatal: ")
    assert written(home) == {}


@pytest.mark.parametrize("file", FILES)
def test_nothing_that_is_there_is_changed(home, file):
    (home / "control" / file).write_text("other.example\n")
    (home / "control/timeoutsmtpd").write_text("60\n")
    before = written(home)
    code, out, error = run(home, "mail.example.com")
    assert (code, out) == (100, "")
    assert error.startswith(f"config-fast: fatal: control/{file} in {home} would be changed: nothing is written.")
    assert written(home) == before


def test_what_is_missing_is_completed(home):
    assert run(home, "mail.example.com")[0] == 0
    whole = written(home)
    (home / "control/locals").unlink()
    code, out, _ = run(home, "mail.example.com")
    assert (code, out.splitlines()[0]) == (0, "control/locals: mail.example.com")
    assert out.count("control/") == 2  # one file, and what is said of rcpthosts
    assert written(home) == whole


def test_no_home_and_wrong_calls(tmp_path):
    assert run(tmp_path / "none", "a.example") == (
        111, "", f"config-fast: fatal: unable to chdir to {tmp_path}/none: file does not exist\n",
    )  # fmt: skip
    code, _, error = run(tmp_path, "a.example")
    assert (code, error) == (111, f"config-fast: fatal: unable to write {tmp_path}/control/me: file does not exist\n")
    assert launch("config-fast").returncode == 100
    for args in ((), ("a.example", "b.example")):
        assert run(tmp_path, *args) == (100, "", "config-fast: usage: config-fast name\n")


def test_config_called_wrongly_or_without_a_home(tmp_path):
    assert run(tmp_path, "x", name="config") == (100, "", "config: usage: config\n")
    assert run(tmp_path / "none", name="config") == (
        111, "", f"config: fatal: unable to chdir to {tmp_path}/none: file does not exist\n",
    )  # fmt: skip


def test_config_without_name_servers(home):
    """From those of $DNSCACHEIP nothing is heard."""
    done = launch("config", env={"QMAILHOME": str(home), "DNSCACHEIP": "127.255.255.1", "LOCALDOMAIN": "example.test"})
    assert done.returncode == 111
    assert done.stderr.startswith(b"config: fatal: ")
    assert written(home) == {}
