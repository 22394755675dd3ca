"""A driver for the machine in tests: bytes in pieces, verdicts by rule, everything that came out."""

from quail.smtp.server import ABANDON, BEGIN, BODY, CLOSE, END, RECIPIENT, Session
from quail.smtp.settings import Settings

GREETING = b"mx.example.com"
ACCEPTED = b"250 2.0.0 ok 1700000000 qp 12"
NO_SUCH_USER = b"550 5.1.1 sorry, no mailbox here by that name"


def settings(**changes):
    values = {"greeting": GREETING, "accepts_host": frozenset((b"example.com",)).__contains__}
    return Settings(**(values | changes))


class Talk:
    """One session. `events` has BODY joined, and without what was abandoned later; `output` is all that the peer hears."""

    def __init__(self, served=None, **changes):
        served = served or settings(**changes)
        self.session = Session(served)
        self.lmtp = served.lmtp
        self.events = []
        self.output = b""
        self.reply = ACCEPTED
        self.session.start()
        self.pump()

    def send(self, data):
        self.session.receive(data)
        self.pump()
        return self

    def pump(self):
        while (event := self.session.next_event()) is not None:
            kind = event[0]
            if kind == RECIPIENT:
                self.session.recipient_verdict(NO_SUCH_USER if b"nobody" in event[1] else None)
            elif kind == END:
                self.session.message_done(self.reply)
            last = self.events[-1] if self.events else (None,)
            if kind == BODY and last[0] == BODY:
                self.events[-1] = (BODY, last[1] + event[1])
            elif kind == ABANDON and last[0] == BODY:
                self.events[-1] = event
            else:
                self.events.append(event)
        self.output += self.session.take_output()

    @property
    def replies(self):
        """All but the greeting, without the line ends."""
        lines = self.output.split(b"\r\n")
        assert lines[0] == b"220 " + GREETING + (b" LMTP" if self.lmtp else b" ESMTP")
        assert lines[-1] == b""
        return lines[1:-1]

    @property
    def codes(self):
        return [int(line[:3]) for line in self.replies if line[3:4] == b" "]

    @property
    def messages(self):
        """(sender, recipients, text) of each message that was accepted."""
        found = []
        for at, event in enumerate(self.events):
            if event[0] == END:
                before = self.events[at - 1]
                body = before[1] if before[0] == BODY else b""
                begin = self.events[at - 2 if before[0] == BODY else at - 1]
                assert begin[0] == BEGIN
                found.append((begin[1], begin[2], body))
        return found

    @property
    def closed(self):
        return self.events[-1][1] if self.events and self.events[-1][0] == CLOSE else None

    @property
    def abandoned(self):
        return [event[1] for event in self.events if event[0] == ABANDON]


def in_pieces(data, sizes, **changes):
    """The session when `data` comes in pieces of these sizes, again and again, and then EOF."""
    talk = Talk(**changes)
    at = number = 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        talk.send(data[at : at + size])
        at += size
        number += 1
    return talk.send(b"")


def three_ways(data, *, reply=ACCEPTED, **changes):
    """The session when `data` comes whole; byte by byte it is the same, and bytes behind it change nothing before."""
    whole = Talk(**changes)
    whole.reply = reply
    whole.send(data)
    bytewise = Talk(**changes)
    bytewise.reply = reply
    for byte in data:
        bytewise.send(bytes((byte,)))
    assert (bytewise.events, bytewise.output) == (whole.events, whole.output)
    trailing = Talk(**changes)
    trailing.reply = reply
    trailing.send(data + b"NOOP\r\nno")
    count = len(whole.events) - (1 if whole.events and whole.events[-1][0] == BODY else 0)
    assert trailing.events[:count] == whole.events[:count]
    assert trailing.output.startswith(whole.output)
    return whole


def mail(text, *, sender=b"s@example.org", recipient=b"r@example.com"):
    """One transaction; `text` as it is between DATA and what follows."""
    return b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n%b" % (sender, recipient, text)
