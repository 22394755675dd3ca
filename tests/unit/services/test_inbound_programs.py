"""Mail of clients whose rule sets QMAILQUEUE, given to real programs by the services: what those get, and what is heard of
their end.
"""

import asyncio
import os

import pytest
import uvloop
from tests import signals
from tests.programs.queue_home import KEEP

from quail.net.frames import frame
from quail.queue import exits
from quail.queue.handover import BODY_FIRST, END, MAX_RECIPIENTS, encode_envelope
from quail.services.inbound import programs as module
from quail.services.inbound.programs import MOST_AT_ONCE, Programs

ENVELOPE = encode_envelope(b"s@x", [b"a@b", b"c@d"], [(b"smtputf8", b"")])
BODY = frame(b"one\n") + frame(b"two\n")


class Borrower:
    gone = False

    def __init__(self):
        self.reply = asyncio.get_running_loop().create_future()

    def handed_over(self, reply):
        self.reply.set_result((reply.letter, reply.text))

    def has_gone(self):
        return self.gone

    def pause_message(self, paused):
        raise AssertionError(paused)


class Stage:
    """A home whose program is a shell script."""

    def __init__(self, home):
        self.home = home
        self.lines = []
        self.script = home / "scan"
        self.uid = 1

    def run(self, play):
        """Play an async function of the programs in uvloop, as the services do."""

        async def main():
            loop = asyncio.get_running_loop()
            return await play(Programs(loop, str(self.home), self.lines.append, uid=lambda: self.uid))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())

    def does(self, body):
        self.script.write_text(f"#!/bin/sh\n{body}\n")
        self.script.chmod(0o755)

    def pool(self, programs, **environment):
        return programs.pool(os.fsencode(self.script), {name.encode(): value for name, value in environment.items()})

    def send(self, frames=ENVELOPE + BODY + END, **environment):
        async def play(programs):
            borrower = Borrower()
            self.pool(programs, **environment).submit(frames, borrower)
            return await borrower.reply

        return self.run(play)

    def read(self, name):
        return (self.home / name).read_bytes()


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # as the services are in their home
    return Stage(tmp_path)


@pytest.mark.parametrize("frames", [ENVELOPE + BODY + END, BODY_FIRST + BODY + END + ENVELOPE], ids=["first", "last"])
@pytest.mark.parametrize("piece", [1, 10_000])
def test_a_message(stage, frames, piece):
    stage.does(KEEP)

    async def play(programs):
        borrower = Borrower()
        handoff = stage.pool(programs).acquire(borrower)
        for at in range(0, len(frames), piece):
            handoff.write(frames[at : at + piece])
        return await borrower.reply

    assert stage.run(play) == (b"K", stage.read("pid").strip())
    assert stage.read("message") == b"one\ntwo\n"
    assert stage.read("envelope") == b"Fs@x\0Ta@b\0Tc@d\0\0"


def test_what_it_finds(stage):
    """The session's variables over the service's own, no signal ignored, nothing open that it should not have."""
    stage.does(
        'pwd > where; echo "$0 $#" > called; ls /proc/$$/fd > open; env > variables; '
        f"grep -E '^Sig(Blk|Ign)' /proc/self/status > signals; {KEEP}"
    )
    assert stage.send(TCPREMOTEIP=b"192.0.2.1", RELAYCLIENT=b"")[0] == b"K"
    assert stage.read("where").decode() == f"{os.path.realpath(stage.home)}\n"
    assert stage.read("called").decode() == f"{stage.script} 0\n"
    expected = {"0", "1", "2", "4", "6"}
    # Others are the shell's own (from 10 on), or those of whoever runs the tests.
    own = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    given = {fd for fd in own if os.get_inheritable(int(fd))}
    found = {fd.decode() for fd in stage.read("open").split()}
    assert expected <= found <= expected | given | {"10", "11", "12", "13", "255"}
    variables = set(stage.read("variables").splitlines())
    assert {b"TCPREMOTEIP=192.0.2.1", b"RELAYCLIENT=", b"QMAILHOME=" + os.fsencode(stage.home)} <= variables
    assert [signals.of_mask(line.split()[1]) for line in stage.read("signals").splitlines()] == [set(), set()]


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ("exit 31", exits.reply(31)),
        ("exit 71", exits.reply(71)),
        ("exit 53", exits.reply(53)),
        ("printf 'Dvirus (#5.7.1)' >&4; exit 82", exits.reply(82, b"Dvirus (#5.7.1)")),
        ("printf 'Zlater (#4.7.1)' >&6; exit 88", exits.reply(82, b"Zlater (#4.7.1)")),
        ("kill -9 $$", exits.CRASHED),
    ],
)
def test_its_end_is_the_reply(stage, body, reply):
    stage.does(body)
    assert stage.send() == (reply.letter, reply.text)


def test_a_program_that_is_not_there(stage):
    assert stage.send() == (b"Z", exits.reply(exits.CANNOT_EXECUTE).text)


def test_it_is_never_run_as_root(stage):
    stage.does("touch ran")
    stage.uid = 0
    assert stage.send() == (b"Z", exits.CANNOT_RUN.text)
    assert not (stage.home / "ran").exists()
    assert stage.lines == [f"warning: QMAILQUEUE={stage.script} of an access rule is not run by a service that is root"]


def test_one_that_takes_too_long_is_killed(stage, monkeypatch):
    monkeypatch.setattr(module, "TIME_LIMIT", 0.1)
    stage.does("exec sleep 1000")
    assert stage.send() == (b"Z", exits.reply(exits.TIMEOUT).text)


def test_so_many_at_once_and_nobody_is_scanned_for_who_has_gone(stage):
    os.mkfifo(stage.home / "go")
    os.mkfifo(stage.home / "started")
    stage.does("echo > started; read word < go; cat > /dev/null")

    async def play(programs):
        pool, borrowers = stage.pool(programs), [Borrower() for _ in range(MOST_AT_ONCE + 3)]
        for borrower in borrowers:
            pool.submit(ENVELOPE + BODY + END, borrower)
        borrowers[-1].gone = True
        begun = 0
        while begun < MOST_AT_ONCE:
            begun += len(await asyncio.to_thread(os.read, started, 100))
        assert begun == MOST_AT_ONCE
        assert not any(borrower.reply.done() for borrower in borrowers)
        os.write(go, b"go\n" * len(borrowers))
        return [(await borrower.reply)[0] for borrower in borrowers[:-1]]

    # Open for both, a FIFO is never at its end.
    started, go = (os.open(stage.home / name, os.O_RDWR | os.O_CLOEXEC) for name in ("started", "go"))
    try:
        assert stage.run(play) == [b"K"] * (MOST_AT_ONCE + 2)
        assert len(os.read(started, 100)) == 2
    finally:
        os.close(started)
        os.close(go)


def test_an_abandoned_message_is_not_given_to_it(stage):
    stage.does("touch ran")

    async def play(programs):
        before = os.listdir("/proc/self/fd")
        borrower = Borrower()
        handoff = stage.pool(programs).acquire(borrower)
        handoff.write(ENVELOPE + BODY)
        handoff.abandon()
        assert os.listdir("/proc/self/fd") == before
        assert not borrower.reply.done()

    stage.run(play)
    assert not (stage.home / "ran").exists()


def test_nothing_stays_open(stage):
    stage.does(KEEP)

    async def play(programs):
        counts = []
        for _ in range(3):
            borrower = Borrower()
            stage.pool(programs).submit(ENVELOPE + BODY + END, borrower)
            await borrower.reply
            counts.append(len(os.listdir("/proc/self/fd")))
        return counts

    assert len(set(stage.run(play))) == 1


def test_no_room_for_the_message(stage, monkeypatch):
    stage.does("touch ran")
    monkeypatch.setattr(module, "nameless_file", lambda: os.open("/dev/full", os.O_RDWR | os.O_CLOEXEC))
    assert stage.send() == (b"Z", exits.reply(exits.WRITE_ERROR).text)
    monkeypatch.setattr(module, "nameless_file", lambda: os.open("/none", os.O_RDWR | os.O_CLOEXEC))
    assert stage.send() == (b"Z", exits.reply(exits.WRITE_ERROR).text)
    assert not (stage.home / "ran").exists()


@pytest.mark.parametrize(
    ("recipients", "reply"),
    [([b"a"] * (MAX_RECIPIENTS + 1), exits.TOO_MANY), ([b"a\0Fb@c"], exits.UNFIT)],
    ids=["too many", "NUL"],
)
def test_an_envelope_that_can_not_be(stage, recipients, reply):
    stage.does("touch ran")
    assert stage.send(encode_envelope(b"s@x", recipients) + BODY + END) == (reply.letter, reply.text)
    assert not (stage.home / "ran").exists()


def test_a_set_uid_program_is_told_of_once(stage):
    """The services have given up what it would need (PR_SET_NO_NEW_PRIVS)."""
    stage.does(KEEP)
    stage.script.chmod(0o4755)

    async def play(programs):
        for _ in range(2):
            borrower = Borrower()
            stage.pool(programs).submit(ENVELOPE + BODY + END, borrower)
            await borrower.reply

    stage.run(play)
    (line,) = stage.lines
    assert line.startswith(f"warning: QMAILQUEUE={stage.script} is set-uid, ")
