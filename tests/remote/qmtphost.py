"""QMTP hosts that do as a script says, for smtphost.Hosts (https://cr.yp.to/proto/qmtp.txt)."""

import time

from tests.remote.hostactions import CLOSE, Act, Choice
from tests.remote.smtphost import Talker

MAX_LENGTH = 10  # digits


def netstring(data):
    return b"%d:%b," % (len(data), data)


class Package:
    """One message as it came. text: without the byte that says how lines end, which must be LF."""

    def __init__(self, text, sender, recipients):
        self.text, self.sender, self.recipients = text, sender, recipients
        self.ended = time.monotonic()


class QmtpTalker(Talker):
    def opened(self):
        self._fields = []
        if self.host.at_start:
            self.do(self.host.at_start)

    def step(self):
        head, colon, _ = self.input[: MAX_LENGTH + 1].partition(b":")
        if not colon:
            if len(head) > MAX_LENGTH or (head and not head.isdigit()):
                self._bad(head)
            return False
        end = len(head) + 1 + int(head)
        if len(self.input) <= end:
            return False
        if self.input[end : end + 1] != b",":
            self._bad(head)
            return False
        self._fields.append(bytes(self.input[len(head) + 1 : end]))
        del self.input[: end + 1]
        if len(self._fields) == 3:
            self._package(*self._fields)
            self._fields = []
        return True

    def _bad(self, what):
        self.host.faults.append(f"no netstring: {bytes(what)!r}")
        self.do(CLOSE)

    def _package(self, message, sender, box):
        recipients = []
        while box:
            head, _, rest = box.partition(b":")
            recipients.append(rest[: int(head)])
            box = rest[int(head) + 1 :]
        if not message.startswith(b"\n") or not recipients:
            self.host.faults.append("a message that does not begin with LF, or is for nobody")
        package = Package(message[1:], sender, recipients)
        self.host.messages.append(package)
        self.connection.transactions.append(package)
        for recipient in recipients:
            local = recipient.rpartition(b"@")[0].decode("latin-1")
            value = (self.host.replies.get(local) or self.host.replies[""]).next()
            self.do(value if isinstance(value, Act) else Act(netstring(value.encode("latin-1"))))


class QmtpHost:
    """reply: what each recipient is told, `Kok`, `Zlater` or `Dno`, or an Act; or a dict of such by local part, "" for all
    others. Each of them may be a list, for one use after the other. at_start: an Act.
    """

    protocol = QmtpTalker
    port = 209

    def __init__(self, reply="Kok 1234567890 qp 99", *, at_start=None):
        table = reply if isinstance(reply, dict) else {"": reply}
        self.replies = {name: Choice(value) for name, value in {"": "Kok", **table}.items()}
        self.at_start = at_start
        self.connections, self.messages, self.faults = [], [], []
        self.open = self.most_open = 0
