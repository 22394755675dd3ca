"""The three answers at RCPT: known, unknown, trouble; and that doubt never refuses mail."""

import errno
import os

import pytest

from quail.errors import ConfigError, TemporaryError
from quail.net.users_protocol import KNOWN, TROUBLE, UNKNOWN, Owner
from quail.users import rcpt


def owner(home, dash=b"-", ext=b"a-b"):
    return lambda _local: Owner(b"joe", 1001, 100, os.fsencode(home), dash, ext)


def answer(find, local=b"joe-a-b"):
    return rcpt.check(local, find)[0]


def test_nobody_owns_it():
    assert rcpt.check(b"x", lambda _local: None) == (UNKNOWN, b"")


def test_asks_for_the_local_part_as_it_came():
    asked = []
    rcpt.check(b"Joe-X", asked.append)
    assert asked == [b"Joe-X"]


def test_the_address_itself_needs_no_file_and_no_home():
    assert answer(owner("/nonexistent", dash=b"", ext=b"")) == KNOWN


@pytest.mark.parametrize("name", [".qmail-a-b", ".qmail-a-default", ".qmail-default"])
def test_any_file_of_the_search_will_do(tmp_path, name):
    assert answer(owner(tmp_path)) == UNKNOWN
    (tmp_path / name).touch()
    assert answer(owner(tmp_path)) == KNOWN


@pytest.mark.parametrize("name", [".qmail-a", ".qmail-a-b-default", ".qmail", ".qmail-b"])
def test_other_files_will_not(tmp_path, name):
    (tmp_path / name).touch()
    assert answer(owner(tmp_path)) == UNKNOWN


def test_only_a_file_counts_also_through_a_link(tmp_path):
    (tmp_path / ".qmail-a-b").mkdir()
    os.mkfifo(tmp_path / ".qmail-a-default")
    (tmp_path / ".qmail-default").symlink_to("nowhere")
    assert answer(owner(tmp_path)) == UNKNOWN
    (tmp_path / "nowhere").touch()
    assert answer(owner(tmp_path)) == KNOWN


def test_names_that_no_file_can_have_leave_the_default(tmp_path):
    long = owner(tmp_path, ext=b"x" * 800)
    assert answer(long) == UNKNOWN
    (tmp_path / ".qmail-default").touch()
    assert answer(long) == KNOWN


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_closed_home_takes_the_mail(monkeypatch, code):
    monkeypatch.setattr(rcpt.os, "stat", fails_with(code))
    assert rcpt.check(b"joe-a-b", owner("/home/joe")) == (KNOWN, b"")


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT])
def test_a_sick_disk_is_trouble(monkeypatch, code):
    monkeypatch.setattr(rcpt.os, "stat", fails_with(code))
    letter, text = rcpt.check(b"joe-a-b", owner("/home/joe"))
    assert letter == TROUBLE
    assert text.startswith(b"/home/joe/.qmail-a-b: ")


def fails_with(code):
    real = os.stat

    def stat(path, **more):
        if not isinstance(path, bytes):
            return real(path, **more)  # pytest's own
        raise OSError(code, os.strerror(code), path)

    return stat


def test_a_home_that_is_not_there_is_trouble(tmp_path):
    gone = tmp_path / "gone"
    assert rcpt.check(b"joe-a-b", owner(gone)) == (TROUBLE, os.fsencode(gone) + b": file does not exist")
    gone.touch()
    assert rcpt.check(b"joe-a-b", owner(gone)) == (TROUBLE, os.fsencode(gone) + b": not a directory")


@pytest.mark.parametrize("error", [TemporaryError("no disk"), ConfigError("users/cdb", 0, "is bad", "make it good")])
def test_trouble_with_the_look_up_is_told(error):
    def find(_local):
        raise error

    assert rcpt.check(b"joe", find) == (TROUBLE, str(error).encode())


@pytest.mark.parametrize("local", [b"", b"joe\0", b"\0"])
def test_what_can_be_nobody_is_not_even_looked_up(local):
    asked = []
    assert rcpt.check(local, asked.append) == (UNKNOWN, b"")
    assert not asked
