"""authd's loop, with processes that are played by the test: who is judged when, what their words do, and who is killed.

Whoever judges with control/checkpassword set may be a process of the user, who can have it say anything at any time.
"""

import os
import signal
import socket
import time

import pytest

from quail.net import descriptors
from quail.net.authd_protocol import ACCEPTED, MAX_VERDICT, REFUSED, TROUBLE, Request, decode_verdict, encode_request
from quail.net.frames import Splitter, frame
from quail.services.authd import service as module
from quail.services.authd.service import CHECKS, PATIENCE, SESSIONS_OF_USER
from quail.supervise.context import Context
from quail.users.check import Login, accepted, refused_for

JANE = accepted(Login(b"jane", 2001, 2001, b"/home/jane"))
CHECKS_OF_NAME = getattr(module, "CHECKS_OF_NAME", 2)


class Process:
    """A child that was never forked: `sock` is its end of the socketpair."""

    def __init__(self, pid, attempt, sock):
        self.pid, self.user, self.sock = pid, attempt.request.user, sock

    def say(self, *payloads):
        self.sock.sendall(b"".join(map(frame, payloads)))

    def hear(self):
        """Frames from authd, and descriptors."""
        data, ancillary, _, _ = self.sock.recvmsg(1 << 20, descriptors.SPACE)
        return Splitter(1 << 20).feed(data), descriptors.received(ancillary)


class Authd(module.Authd):
    def _fork(self, attempt):
        ours, theirs = socket.socketpair()
        self.sockets += (ours, theirs)
        self.forked.append(Process(1000 + len(self.forked), attempt, theirs.dup()))
        return self.forked[-1].pid, ours, theirs


class House:
    def __init__(self, path, monkeypatch):
        (path / "control").mkdir()
        (path / "control/me").write_text("localhost\n")
        (path / "run").mkdir()
        monkeypatch.chdir(path)
        monkeypatch.setenv("QMAILHOME", str(path))
        self.path = path
        self.lines = []
        self.killed = []  # (pid, whether its group)
        self.ended = []
        self.now = time.monotonic()
        monkeypatch.setattr(os, "kill", lambda pid, number: self._kill(pid, number, group=False))
        monkeypatch.setattr(os, "killpg", lambda pid, number: self._kill(pid, number, group=True))
        monkeypatch.setattr(os, "waitpid", self._wait)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("run/authd.sock")
        self.listener.listen()
        self.life = os.pipe()
        context = Context(
            home=str(path),
            mode="single",
            sockets={"authd.sock": self.listener},
            life_fd=self.life[0],
            worker=0,
            log=self.lines.append,
            nofile=(1024, 1024),
            uids={},
        )
        self.authd = Authd(context, {b"pop3": lambda _control: None})
        self.authd.forked = self.forked = []
        self.authd.sockets = []
        self.authd._clock = lambda: self.now
        self.popd = socket.socket(socket.AF_UNIX)
        self.popd.connect("run/authd.sock")
        self.splitter = Splitter(MAX_VERDICT)
        self.clients = {}
        self.tag = 0
        self.turn()

    def _kill(self, pid, number, *, group):
        assert pid in {process.pid for process in self.forked}
        if number == signal.SIGKILL:
            self.killed.append((pid, group))

    def _wait(self, *_):
        if not self.ended:
            raise ChildProcessError
        return self.ended.pop(0)

    def checkpassword(self, words):
        (self.path / "control/checkpassword").write_text(f"{words}\n")
        self.authd._reread()

    def turn(self, seconds=0.0):
        self.now += seconds
        for _ in range(3):
            self.authd._loop.once(0)
        self.authd._give_up_late()

    def ask(self, user=b"jane", rest=b"", age=0.0):
        """A log-in with a client's connection, whose far end is in self.clients."""
        self.tag += 1
        near, self.clients[self.tag] = socket.socketpair()
        asked = int((self.now - age) * 1000)
        request = Request(self.tag, b"P", service=b"pop3", user=user, secret=b"secret", rest=rest, asked=asked)
        self.popd.sendmsg([encode_request(request)], descriptors.rights(near.fileno()))
        near.close()
        self.turn()
        return self.tag

    def verdicts(self):
        """What popd hears: (tag, letter) of each."""
        self.turn()
        try:
            data = self.popd.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        return [decode_verdict(payload)[:2] for payload in self.splitter.feed(data)]

    def is_let_go(self, tag):
        client = self.clients[tag]
        client.setblocking(False)
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False

    def end(self, process, status=0, *, silent=True):
        """The process has ended; not silent: before authd has read its last words."""
        if silent:
            self.turn()
        process.sock.close()
        self.ended.append((process.pid, status))
        self.authd._reap()

    def judged(self):
        return sorted(self.authd._judged)

    def session(self, user=b"jane"):
        """One that has been opened: the process."""
        tag = self.ask(user)
        process = self.forked[-1]
        process.say(JANE)
        assert self.verdicts() == [(tag, ACCEPTED)]
        if process is self.forked[-1]:
            return process  # of another checkpassword
        self.end(process)
        return self.forked[-1]

    def close(self):
        for attempt in [*self.authd._waiting, *self.authd._judged.values()]:
            attempt.close()
        for origin in self.authd._origins:
            origin.close()
        self.authd._loop.close()
        for sock in (
            *self.authd.sockets,
            *(process.sock for process in self.forked),
            *self.clients.values(),
            self.popd,
            self.listener,
        ):
            sock.close()
        for fd in self.life:
            os.close(fd)


@pytest.fixture
def house(tmp_path, monkeypatch):
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)}
    environment = dict(os.environ)
    made = House(tmp_path, monkeypatch)
    os.environ.update(environment)
    yield made
    made.close()
    for number, handler in kept.items():
        signal.signal(number, handler)
    os.environ.update(environment)


@pytest.fixture
def outside(house):
    house.checkpassword("/bin/another")
    return house


# Verdicts


def test_a_session_of_our_own_judgment(house):
    tag = house.ask()
    (judge,) = house.forked
    judge.say(JANE)
    assert house.verdicts() == [(tag, ACCEPTED)]
    judge, session = house.forked
    house.end(judge)
    assert (house.judged(), house.killed) == ([], [])
    session.say(b"quit")
    house.end(session)
    assert house.lines == ["session of jane from nowhere by pop3 ended: quit"]


def test_a_wrong_password(house):
    tag = house.ask()
    house.forked[0].say(b"N")
    assert house.verdicts() == [(tag, REFUSED)]
    assert house.is_let_go(tag)


def test_another_checkpassword_gets_the_connection_when_popd_has_lost_it(outside):
    """Until then whoever judges has nothing of it: popd may have to go on with it."""
    tag = outside.ask(rest=b"STAT\r\n")
    (process,) = outside.forked
    process.say(JANE)
    assert outside.verdicts() == [(tag, ACCEPTED)]
    frames, (client,) = process.hear()
    assert frames == [b"STAT\r\n"]
    os.write(client, b"+OK")
    assert outside.clients[tag].recv(10) == b"+OK"
    os.close(client)
    assert outside.is_let_go(tag)
    process.say(b"quit")
    outside.end(process, silent=False)
    assert outside.lines == ["session of jane from nowhere by pop3 ended: quit"]


@pytest.mark.parametrize(("code", "letter"), [(1, REFUSED), (2, TROUBLE), (111, TROUBLE), (0, TROUBLE)])
def test_another_checkpassword_ends(outside, code, letter):
    tag = outside.ask()
    outside.end(outside.forked[0], code << 8)
    assert outside.verdicts() == [(tag, letter)]


# Who judges is settled when it begins


def test_another_checkpassword_that_is_switched_off_meanwhile_names_nobody(outside):
    """Its word has no more weight for it: it can't name a uid for a process that authd forks."""
    tag = outside.ask()
    (process,) = outside.forked
    outside.checkpassword("")
    process.say(accepted(Login(b"mallory", 0, 0, b"/root")))
    assert outside.verdicts() == [(tag, ACCEPTED)]
    assert outside.forked == [process]
    assert process.hear()[0] == [b""]


def test_another_checkpassword_that_is_switched_on_meanwhile(house):
    tag = house.ask()
    (judge,) = house.forked
    house.checkpassword("/bin/another")
    judge.say(JANE)
    assert house.verdicts() == [(tag, ACCEPTED)]
    assert len(house.forked) == 2  # the session is another process, as it would have been


@pytest.mark.parametrize(("before", "after", "letter"), [("/bin/x", "", REFUSED), ("", "/bin/x", TROUBLE)])
def test_what_an_end_means_is_settled_too(house, before, after, letter):
    house.checkpassword(before)
    tag = house.ask()
    house.checkpassword(after)
    house.end(house.forked[0], 1 << 8)
    assert house.verdicts() == [(tag, letter)]


# Time


def test_a_log_in_that_has_been_on_its_way_for_too_long(house):
    tag = house.ask(age=PATIENCE)
    assert house.verdicts() == [(tag, TROUBLE)]
    assert (house.forked, house.is_let_go(tag)) == ([], True)


def test_its_time_begins_when_popd_asked(house):
    tag = house.ask(age=PATIENCE - 1)
    house.turn(1.5)
    assert house.verdicts() == [(tag, TROUBLE)]
    assert house.killed[0] == (house.forked[0].pid, False)


def test_a_log_in_of_the_future_has_no_more_time(house):
    tag = house.ask(age=-3600)
    house.turn(PATIENCE + 1)
    assert house.verdicts() == [(tag, TROUBLE)]


def test_a_yes_that_comes_too_late(house):
    """authd has been stopped for a while, and popd has given up."""
    tag = house.ask()
    house.forked[0].say(JANE)
    house.now += PATIENCE + 1
    assert house.verdicts() == [(tag, TROUBLE)]
    assert len(house.forked) == 1


def test_those_that_wait_are_given_up_in_any_order(house):
    for number in range(CHECKS):
        house.ask(b"user%d" % number)
    first = house.ask(b"first")
    second = house.ask(b"second", age=PATIENCE - 1)
    assert house.verdicts() == []
    house.turn(2)
    assert house.verdicts() == [(second, TROUBLE)]
    assert not house.is_let_go(first)


# Nobody keeps a place


@pytest.mark.parametrize("word", [b"N", refused_for("why"), b"junk", b"Kjane\0x\x001\0/\0/bin/sh"])
def test_who_has_answered_is_killed_at_once(outside, word):
    tag = outside.ask()
    outside.forked[0].say(word)
    assert outside.verdicts() == [(tag, REFUSED if word == b"N" else TROUBLE)]
    assert outside.killed[0] == (outside.forked[0].pid, True)


def test_who_has_answered_and_lives_on_is_killed_at_its_time(house):
    """Of our own processes that judge: they end by themselves."""
    house.ask()
    house.forked[0].say(JANE)
    house.verdicts()
    house.turn(PATIENCE + 1)
    assert house.killed == [(house.forked[0].pid, False)]


def test_who_is_one_session_too_many_is_killed(outside):
    (outside.path / "control/concurrencypop3").write_text("1\n")
    outside.authd._reread()
    outside.session()
    tag = outside.ask()
    outside.forked[-1].say(JANE)
    assert outside.verdicts() == [(tag, TROUBLE)]
    assert outside.killed[0] == (outside.forked[-1].pid, True)


def test_one_name_has_its_share_of_checks(house):
    for _ in range(CHECKS):
        house.ask(b"jane")
        house.ask(b"JANE")
    assert [process.user.lower() for process in house.forked] == [b"jane"] * CHECKS_OF_NAME
    house.ask(b"joe")
    assert house.forked[-1].user == b"joe"
    house.end(house.forked[0])
    assert house.forked[-1].user.lower() == b"jane"
    assert len(house.judged()) == CHECKS_OF_NAME + 1


def test_one_name_does_not_fill_the_queue(house):
    for _ in range(CHECKS_OF_NAME + SESSIONS_OF_USER):
        house.ask(b"jane")
    assert house.verdicts() == []
    assert house.verdicts() == []
    tag = house.ask(b"jane")
    assert house.verdicts() == [(tag, TROUBLE)]
    house.ask(b"joe")
    assert house.forked[-1].user == b"joe"


def test_a_process_that_has_not_left_our_group_yet(outside, monkeypatch):
    def no_group(_pid, _number):
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", no_group)
    outside.ask()
    outside.turn(PATIENCE + 1)
    assert outside.killed == [(outside.forked[0].pid, False)]


def test_at_the_end_whole_groups_are_killed(outside):
    session = outside.session()
    outside.ask(b"joe")
    outside.authd._terminate()
    assert (outside.forked[-1].pid, True) in outside.killed
    outside.killed.clear()
    outside.now += module.STOP_WITHIN
    outside.authd.serve()
    assert (session.pid, True) in outside.killed


def test_a_session_of_another_account_does_not_stop_the_end(outside, monkeypatch):
    """Of a checkpassword that is set-uid, in a single home, whose owner may not send it signals."""
    outside.session()
    told = []

    def not_ours(pid, _number):
        told.append(pid)
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_ours)
    monkeypatch.setattr(os, "killpg", not_ours)
    tag = outside.ask(b"joe")
    outside.authd._terminate()
    assert outside.verdicts() == [(tag, TROUBLE)]
    assert set(told) == {process.pid for process in outside.forked}


# Words


def test_a_yes_with_the_last_breath(outside):
    """The number of a process that has been reaped may be anybody's."""
    tag = outside.ask()
    outside.forked[0].say(JANE)
    outside.end(outside.forked[0], silent=False)
    assert outside.verdicts() == [(tag, TROUBLE)]
    assert outside.authd._sessions == {}


def test_the_last_breath_of_our_own_judge_counts(house):
    tag = house.ask()
    house.forked[0].say(JANE)
    house.end(house.forked[0], silent=False)
    assert house.verdicts() == [(tag, ACCEPTED)]


@pytest.mark.parametrize("checkpassword", ["", "/bin/another"])
def test_a_session_has_one_word_for_the_log(house, checkpassword):
    house.checkpassword(checkpassword)
    session = house.session()
    session.say(b"x" * 5000, b"more")
    house.turn()
    assert house.lines == [f"session of jane from nowhere by pop3 ended: {'x' * module.session.MAX_WORDS}"]
    with pytest.raises(BrokenPipeError):
        session.say(b"and more")
    house.end(session)
    assert len(house.lines) == 1


def test_the_last_words_of_another_checkpasswords_session(outside):
    session = outside.session()
    session.say(b"quit")
    outside.end(session, silent=False)
    assert outside.lines == ["session of jane from nowhere by pop3 ended: quit"]


def test_trouble_is_cut_in_the_log(outside):
    outside.ask()
    outside.forked[0].say(b"T" + b"x" * 10_000)
    outside.turn()
    assert len(outside.lines) == 1
    assert len(outside.lines[0]) < 1200


@pytest.mark.parametrize("word", [b"N", b"Twhy", JANE])
def test_the_secret_is_not_kept(outside, word):
    requests = []
    fork = outside.authd._fork
    outside.authd._fork = lambda attempt: (requests.append(attempt.request), fork(attempt))[1]
    outside.ask(rest=b"STAT\r\n")
    assert requests[0].secret == b"secret"
    outside.forked[0].say(word)
    outside.turn()
    assert (requests[0].secret, requests[0].rest) == (b"", b"")
