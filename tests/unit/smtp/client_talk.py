"""A driver for the client's machine in tests: a server played by hand, in pieces; everything that happened."""

from quail.smtp.client import BROKEN, GO_AHEAD, OVER, READY, UNFIT, Client

GREETING = b"220 mx.example.com ESMTP\r\n"
PLAIN = b"250 mx.example.com\r\n"
PIPELINING = b"250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"


def told(event):
    """An event in words: replies are (code, text), an outcome its four parts."""
    if event[0] == OVER:
        outcome = event[1]
        recipients = [reply and reply.code for reply in outcome.recipients]
        return OVER, outcome.sender.code, recipients, *(reply and reply.code for reply in (outcome.data, outcome.final))
    if event[0] == UNFIT:
        return UNFIT, event[1], event[2].code, event[2].text
    assert event[0] in (READY, GO_AHEAD, BROKEN)
    return event


class ClientTalk:
    """One connection; `piece` is how the server's bytes are cut, 0: each say() whole."""

    def __init__(self, *opening, piece=0):
        self.client = Client(b"me.example.org")
        self.piece = piece
        self.events = []
        self.sent = b""
        for data in opening:
            self.say(data)

    def say(self, data):
        size = self.piece or len(data)
        for at in range(0, len(data), size or 1):
            self.client.receive(data[at : at + size])
            self.pump()
        return self

    def hang_up(self):
        self.client.eof()
        return self.pump()

    def begin(self, *recipients, sender=b"s@example.org", size=100, eight_bit=False, utf8=False):
        given = list(recipients) or [b"r@example.com"]
        self.client.begin(sender, given, size=size, eight_bit=eight_bit, utf8=utf8)
        return self.pump()

    def body_sent(self):
        self.client.body_sent()
        return self.pump()

    def pump(self):
        while (event := self.client.next_event()) is not None:
            self.events.append(told(event))
        self.sent += self.client.take_output()
        return self

    def heard(self):
        """What the client has sent since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    def news(self):
        """What has happened since the last time."""
        events, self.events = self.events, []
        return events
