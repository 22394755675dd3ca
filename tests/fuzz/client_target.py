"""Fuzz target for the client's SMTP machine: whatever a server says, only what quail.smtp.client declares happens.

usage: python -m tests.fuzz.client_target [SECONDS [SEED]]

The first bytes of an input choose how the rest is cut into pieces and what the driver does. check() suits any fuzzer that
calls a function with bytes. The corpus in tests/fuzz/corpus/client is what the tests run; an input that fails is printed
as one line, to be added there.
"""

import random
import sys

from tests.fuzz import engine
from tests.fuzz.engine import fuzz_with

from quail.smtp.client import BROKEN, GO_AHEAD, GREETING, HELO, OVER, READY, UNFIT, Client
from quail.smtp.client_replies import MAX_TEXT, Reply

HEAD = 4
TOKENS = [
    b"\r\n", b"\n", b"\r", b" ", b"-", b"\0", b"\xff", b"x" * 50,
    b"220 hi\r\n", b"250 ok\r\n", b"250-x\r\n", b"250-PIPELINING\r\n",
    b"250 SIZE 5\r\n", b"250-8BITMIME\r\n250 SMTPUTF8\r\n", b"354 go\r\n", b"550 no\r\n", b"450 later\r\n",
    b"421 bye\r\n", b"199 x\r\n",
    b"220 hi\r\n250-x\r\n250-PIPELINING\r\n250 SIZE\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n550 no\r\n503 no\r\n",
]  # fmt: skip
RECIPIENTS = (b"a@b", b"c d@e", b"\xc3\xa9@\xc3\xa9")
MAX_COMMAND = 60  # bytes, the longest that can be sent here


class Run:
    """One connection under watch."""

    def __init__(self, data):
        head, self.input = data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:]
        self.choice, self.cut, self.gone_at = head[0], head[1] + 1, head[2]
        self.recipients = list(RECIPIENTS[: 1 + head[3] % 3])
        self.lmtp = bool(self.choice & 16)
        self.client = Client(b"me", lmtp=self.lmtp)
        self.kinds = []
        self.output = b""
        self.calls = self.begun = 0

    def go(self):
        client = self.client
        pieces = [self.input[at : at + self.cut] for at in range(0, len(self.input), self.cut)]
        for number, piece in enumerate([*pieces, b""], 1):
            client.receive(piece)
            if number == self.gone_at or number > len(pieces):
                client.eof()
            self.calls += 1
            self.pump()
        kinds = self.kinds
        assert kinds[-1] in (UNFIT, BROKEN, OVER)  # the server has gone, which is told unless it was clear before
        assert kinds.count(OVER) <= self.begun <= kinds.count(OVER) + 1
        assert kinds.count(GO_AHEAD) <= self.begun
        assert kinds.count(READY) <= 1
        assert not {UNFIT, BROKEN} & set(kinds[:-1])
        assert not client.reusable
        assert client.next_event() is None
        assert client.take_output() == b""
        assert self.output == b"" or self.output.endswith(b"\r\n")
        assert self.output.count(b"\r\n") == self.output.count(b"\n") == self.output.count(b"\r")
        assert len(self.output) <= MAX_COMMAND * (self.output.count(b"\n"))
        assert self.output.count(b"\n") <= 3 + 7 * self.begun
        return self

    def pump(self):
        client = self.client
        while (event := client.next_event()) is not None:
            self.calls += 1
            kind = event[0]
            self.kinds.append(kind)
            assert not client.reusable or kind in (READY, OVER)
            if kind == GO_AHEAD:
                assert any(reply.code < 300 for reply in client.outcome.recipients)
                if self.choice & 1:
                    client.body_sent()
                    assert client.dot_sent
            elif kind == OVER:
                self.judge(event[1])
            elif kind == UNFIT:
                assert event[1] in (GREETING, HELO)
                self.judge_reply(event[2])
            elif kind == BROKEN:
                assert isinstance(event[1], str)
                assert len(event[1]) < 300
            else:
                assert kind == READY
            if kind in (READY, OVER) and client.reusable and self.choice & 2:
                client.begin(
                    b"s@x", self.recipients, size=9, eight_bit=bool(self.choice & 4), utf8=bool(self.choice & 8)
                )
                self.begun += 1
            self.output += client.take_output()
        self.output += client.take_output()
        # What the machine keeps when it waits for input does not depend on how much it has seen.
        replies = client._replies
        assert replies._position == len(replies._buffer) == 0
        assert len(replies._part) <= MAX_TEXT
        assert len(replies._text) <= MAX_TEXT
        assert len(client._unsent) <= len(self.recipients) + 2

    def judge(self, outcome):
        assert outcome is self.client.outcome
        assert len(outcome.recipients) == len(self.recipients)
        self.judge_reply(outcome.sender)
        if outcome.sender.code >= 400:
            assert set(outcome.recipients) == {None}
        else:
            for reply in outcome.recipients:
                self.judge_reply(reply)
        accepted = outcome.sender.code < 300 and any(reply.code < 300 for reply in outcome.recipients)
        assert (outcome.data is not None) == accepted
        if outcome.data is not None:
            assert outcome.data.code >= 300
            asked = outcome.data.code < 400
            assert (outcome.final is not None) == (asked and not self.lmtp)
            assert len(outcome.finals) == (len(outcome.recipients) if asked and self.lmtp else 0)
        for recipient, reply in zip(outcome.recipients, outcome.finals, strict=False):
            assert (reply is not None) == (recipient.code < 300)
            if reply is not None:
                self.judge_reply(reply)
                assert not 300 <= reply.code < 400
                assert self.client.dot_sent or reply.code >= 400
        if outcome.final is not None:
            assert outcome.final.code < 300 or outcome.final.code >= 400
            assert self.client.dot_sent or outcome.final.code >= 400

    @staticmethod
    def judge_reply(reply):
        assert isinstance(reply, Reply)
        assert 200 <= reply.code <= 599
        assert reply.text.startswith(b"%d" % reply.code)
        assert len(reply.text) <= MAX_TEXT
        assert b"\r" not in reply.text
        assert b"\0" not in reply.text


def check(data):
    """Fail if the machine does what it does not declare."""
    Run(bytes(data)).go()


def corpus():
    """Name and content of each kept input."""
    return engine.corpus("client")


def fuzz(count, seed, seconds=float("inf")):
    """Check so many mutants of the corpus; returns how many it were."""
    return fuzz_with(check, [data for _, data in corpus()], TOKENS, count, seed, seconds)


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {chosen}: {fuzz(1 << 62, chosen, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)} inputs")
