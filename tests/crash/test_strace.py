"""The independent proof: what the real daemon has asked of the kernel, under load, is enough to lose nothing.

strace records `quail serve` and all that it starts. The disk is rebuilt after each of its calls, cut, and recovered; on some of
those disks the real daemon is started again. Whatever had its 250 must then be in the queue or, whole, in a Maildir, and what
the log had called ended must not be in the queue again. Needs strace and the right to trace.
"""

import collections
import os
import re
import shutil
import subprocess
import threading

import pytest
from tests.crash.trace import Replay, load, save, strace
from tests.lacking import without
from tests.system.harness import PATIENCE, QUAIL, Log, Server

from quail.queue.recovery import open_journal
from quail.queue.store import DamagedBodyError

ACKNOWLEDGED = re.compile(rb"250 2\.0\.0 ok \d+ qp (\d+)\r\n")
ENDED = re.compile(rb"^end msg (\d+)$", re.MULTILINE)
TOKEN = re.compile(rb"begin (\d+\.\d+)\r?\n(?:.*\n)*end (\d+\.\d+)\r?\n\Z")
CLIENTS = 4
EACH = 8


@pytest.fixture(scope="module", autouse=True)
def tracer():
    if shutil.which("strace") is None:
        without("strace")


class Traced(Server):
    """A server below strace."""

    def start_traced(self, output):
        command = [*strace(output), *QUAIL, "serve", "--home", str(self.path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        self.log = Log(self.process.stderr)
        self.line(r"serving .*\bsmtp on ")

    def stop_traced(self):
        os.kill(self.pid("serve"), 15)
        return self.ended()


def text(token, size):
    line = b"x" * 70 + b"\r\n"
    return b"Subject: t\r\n\r\nbegin %b\r\n%bend %b\r\n" % (token, line * (size // len(line)), token)


def load_from_many(server):
    """Messages, small and large, to the user and to an alias; the number that the 250 named, by token."""
    numbers = {}

    def client(which):
        with server.smtp() as smtp:
            for turn in range(EACH):
                token = b"%d.%d" % (which, turn)
                recipient = "postmaster@localhost" if turn % 3 == 1 else f"{server.name}@localhost"
                size = 200_000 if turn == which else (100, 5000)[turn % 2]
                numbers[token] = smtp.send("s@example.org", [recipient], text(token, size))

    threads = [threading.Thread(target=client, args=(which,)) for which in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(numbers) == CLIENTS * EACH
    return numbers


class Account:
    """What was promised up to a moment of the recording, and whether a disk keeps it."""

    def __init__(self, numbers, name):
        self.tokens = {number: token for token, number in numbers.items()}
        self.name = name
        self.acknowledged = set()
        self.ended = set()
        self.again = 0  # deliveries that would be made again

    def said(self, data):
        self.acknowledged |= {self.tokens[int(number)] for number in ACKNOWLEDGED.findall(data)}
        self.ended |= {int(number) for number in ENDED.findall(data)}

    def delivered(self, disk):
        """Tokens of the messages in the Maildir, each of which must be whole."""
        folder = f"mail/{self.name}/Maildir/new"
        try:
            names = disk.listdir(folder)
        except FileNotFoundError:
            return collections.Counter()
        return collections.Counter(token_of(bytes(disk._find(f"{folder}/{name}").data)) for name in names)

    def delivered_in(self, home):
        """The same of a home that is being served: its other files come and go, those in new/ stay."""
        return {token_of(path.read_bytes()) for path in (home / f"mail/{self.name}/Maildir/new").glob("*")}

    def check(self, disk, where):
        delivered = self.delivered(disk)
        journal = open_journal("queue", calls=disk).journal
        queued = collections.Counter()
        for number in journal.state:
            assert number not in self.ended, f"{where}: message {number} had ended and is back"
            try:
                stored = journal.read(number, body=True)
            except DamagedBodyError as error:
                raise AssertionError(f"{where}: {error}") from error
            body = stored.body if stored.body is not None else disk.pread(stored.fd, stored.size, 0)
            queued[token_of(body)] += 1
        journal.close()
        lost = self.acknowledged - delivered.keys() - queued.keys()
        assert not lost, f"{where}: {lost} had their 250 and are nowhere"
        self.again += len(delivered.keys() & queued.keys())
        return queued


def token_of(message):
    found = TOKEN.search(message)
    assert found is not None, f"not a whole message: {message[:300]!r}...{message[-80:]!r}"
    assert found[1] == found[2]
    return found[1]


def record(tmp_path):
    """Home as it was before, recording, numbers by token, the user's name."""
    server = Traced(tmp_path / "home")
    try:
        before = load(str(server.path))
        recording = str(tmp_path / "trace")
        server.start_traced(recording)
        numbers = load_from_many(server)
        server.until(lambda: len(ended(server)) >= CLIENTS * EACH and not in_queue(server), "all deliveries")
        assert server.stop_traced() == 0
    finally:
        server.close()
    return before, recording, numbers, server


def ended(server):
    return {line for line in list(server.log.lines) if line.startswith("end msg ")}


def in_queue(server):
    new = {line[8:] for line in list(server.log.lines) if line.startswith("new msg ")}
    return new - {line[8:] for line in ended(server)}


def prove(lab, tmp_path, share, per_step, starts):
    before, recording, numbers, server = record(tmp_path)
    account = Account(numbers, server.name)
    replay = Replay(os.path.realpath(server.path), before, account.said)
    chosen = []
    for step, name in enumerate(replay.steps(recording)):
        if lab.rng.random() < share:
            lab.points += 1
            for state in (replay.disk.killed(), *replay.disk.crash_states(lab.rng, per_step)):
                lab.states += 1
                if account.acknowledged and lab.rng.random() < 0.1:
                    chosen.append((state.killed(), set(account.acknowledged), step))
                account.check(state, f"seed {lab.seed}, step {step}, {name}")
    assert account.acknowledged == numbers.keys()
    assert len(account.ended) >= len(numbers)
    end = replay.disk.killed()
    assert account.delivered(end).keys() == numbers.keys(), "the recording is not the run"
    assert not account.check(end, "the end")
    assert replay.counts["fdatasync"] > 5
    for state, acknowledged, step in lab.rng.sample(chosen, starts):
        start_again(server, state, acknowledged, f"step {step}")
    return account


def start_again(server, disk, acknowledged, where):
    """The real daemon, on that disk, delivers all that was acknowledged. The home keeps its path, which users/cdb names."""
    path = str(server.path)
    shutil.rmtree(path)
    save(disk, path)
    server.start()
    try:
        account = Account({}, server.name)
        server.until(lambda: acknowledged <= account.delivered_in(server.path), f"what had its 250 at {where}")
        assert server.stop() == 0
    finally:
        server.close()


def test_the_real_daemons_calls_are_enough(lab, tmp_path):
    prove(lab, tmp_path, 0.05, 2, 2)
    assert lab.states > 50


@pytest.mark.long
def test_the_real_daemons_calls_are_enough_at_every_one(lab, tmp_path):
    account = prove(lab, tmp_path, 1.0, 6, 10)
    assert account.again


def test_the_proof_has_teeth(lab, tmp_path):
    """Were a sync missing from the recording, messages would be lost."""
    before, recording, numbers, server = record(tmp_path)
    for missing in ("fdatasync", "fsync"):
        account = Account(numbers, server.name)
        replay = Replay(os.path.realpath(server.path), before.killed(), account.said)
        replay.ignored.add(missing)
        with pytest.raises(
            AssertionError, match=r"are nowhere|had ended and is back|not a whole message|the body of message"
        ):
            follow(lab, replay, recording, account)


def follow(lab, replay, recording, account):
    for step, name in enumerate(replay.steps(recording)):
        for state in replay.disk.crash_states(lab.rng, 2) if step % 20 == 0 else ():
            lab.states += 1
            account.check(state, f"step {step}, {name}")
