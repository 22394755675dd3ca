"""A driver for the machines of QMTP and QMQP in tests: bytes in pieces, verdicts by rule, everything that came out."""

from quail.errors import TemporaryError
from quail.qmqp.server import Session as QmqpSession
from quail.qmtp.exchange import ABANDON, BEGIN, BODY, CLOSE, ENVELOPE, FLUSH, RECIPIENT
from quail.qmtp.netstring import netstring
from quail.qmtp.server import Session, Settings

ACCEPTED = b"Kok 1700000000 qp 12"
NO_SUCH_USER = b"Dsorry, no mailbox here by that name (#5.1.1)"


def accepts_host(host):
    if host == b"broken":
        raise TemporaryError("morercpthosts.cdb can't be read")
    return host == b"example.com"


def package(text, sender, *recipients, end=b"\n"):
    """A message by QMTP."""
    return netstring(end + text) + netstring(sender) + netstring(b"".join(map(netstring, recipients)))


def request(text, sender, *recipients):
    """A message by QMQP."""
    return netstring(b"".join(map(netstring, (text, sender, *recipients))))


class Talk:
    """One connection. `events` has BODY joined, BEGIN left out, and nothing of what was abandoned; `output` is all that the
    peer hears. `early`: the driver's refusal of every message as it begins.
    """

    def __init__(self, session, *, early=None):
        self.session = session
        self.early = early
        self.events = []
        self.output = b""
        self.most = 0  # bytes of output at once
        self._text = None

    def send(self, data):
        self.session.receive(data)
        self.pump()
        return self

    def pump(self):
        session = self.session
        while (event := session.next_event()) is not None:
            self._take(event)
        assert session.next_event() is None
        self._write()

    def _write(self):
        output = self.session.take_output()
        self.most = max(self.most, len(output))
        self.output += output

    def _take(self, event):
        session, kind = self.session, event[0]
        assert not self.closed
        if kind == BEGIN:
            assert self._text is None
            self._text = b""
            if self.early:
                self._text = None
                session.message_done(self.early)
        elif kind == BODY:
            assert event[1]
            self._text += event[1]
        elif kind == RECIPIENT:
            assert session.waiting
            assert session.next_event() is None
            session.recipient_verdict(NO_SUCH_USER if b"nobody" in event[1] else None)
        elif kind == ENVELOPE:
            assert session.waiting
            assert session.next_event() is None
            self.events.append((*event[1:], self._text))
            self._text = None
            session.message_done(ACCEPTED)
        elif kind == ABANDON:
            assert self._text is not None
            self._text = None
            self.events.append(event)
        elif kind == FLUSH:
            self._write()
        else:
            assert kind == CLOSE
            assert self._text is None
            self.events.append(event)

    @property
    def closed(self):
        """(exit code, reason), or None."""
        return self.events[-1][1:] if self.events and self.events[-1][0] == CLOSE else None

    @property
    def messages(self):
        """(sender, recipients, text) of each message that was accepted."""
        return [event for event in self.events if event[0] not in (CLOSE, ABANDON)]

    @property
    def abandoned(self):
        return [event[1] for event in self.events if event[0] == ABANDON]

    @property
    def replies(self):
        found, rest = [], self.output
        while rest:
            digits, _, rest = rest.partition(b":")
            found.append(rest[: int(digits)])
            assert rest[int(digits) : int(digits) + 1] == b","
            rest = rest[int(digits) + 1 :]
        return found


def qmtp(*, early=None, **settings):
    return Talk(Session(Settings(**{"accepts_host": accepts_host, **settings})), early=early)


def qmqp(*, early=None):
    return Talk(QmqpSession(), early=early)


def in_pieces(make, data, piece, *, end=True):
    """What becomes of the data, cut so; `end`: and then no more comes."""
    talk = make()
    for at in range(0, len(data), piece):
        talk.send(data[at : at + piece])
    return talk.send(b"") if end else talk


def all_ways(make, data, *, end=True):
    """The same however it is cut: whole, byte by byte, and some other ways."""
    whole = in_pieces(make, data, max(1, len(data)), end=end)
    for piece in (1, 2, 3, 7):
        other = in_pieces(make, data, piece, end=end)
        assert (other.events, other.output) == (whole.events, whole.output)
    return whole
