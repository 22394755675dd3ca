"""Drivers for the two machines in tests: bytes in pieces, a mailbox in memory, everything that came out."""

from quail.pop3 import login, session
from quail.pop3.wire import Extra

CHALLENGE = b"<1.2@mx.example.com>"


def wire_size(message):
    extra = Extra()
    if message:
        extra.feed(message)
    return len(message) + extra.count


class LoginTalk:
    """A log-in. `verdicts` are given in turn, then ACCEPTED; `output` is all that the peer hears."""

    def __init__(self, *verdicts, challenge=CHALLENGE, **changes):
        self.login = login.Login(login.Settings(**changes), challenge)
        self.verdicts = list(verdicts)
        self.events = []
        self.output = b""
        self.login.start()
        self.pump()

    def send(self, data):
        self.login.receive(data)
        self.pump()
        return self

    def pump(self):
        while (event := self.login.next_event()) is not None:
            self.events.append(event)
            if event[0] == login.AUTHENTICATE:
                verdict = self.verdicts.pop(0) if self.verdicts else (login.ACCEPTED,)
                self.login.verdict(*verdict)
        self.output += self.login.take_output()

    @property
    def replies(self):
        """Lines behind the greeting, without their ends."""
        lines = self.output.split(b"\r\n")
        assert lines[-1] == b""
        return lines[1:-1]


class SessionTalk:
    """A session with these messages, given in pieces of `piece` bytes; None stands for one that can't be opened."""

    def __init__(self, *messages, piece=1 << 16, failures=0, rest=b"", **changes):
        self.messages = messages
        self.piece = piece
        self.failures = failures
        self.session = session.Session(len(messages), rest, **changes)
        self.events = []
        self.output = b""
        self.session.start()
        self.pump()

    def send(self, data):
        self.session.receive(data)
        self.pump()
        return self

    def pump(self):
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            self._answer(*event)
        self.output += self.session.take_output()

    def _answer(self, kind, *facts):
        served = self.session
        if kind == session.SIZES:
            served.sizes([wire_size(message or b"") for message in self.messages])
        elif kind == session.UIDS:
            served.uids([b"uid%d" % number for number, _ in enumerate(self.messages, 1)])
        elif kind == session.CONTENT:
            self._content(self.messages[facts[0]])
        elif kind == session.UPDATE:
            served.updated(self.failures)
        elif kind == session.FLUSH:
            self.output += served.take_output()

    def _content(self, message):
        if message is None:
            self.session.unavailable()
            return
        for at in range(0, len(message), self.piece):
            if not self.session.content(message[at : at + self.piece]):
                return
        self.session.content(b"")

    @property
    def replies(self):
        """Lines behind the first +OK, without their ends."""
        lines = self.output.split(b"\r\n")
        assert lines[0] == b"+OK "
        assert lines[-1] == b""
        return lines[1:-1]


def in_pieces(talk, data, sizes):
    """The talk, after it got the data in pieces of these sizes in turn, and then the end of input."""
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        talk.send(data[at : at + size])
        at += size
        turn += 1
    return talk.send(b"")
