"""Fuzz target for the POP3 machines: whatever a client sends, only what quail.pop3 declares happens.

usage: python -m tests.fuzz.pop3_target [SECONDS [SEED]]

The first bytes of an input choose settings, the driver's answers, and how the rest is cut into pieces; a log-in that is
accepted goes on as a session, with what was sent behind it. The corpus in tests/fuzz/corpus/pop3 is what the tests run.
"""

import os
import random
import sys
import time

from tests.fuzz.engine import mutate

from quail.pop3 import login, session
from quail.pop3.lines import MAX_LINE

CORPUS = os.path.join(os.path.dirname(__file__), "corpus", "pop3")
HEAD = 4
TOKENS = [
    b"\r\n", b"\n", b"\r", b".", b" ", b"\0", b"\x7f", b"\xff", b"USER a\r\n", b"PASS b\r\n", b"CAPA\r\n", b"UTF8\r\n",
    b"QUIT\r\n", b"APOP a 0123456789abcdef0123456789abcdef\r\n", b"STAT\r\n", b"LIST\r\n", b"UIDL\r\n", b"RETR ", b"TOP ",
    b"DELE ", b"RSET\r\n", b"LAST\r\n", b"NOOP\r\n", b"1", b"2", b"3", b"0", b"-1", b"18446744073709551617",
]  # fmt: skip
MESSAGES = (b"", b"Subject: x\n\n.\nline\r\n", b"a: b\n\n" + b"\r\n." * 300 + b"\r")
MAX_REPLY = 300  # bytes to one command that no message answers, CAPA's
MAX_LISTING = 300


class Run:
    """One connection under watch."""

    def __init__(self, data):
        head, self.input = data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:]
        self.choice, self.cut, self.piece = head[0], head[1] + 1, head[2] + 1
        self.stop_at = head[3]
        self.classic = bool(self.choice & 1)
        self.quirks = bool(self.choice & 2)
        self.login = login.Login(
            login.Settings(classic=self.classic, plain=not self.choice & 128, max_bad_commands=3, max_commands=20),
            b"<1.2@mx.example.com>",
        )
        self.session = None
        self.closed = False
        self.output = 0
        self.fetched = 0
        self.verdicts = 0

    def go(self):
        self.login.start()
        pieces = [self.input[at : at + self.cut] for at in range(0, len(self.input), self.cut)]
        for number, piece in enumerate([*pieces, b"", b""], 1):
            machine = self.session or self.login
            if number == self.stop_at:
                (machine.timeout if self.choice & 16 else machine.shutdown)()
            machine.receive(piece)
            self.pump()
            self.judge()
        assert self.closed
        machine = self.session or self.login
        assert machine.next_event() is None
        assert machine.take_output() == b""
        assert not machine.waiting
        most = MAX_REPLY * (self.input.count(b"\n") + 3) + MAX_LISTING * self.input.count(b"\n")
        assert self.output <= most + self.fetched * (2 * max(map(len, MESSAGES)) + 20)
        return self

    def pump(self):
        if self.session is None:
            self.pump_login()
        if self.session is not None:
            self.pump_session()

    def pump_login(self):
        machine = self.login
        while (event := machine.next_event()) is not None:
            assert not self.closed
            if event[0] == login.CLOSE:
                assert isinstance(event[1], str)
                self.closed = True
                continue
            kind, name, secret, challenge = event
            assert kind == login.AUTHENTICATE
            assert machine.waiting
            assert name
            assert secret
            assert not any(byte in name + secret for byte in b"\0\n")
            assert len(name) + len(secret) < 2 * MAX_LINE
            assert challenge in (None, b"<1.2@mx.example.com>")
            self.take()
            self.verdicts += 1
            outcome = (self.choice >> 2 & 3) if self.verdicts == 1 else login.ACCEPTED
            machine.verdict(outcome)
            if outcome == login.ACCEPTED:
                assert machine.next_event() is None
                self.session = session.Session(
                    len(MESSAGES), machine.rest(), quirks=self.quirks, max_bad_commands=3 if self.choice & 32 else 1000
                )
                assert machine.take_output() == b""
                self.session.start()
                return
        self.take()

    def pump_session(self):
        machine = self.session
        while (event := machine.next_event()) is not None:
            assert not self.closed
            kind, *facts = event
            if kind == session.SIZES:
                machine.sizes(list(map(len, MESSAGES)))
            elif kind == session.UIDS:
                machine.uids([b"uid%d" % number for number in range(len(MESSAGES))])
            elif kind == session.CONTENT:
                self.fetched += 1
                self.content(machine, *facts)
            elif kind == session.UPDATE:
                assert sorted(set(facts[0])) == facts[0]
                assert set(facts[0]) <= set(range(len(MESSAGES)))
                machine.updated(self.choice >> 6 & 1)
            elif kind == session.FLUSH:
                self.take()
            else:
                assert kind == session.CLOSE
                self.closed = True
        self.take()

    def content(self, machine, index):
        if self.choice & 64 and index == 0:
            machine.unavailable()
            return
        message = MESSAGES[index]
        for at in range(0, len(message), self.piece):
            if not machine.content(message[at : at + self.piece]):
                return
        if self.choice & 64 and index == 2:
            machine.broken()
        else:
            assert not machine.content(b"")

    def take(self):
        data = (self.session or self.login).take_output()
        assert not data or data.endswith(b"\r\n") or self.choice & 64
        self.output += len(data)

    def judge(self):
        """What a machine keeps when it waits for input does not depend on how much it has seen."""
        for machine in filter(None, (self.login, self.session)):
            lines = machine._lines
            assert len(lines._part) <= MAX_LINE
            assert not lines._buffer
            assert not lines._later


def check(data):
    """Fail if a machine does what it does not declare."""
    Run(bytes(data)).go()


def corpus():
    """Name and content of each kept input."""
    for name in sorted(os.listdir(CORPUS)):
        with open(os.path.join(CORPUS, name), "rb") as file:
            yield name, file.read()


def fuzz(count, seed, seconds=float("inf")):
    """Check so many mutants of the corpus; returns how many it were."""
    random_ = random.Random(seed)
    pool = [data for _, data in corpus()]
    end = time.monotonic() + seconds
    done = 0
    while done < count and time.monotonic() < end:
        data = mutate(random_.choice(pool), random_, TOKENS)
        try:
            check(data)
        except BaseException:
            print(f"seed {seed}, input {done}: {data!r}", file=sys.stderr)
            raise
        done += 1
        if random_.random() < 0.01:
            pool.append(data)  # now and then go further from what is kept
    return done


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {chosen}: {fuzz(1 << 62, chosen, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)} inputs")
