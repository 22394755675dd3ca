"""A session between a socket and a Maildir."""

import os
import socket
import threading

import pytest
from tests.unit.storage.test_maildrop import OLD, Counting, names, put

from quail.services.popd.session import MaildirError, serve
from quail.storage.calls import REAL, SystemCalls
from quail.storage.maildir import make

LARGE = b"Subject: large\n\n" + b".a line of it\n" * 50_000  # more than two pieces
PATIENCE = 60


class Session:
    """serve() in a thread, and its client."""

    def __init__(self, maildir, **options):
        self.socket, self.theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self._lines = self.socket.makefile("rb")
        self.served = self.error = None
        self._thread = threading.Thread(target=self._serve, args=(maildir, options), daemon=True)
        self._thread.start()

    def _serve(self, maildir, options):
        fd = self.theirs.fileno()
        try:
            self.served = serve(fd, fd, maildir, **options)
        except MaildirError as error:
            self.error = error
        finally:
            self.theirs.close()

    def line(self):
        return self._lines.readline()

    def ask(self, command):
        self.socket.sendall(command + b"\r\n")
        return self.line()

    def text(self):
        """Lines up to the dot, without it."""
        lines = []
        while (line := self.line()) != b".\r\n":
            assert line.endswith(b"\r\n")
            lines.append(line)
        return b"".join(lines)

    def end(self):
        """What serve() has returned, once it has."""
        self._lines.close()
        self.socket.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.served


@pytest.fixture
def maildir(tmp_path):
    path = str(tmp_path / "Maildir")
    make(REAL, path)
    put(path, "new/1", b"Subject: one\n\n.\n")
    put(path, "cur/2:2,S", LARGE, OLD + 1)
    return path


def test_a_session(maildir):
    session = Session(maildir)
    assert session.line() == b"+OK \r\n"
    wire = LARGE.replace(b"\n", b"\r\n")
    assert session.ask(b"STAT") == b"+OK 2 %d\r\n" % (19 + len(wire))
    assert session.ask(b"UIDL 2") == b"+OK 2 2\r\n"
    assert session.ask(b"RETR 2") == b"+OK \r\n"
    assert session.text() == wire.replace(b"\n.", b"\n..")
    assert session.ask(b"TOP 2 1") == b"+OK \r\n"
    assert session.text() == b"Subject: large\r\n\r\n..a line of it\r\n"
    assert session.ask(b"RETR 1") == b"+OK \r\n"
    assert session.text() == b"Subject: one\r\n\r\n..\r\n"
    assert session.ask(b"DELE 2") == b"+OK \r\n"
    assert session.ask(b"QUIT") == b"+OK \r\n"
    assert session.line() == b""
    served = session.end()
    assert (served.reason, served.messages, served.sent, served.removed, served.failures) == ("quit", 2, 3, 1, [])
    assert names(maildir) == ["cur/1:2,"]


def test_what_deliveries_have_left_behind_is_removed(maildir):
    put(maildir, "tmp/dead", when=OLD)
    session = Session(maildir)
    session.line()
    session.end()
    assert os.listdir(f"{maildir}/tmp") == []


def test_a_small_message_costs_three_calls(maildir):
    calls = Counting()
    session = Session(maildir, calls=calls)
    session.line()
    calls.count.clear()
    for _ in range(10):
        session.ask(b"RETR 1")
        session.text()
    session.end()
    assert calls.count == {"open": 10, "pread": 10}  # and close


def test_pipelining(maildir):
    session = Session(maildir, rest=b"NOOP\r\nLIST")
    session.socket.sendall(b" 1\r\n" + b"RETR 1\r\nRETR 2\r\n" * 20 + b"QUIT\r\n")
    assert [session.line() for _ in range(3)] == [b"+OK \r\n", b"+OK \r\n", b"+OK 1 19\r\n"]
    for _ in range(20):
        assert session.line() == b"+OK \r\n"
        assert len(session.text()) == 20
        assert session.line() == b"+OK \r\n"
        assert len(session.text()) == len(LARGE) + 100_002
    assert session.line() == b"+OK \r\n"
    assert session.end().reason == "quit"


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_without_quit_nothing_changes(maildir, how):
    session = Session(maildir, **({"timeout": 0.05} if how == "silent" else {}))
    session.line()
    if how == "gone":
        session.ask(b"DELE 1")
        session.socket.shutdown(socket.SHUT_WR)
    assert session.line() == b""
    assert session.end().reason == {"gone": "end of input", "silent": "timeout"}[how]
    assert names(maildir) == ["cur/2:2,S", "new/1"]


def test_a_client_that_does_not_read(maildir):
    session = Session(maildir, timeout=0.05)
    session.socket.sendall(b"RETR 2\r\n" * 50)
    assert session._thread.join(PATIENCE) is None
    assert session.served.reason == "peer gone"
    session.end()


def test_no_maildir(tmp_path):
    session = Session(str(tmp_path / "none"))
    assert session.line() == b"-ERR this user has no $HOME/Maildir\r\n"
    session.end()
    assert "unable to read" in str(session.error)
    session = Session(str(tmp_path / "none"), missing_ok=True)
    session.line()
    assert session.ask(b"STAT") == b"+OK 0 0\r\n"
    assert session.ask(b"QUIT") == b"+OK \r\n"
    session.end()
    (tmp_path / "half").mkdir()
    session = Session(str(tmp_path / "half"), missing_ok=True)
    assert session.line() == b"-ERR unable to scan $HOME/Maildir\r\n"
    session.end()


def test_a_message_that_another_session_has_removed(maildir):
    session = Session(maildir)
    session.line()
    os.unlink(f"{maildir}/new/1")
    assert session.ask(b"RETR 1") == b"-ERR unable to open that message\r\n"
    assert session.ask(b"DELE 1") == b"+OK \r\n"
    assert session.ask(b"QUIT") == b"+OK \r\n"
    session.end()


class Failing(SystemCalls):
    """A disk that gives nothing from some place of a message on."""

    def __init__(self, at):
        self.at = at

    def pread(self, fd, size, offset):
        if offset >= self.at:
            raise OSError(5, "Input/output error")
        return os.pread(fd, size, offset)


@pytest.mark.parametrize(("at", "heard"), [(0, b"-ERR unable to open that message\r\n"), (1, b"+OK \r\n")])
def test_a_message_that_can_not_be_read(maildir, at, heard):
    session = Session(maildir, calls=Failing(at))
    session.line()
    assert session.ask(b"RETR 2") == heard
    if at:
        assert not session._lines.read().endswith(b"\r\n.\r\n")
    assert session.end().reason == ("message broken off" if at else "end of input")


def test_a_message_that_has_grown(maildir):
    session = Session(maildir)
    session.line()
    with open(f"{maildir}/new/1", "ab") as file:
        file.write(b"more\n")
    session.ask(b"RETR 1")
    assert session.text() == b"Subject: one\r\n\r\n..\r\nmore\r\n"
    session.end()


def test_what_can_not_be_removed(maildir):
    class Calls(SystemCalls):
        @staticmethod
        def unlink(path):
            raise PermissionError(13, "Permission denied", path)

    session = Session(maildir, calls=Calls())
    session.line()
    session.ask(b"DELE 1")
    assert session.ask(b"QUIT") == b"-ERR [SYS/TEMP] unable to unlink all deleted messages\r\n"
    assert len(session.end().failures) == 1


def test_quirks(maildir):
    put(maildir, "new/3", when=1 << 33)  # in the future
    session = Session(maildir, quirks=True)
    session.line()
    assert session.ask(b"DELE 2") == b"+OK \r\n"
    assert session.ask(b"STAT") == b"+OK 2 16\r\n"
    session.ask(b"RETR 1")
    assert session.text() == b"Subject: one\r\n\r\n..\r\n\r\n"
    session.end()


def test_pipes_and_sockets_that_do_not_block(maildir):
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    os.write(from_client, b"RETR 1\r\nQUIT\r\n")
    assert serve(to_server, from_server, maildir).reason == "quit"
    assert os.read(to_client, 4096) == b"+OK \r\n+OK \r\nSubject: one\r\n\r\n..\r\n.\r\n+OK \r\n"
    for fd in (to_server, from_client, to_client, from_server):
        os.close(fd)
    session = Session(maildir)
    session.line()
    session.end()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        ours.sendall(b"RETR 1\r\n" * 3 + b"QUIT\r\n")
        assert serve(theirs.fileno(), theirs.fileno(), maildir).reason == "quit"


class Broken:
    """A machine that fails, before or after its greeting."""

    def __init__(self, greeting):
        self._events = iter([None] if greeting else [])
        self._output = greeting

    def start(self):
        pass

    def next_event(self):
        try:
            return next(self._events)
        except StopIteration:
            raise RuntimeError("a bug") from None

    def take_output(self):
        return self._output

    def receive(self, data):
        pass


@pytest.mark.parametrize("greeting", [b"", b"+OK \r\n"])
def test_who_has_heard_nothing_yet_hears_of_a_failure(maildir, monkeypatch, greeting):
    """Behind a greeting another line could be taken for the answer to a command."""
    monkeypatch.setattr("quail.services.popd.session.Session", lambda *_, **__: Broken(greeting))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"STAT\r\n")
        with pytest.raises(RuntimeError):
            serve(theirs.fileno(), theirs.fileno(), maildir)
        theirs.shutdown(socket.SHUT_WR)
        assert ours.makefile("rb").read() == (greeting or b"-ERR [SYS/TEMP] unable to open the mailbox now\r\n")
