"""What becomes of a client who is accepted: a process serves them, or says that it can't.

The process's own beginnings are played: who it is and which descriptors it has.
"""

import errno
import os
import socket
import sys
import types

import pytest

from quail.net import descriptors
from quail.net.frames import Splitter, frame
from quail.services.authd import outside, session
from quail.users.check import Login


class ExitError(BaseException):
    """In place of os._exit()."""


class Serve:
    """A service."""

    def __init__(self):
        self.failure = None
        self.served = []

    def __call__(self, client, maildir, rest):
        self.served.append((maildir, rest, os.get_blocking(client)))
        if self.failure:
            raise self.failure
        os.write(client, b"+OK\r\n")
        return "quit"

    @staticmethod
    def excuse(*, lasting):
        return b"-ERR PERM\r\n" if lasting else b"-ERR TEMP\r\n"


class Both:
    """Both ends of the client's connection and of the words for authd."""

    def __init__(self):
        self.near, self.far = socket.socketpair()
        self.ours, self.theirs = socket.socketpair()
        self.near.setblocking(False)  # as popd has it
        for sock in (self.far, self.ours):
            sock.settimeout(10)

    def heard(self):
        """By the client, until its end."""
        self.near.close()
        data = b""
        while part := self.far.recv(100):
            data += part
        return data

    def words(self):
        return Splitter(1 << 16).feed(self.ours.recv(1 << 16))

    def close(self):
        for sock in (self.near, self.far, self.ours, self.theirs):
            sock.close()


@pytest.fixture
def both():
    made = Both()
    yield made
    made.close()


@pytest.fixture
def exits(monkeypatch):
    def leave(_code):
        raise ExitError

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(session.signal, "signal", lambda *_: None)


@pytest.fixture
def run(both, exits, monkeypatch, tmp_path):
    """session.run(), of a process that needs not become anybody; `fails` is what becoming it raises, `third` descriptor 3."""
    monkeypatch.chdir(tmp_path)

    def go(serve, *, home=str(tmp_path), fails=None, third=None):
        def become(_name, kept, **_):
            assert kept[:2] == [both.near.fileno(), both.theirs.fileno()]
            if fails:
                raise fails

        monkeypatch.setattr(session.shed, "become", become)
        monkeypatch.setattr(session, "_CLIENT", both.near.fileno() if third is None else third)
        monkeypatch.setattr(session, "_WORDS", both.theirs.fileno())
        monkeypatch.setattr(session, "_alarm", lambda _life: [])
        with pytest.raises(ExitError):
            session.run(
                both.near.fileno(),
                both.theirs,
                -1,
                Login(b"jane", 1, 1, os.fsencode(home)),
                serve=serve,
                maildir="Maildir",
                rest=b"STAT",
                name="pop3",
                nofile=(1, 1),
                system=False,
            )
        return both.heard(), both.words()

    return go


def test_a_session(run):
    serve = Serve()
    assert run(serve) == (b"+OK\r\n", [b"quit"])
    assert serve.served == [("Maildir", b"STAT", True)]


def test_a_home_that_is_not_there(run, tmp_path):
    serve = Serve()
    heard, (words,) = run(serve, home=str(tmp_path / "away"))
    assert heard == b"-ERR PERM\r\n"
    assert words == b"can't be served: the home can't be entered: file does not exist"
    assert serve.served == []


def test_a_home_that_is_away_for_a_while(run, monkeypatch):
    monkeypatch.setattr(os, "chdir", lambda _: (_ for _ in ()).throw(OSError(errno.ESTALE, "stale")))
    heard, (words,) = run(Serve())
    assert heard == b"-ERR TEMP\r\n"
    assert words.startswith(b"can't be served: the home can't be entered: ")


def test_who_can_not_become_the_user(run):
    heard, (words,) = run(Serve(), fails=OSError(errno.EAGAIN, "again"))
    assert heard == b"-ERR TEMP\r\n"
    assert words == b"can't be served: the process can't become the user: temporary failure"


def test_only_the_clients_own_connection_is_told(run, both):
    """Becoming the user moves descriptors: when that fails early, 3 may be another one."""
    heard, words = run(Serve(), fails=OSError(errno.EAGAIN, "again"), third=both.theirs.fileno())
    assert (heard, len(words)) == (b"-ERR TEMP\r\n", 1)


def test_a_service_that_fails_speaks_for_itself(run):
    """It may have said something already."""
    serve = Serve()
    serve.failure = RuntimeError("a bug")
    assert run(serve) == (b"", [b"RuntimeError('a bug')"])


def test_a_connection_that_can_not_be_prepared(run, monkeypatch):
    monkeypatch.setattr(os, "set_blocking", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOMEM, "no")))
    heard, (words,) = run(Serve())
    assert heard == b"-ERR TEMP\r\n"
    assert b"ENOMEM" in words or b"'no'" in words


# Behind another checkpassword


def prepare(control):
    del control
    return Serve()


def broken(control):
    del control
    raise NameError("nothing of that name")


@pytest.fixture
def become(both, exits, monkeypatch, tmp_path):
    """outside.main(), as checkpassword has started it."""

    def go(name):
        monkeypatch.setattr(sys, "argv", ["-c", "library", __name__, name, str(tmp_path), "Maildir", "single"])
        monkeypatch.setattr(outside, "socket", types.SimpleNamespace(socket=lambda fileno: both.theirs))
        monkeypatch.setenv("USER", "jane")
        with pytest.raises(ExitError):
            outside.main()
        return both

    return go


def test_outside_it_gets_the_connection_after_its_yes(become, both):
    both.ours.sendmsg([frame(b"STAT")], descriptors.rights(both.near.fileno()))
    become("prepare")
    verdict, words = both.words()
    assert verdict.startswith(b"Kjane\0")
    assert words == b"quit"
    both.near.close()
    assert both.far.recv(100) == b"+OK\r\n"


def test_outside_an_error_is_no_wrong_password(become, both):
    """NameError begins as the word for one does."""
    become("broken")
    assert both.words() == [b"TNameError('nothing of that name')"]


def test_outside_without_authd(become, both):
    both.ours.shutdown(socket.SHUT_WR)
    become("prepare")
    assert [words[:1] for words in both.words()] == [b"K", b"T"]
