"""LMTP hosts that do as a script says, for smtphost.Hosts (RFC 2033)."""

import re

from tests.remote.hostactions import Choice, action
from tests.remote.smtphost import SmtpHost, SmtpTalker


class LmtpTalker(SmtpTalker):
    def on_LHLO(self, line):
        if self.transaction or self.extended is not None or not re.fullmatch(rb"LHLO [\w.\[\]:-]+", line):
            self.fault(f"a bad or late {line!r}")
        if super().stage("ehlo"):
            self.extended = True

    def on_EHLO(self, line):
        self.fault(f"{line!r} is not LMTP")
        self.do(action("500 LHLO?"))

    def on_HELO(self, line):
        self.on_EHLO(line)

    def stage(self, name):
        """After the message each recipient that was accepted has an answer."""
        if name != "final":
            return super().stage(name)
        good = False
        for address in self.connection.transactions[-1].accepted:
            local = address.rpartition(b"@")[0].lower()
            act = action((self.host.finals.get(local) or self.host.finals[b""]).next())
            if self.deaf:
                break
            self.do(act)
            good = act.good or good
        return good


class LmtpHost(SmtpHost):
    """finals: what each recipient is told after the message, as SmtpHost's rcpt."""

    protocol = LmtpTalker
    port = 24

    def __init__(self, *, finals="250 ok", **script):
        super().__init__(**script)
        table = finals if isinstance(finals, dict) else {"": finals}
        self.finals = {name.encode(): Choice(value) for name, value in {"": "250 ok", **table}.items()}
