"""Fuzz target for the SMTP and LMTP machine: whatever a peer sends, only what quail.smtp.server declares happens.

usage: python -m tests.fuzz.smtp_target [SECONDS [SEED]]

The first bytes of an input choose the settings, the driver's answers and how the rest is cut into pieces. check() suits
any fuzzer that calls a function with bytes (atheris.Setup(argv, check)). The corpus in tests/fuzz/corpus/smtp is what the
tests run; an input that fails is printed as one line, to be added there.
"""

import random
import sys

from tests.fuzz import engine
from tests.fuzz.engine import fuzz_with, mutate

from quail.errors import TemporaryError
from quail.smtp.server import ABANDON, BEGIN, BODY, CLOSE, END, RECIPIENT, Session
from quail.smtp.settings import Settings

__all__ = ["check", "corpus", "fuzz", "mutate"]
HEAD = 4
TOKENS = [
    b"\r\n", b"\n", b"\r", b".", b"\r\n.\r\n", b"\n.\n", b"<", b">", b'"', b"\\", b"@", b":", b" ", b"\0", b"\x7f", b"\xff",
    b"EHLO ", b"HELO ", b"LHLO ", b"MAIL FROM:<a@b>", b"RCPT TO:<c@example.com>", b"RCPT TO:<nobody@example.com>", b"DATA\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b" SIZE=", b" BODY=8BITMIME", b" SMTPUTF8",
    b"Received: ", b"[127.0.0.1]", b"trouble.example",
]  # fmt: skip
MAX_COMMAND = 600
MAX_REPLY = 300  # bytes to one command, EHLO's


def _accepts(host):
    if host == b"trouble.example":
        raise TemporaryError("the list cannot be read")
    return host == b"example.com"


class Run:
    """One session under watch."""

    def __init__(self, data):
        head, self.input = data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:]
        self.choice, self.cut, small = head[0], head[1] + 1, head[2]
        self.stop_at = head[3]  # the piece at which the driver loses patience, or shuts down; 0: never
        self.session = Session(
            Settings(
                greeting=b"mx.example.com",
                accepts_host=_accepts,
                badmailfrom=lambda sender: sender == b"bad@b",
                local_addresses=frozenset((b"127.0.0.1",)),
                localiphost=b"example.com",
                relayclient=b"@fix" if self.choice & 1 else None,
                check_recipients=bool(self.choice & 2),
                databytes=small % 16 * 10,
                max_line_length=small // 16 * 8,
                max_command_length=MAX_COMMAND,
                max_recipients=3,
                max_bad_commands=5 if self.choice & 4 else 0,
                max_junk_commands=5 if self.choice & 8 else 0,
                lmtp=bool(self.choice & 128),
            )
        )
        self.events = []
        self.output = 0
        self.text = 0
        self.calls = 0

    def go(self):
        session = self.session
        session.start()
        pieces = [self.input[at : at + self.cut] for at in range(0, len(self.input), self.cut)]
        for number, piece in enumerate([*pieces, b"", b""], 1):
            if number == self.stop_at:
                (session.timeout if self.choice & 16 else session.shutdown)()
            session.receive(piece)
            self.calls += 1
            self.pump(len(piece))
        kinds = [event[0] for event in self.events if event[0] not in (RECIPIENT, BODY)]
        assert kinds.pop() == CLOSE
        while kinds:
            assert kinds.pop(0) == BEGIN
            if kinds and kinds[0] != BEGIN:
                assert kinds.pop(0) in (END, ABANDON)
            else:
                assert self.choice & 32  # the driver had answered before the end
        assert session.next_event() is None
        assert session.take_output() == b""
        assert self.text <= len(self.input)
        assert self.output <= MAX_REPLY + MAX_REPLY * (self.input.count(b"\n") + 2)
        return self

    def pump(self, size):
        session = self.session
        while (event := session.next_event()) is not None:
            self.calls += 1
            assert not (self.events and self.events[-1][0] == CLOSE)
            self.events.append(event)
            kind = event[0]
            if kind == RECIPIENT:
                assert session.waiting
                session.recipient_verdict(b"550 5.1.1 no" if b"nobody" in event[1] else None)
            elif kind == BEGIN:
                _, sender, recipients, attributes = event
                assert 1 <= len(recipients) <= 3
                for address in (sender, *recipients):
                    assert not any(byte < 32 or byte == 127 for byte in address)
                    assert len(address) <= 899 + len(b"@fix")
                assert all(name in (b"body", b"smtputf8") for name, _ in attributes)
                if self.choice & 32:
                    session.message_done(b"451 4.3.0 later")
            elif kind == BODY:
                assert event[1]
                assert b"\r" not in event[1]
                self.text += len(event[1])
            elif kind == END:
                assert session.waiting
                session.message_done(b"250 2.0.0 ok" if self.choice & 64 else b"451 4.3.0 later")
            elif kind in (ABANDON, CLOSE):
                assert isinstance(event[1], str)
            else:
                raise AssertionError(event)
        output = session.take_output()
        assert output == b"" or output.endswith(b"\r\n")
        assert all(line[:3].isdigit() for line in output.split(b"\r\n")[:-1])
        self.output += len(output)
        # What the machine keeps when it waits for input does not depend on how much it has seen.
        assert len(session._part) <= MAX_COMMAND + 1
        assert session._position == len(session._buffer) <= max(size, self.cut)
        assert not session._later
        assert not session._events
        assert session._body is None or len(session._body._held) <= 2


def check(data):
    """Fail if the machine does what it does not declare."""
    Run(bytes(data)).go()


def corpus():
    """Name and content of each kept input."""
    return engine.corpus("smtp")


def fuzz(count, seed, seconds=float("inf")):
    """Check so many mutants of the corpus; returns how many it were."""
    return fuzz_with(check, [data for _, data in corpus()], TOKENS, count, seed, seconds)


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {chosen}: {fuzz(1 << 62, chosen, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)} inputs")
