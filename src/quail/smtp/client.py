"""The client's side of an SMTP or LMTP connection (RFC 5321, 1870, 2033, 2920, 6152, 6531) as a machine without I/O.

Write what take_output() returns, feed what comes with receive(), ask next_event() until it returns None, and so on.

    state        on                                         event                       the driver may then
    opening      220, EHLO or HELO 250                      (READY,)                    begin(), quit()
    opening      another greeting, name refused             (UNFIT, GREETING or HELO, Reply)  quit()
    transaction  DATA 3xx, at least one recipient accepted  (GO_AHEAD,)                 write the text, body_sent()
    transaction  nothing is left to hear                    (OVER, Outcome)             begin() if reusable, quit()
    any          peer gone, or what it says is no SMTP      (BROKEN, reason)            close

OVER may come while the text is being written: a server that refuses before the final dot. When the peer goes away and
no recipient could have got the message any more, that is OVER too, not BROKEN. 421 ends the connection, and is taken as
the answer to all that is still unanswered.

With `lmtp` it is LHLO instead of EHLO, without HELO in its place, and OVER comes when each recipient that was accepted has
a reply to the message. If the connection is lost before that it is BROKEN; those replies that have come are in `outcome`,
and count: the server has taken responsibility for these recipients, or has not, one by one.

Being out of step with a server would give a recipient the answer of another, or take 354 for a success. So replies must
be of the right class (2xx, for DATA 3xx, or a refusal), and when a command waits for the reply before it, nothing may
have come behind that reply. qmail-remote takes any code below 400 as success, and waits for each reply: here, a server
that offers PIPELINING gets a transaction's commands in one piece.
"""

from quail.errors import PeerError
from quail.message.address import quote, split
from quail.smtp.client_replies import MAX_TEXT, Replies, Reply
from quail.smtp.path import CONTROLS

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs start-up time, and the shape of an event depends on its first member
    from typing import Any

    Event = tuple[Any, ...]

READY = "ready"
UNFIT = "unfit"
GO_AHEAD = "go ahead"
OVER = "over"
BROKEN = "broken"
GREETING = "greeting"
HELO = "helo"

MAX_RECIPIENTS = 100  # of a transaction: what RFC 5321 section 4.5.3.1.8 says that every server takes
NO_REPLY = Reply(0, b"")
_SIZE_DIGITS = 20  # RFC 1870 section 4
_CLOSING = 421
_NO_BREAKERS = bytes(set(range(256)) - set(b"<> "))  # in a host, which is never quoted, those would end the address

_GREETING, _EHLO, _HELO, _UNFIT, _IDLE, _COMMANDS, _TEXT, _FINAL, _CLOSED = range(9)


def sendable(address: bytes) -> bool:
    """Whether the address can stand in a command: no control character, no angle bracket or blank in its host."""
    return address.translate(None, CONTROLS) == address and not split(address)[1].translate(None, _NO_BREAKERS)


class Outcome:
    """What the server has said to one transaction. A command that was not sent, or whose answer does not count, has none.

    `sender.code` is 0 before MAIL was answered. `recipients` are in the order of begin(); None: not answered, for MAIL was
    refused. `data` and `final` are told only if a recipient was accepted. LMTP has `finals` instead of `final`, one for each
    of `recipients` once DATA was accepted: None where a recipient was refused, or has no reply to the message.
    """

    __slots__ = ("data", "final", "finals", "recipients", "sender")

    def __init__(self, count: int) -> None:
        self.sender = NO_REPLY
        self.recipients: list[Reply | None] = [None] * count
        self.data: Reply | None = None
        self.final: Reply | None = None
        self.finals: list[Reply | None] = []

    def accepted(self) -> list[int]:
        """The places of the recipients that were accepted."""
        return [place for place, reply in enumerate(self.recipients) if reply is not None and reply.code < 300]


class Client:
    """One connection.

    `extensions` are the keywords of EHLO in upper case with their parameters, empty after HELO; `size_limit` is SIZE's, 0
    if none was said. `peer_name` is how the server called itself in its answer to EHLO or HELO. `outcome` is what is known
    of the present transaction or the last one, None before the first. `answers` counts the replies that have come whole.

    Of the present transaction: `dot_sent`: the final dot has gone out, so that if the connection is lost now the message
    may be there all the same; `untouched`: no byte of an answer to MAIL or to what follows has come.
    """

    __slots__ = (
        "_accepted",
        "_eof",
        "_helo",
        "_lmtp",
        "_output",
        "_replies",
        "_reset_first",
        "_state",
        "_step",
        "_unsent",
        "_waiting",
        "answers",
        "dot_sent",
        "extensions",
        "outcome",
        "peer_name",
        "size_limit",
        "untouched",
    )

    def __init__(self, helo: bytes, *, lmtp: bool = False) -> None:
        """`helo` is the name that we give."""
        self._helo = helo
        self._lmtp = lmtp
        self._state = _GREETING
        self._replies = Replies()
        self._output: list[bytes] = []
        self._eof = False
        self._reset_first = False  # the server may still hold a transaction
        self._unsent: list[bytes] = []  # the commands that wait for replies, last first
        self._step = 0  # whose reply is next: -1 RSET, 0 MAIL, then the recipients, then DATA
        self._accepted = False  # the sender and at least one recipient
        self._waiting: list[int] = []  # LMTP, after the text: the places whose replies are still to come, last first
        self.answers = 0
        self.extensions: dict[bytes, bytes] = {}
        self.size_limit = 0
        self.peer_name = b""
        self.dot_sent = False
        self.untouched = True
        self.outcome: Outcome | None = None

    # ---- what the driver calls

    @property
    def reusable(self) -> bool:
        """Whether begin() may be called now."""
        return self._state == _IDLE and not self._eof and not self._replies.pending

    def receive(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self._state not in (_UNFIT, _CLOSED) and data:
            self._replies.feed(data)
            if self._step >= 0:
                self.untouched = False

    def eof(self) -> None:
        """The server has closed, or the connection is lost."""
        self._eof = True

    def take_output(self) -> bytes:
        """What is to be written now, in one piece; it is forgotten here."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    def begin(self, sender: bytes, recipients: list[bytes], *, size: int, eight_bit: bool, utf8: bool) -> None:
        """Start a transaction with 1 to MAX_RECIPIENTS recipients; addresses without quoting, `size` in bytes as sent.

        The parameters of MAIL are only those that the server offers. ValueError: an address is not sendable().
        """
        if not self.reusable:
            raise RuntimeError("this connection is not ready for a transaction")
        if not 0 < len(recipients) <= MAX_RECIPIENTS:
            raise ValueError(f"{len(recipients)} recipients in one transaction")
        if not (sendable(sender) and all(map(sendable, recipients))):
            raise ValueError("an address that can't stand in a command")
        offered = self.extensions
        utf8 = utf8 and b"SMTPUTF8" in offered
        mail = b"MAIL FROM:<%b>" % quote(sender, utf8=utf8)
        if b"SIZE" in offered:
            mail += b" SIZE=%d" % size
        if eight_bit and b"8BITMIME" in offered:
            mail += b" BODY=8BITMIME"
        if utf8:
            mail += b" SMTPUTF8"
        commands = [mail + b"\r\n"]
        commands += [b"RCPT TO:<%b>\r\n" % quote(recipient, utf8=utf8) for recipient in recipients]
        commands.append(b"DATA\r\n")
        self._step = 0
        if self._reset_first:
            self._step = -1
            commands.insert(0, b"RSET\r\n")
        if b"PIPELINING" in offered:
            self._output += commands
        else:
            commands.reverse()
            self._output.append(commands.pop())
            self._unsent = commands
        self._accepted = False
        self._state = _COMMANDS
        self.dot_sent = False
        self.untouched = True
        self.outcome = Outcome(len(recipients))

    def body_sent(self) -> None:
        """The whole text, as smtp/outgoing.py encodes it, is written: the final dot goes into the output."""
        if self._state == _TEXT:
            self._output.append(b".\r\n")
            self._state = _FINAL
            self.dot_sent = True
        elif self._state != _CLOSED:
            raise RuntimeError("no text is awaited")

    def quit(self) -> None:
        """QUIT goes into the output, if anybody is there to read it; its answer is not waited for."""
        if self._state in (_COMMANDS, _TEXT, _FINAL):
            raise RuntimeError("a transaction is under way")
        if not self._eof and self._state != _CLOSED:
            self._output.append(b"QUIT\r\n")
        self._close()

    def next_event(self) -> "Event | None":
        """The next event; None: more bytes, or the driver's next step, are needed."""
        replies = self._replies
        while True:
            state = self._state
            if state in (_UNFIT, _CLOSED):
                return None
            if state == _IDLE:
                if replies.pending:
                    return self._lost("the server speaks without being asked")
                return self._lost("connection closed") if self._eof else None
            try:
                reply = replies.next()
            except PeerError as error:
                return self._lost(str(error))
            if reply is None:
                return self._lost("connection closed") if self._eof else None
            self.answers += 1
            if state == _COMMANDS:
                event = self._answered(reply)
            elif state == _FINAL:
                event = self._finished(reply)
            elif state == _TEXT:
                event = self._interrupted(reply)
            else:
                event = self._opened(reply)
            if event is not None:
                return event

    # ---- replies

    def _opened(self, reply: Reply) -> "Event | None":
        """A reply to the connection, EHLO or HELO."""
        code = reply.code
        if self._state == _GREETING:
            if code != 220:
                return self._unfit(GREETING, reply)
            self._state = _EHLO
            return self._send(b"%b %b\r\n" % (b"LHLO" if self._lmtp else b"EHLO", self._helo))
        if code == 250:
            self.peer_name = reply.text[4:].split(b"\n", 1)[0].partition(b" ")[0]
            if self._state == _EHLO:
                self._read_extensions(reply.text)
            self._state = _IDLE
            return (READY,)
        if self._state == _EHLO and code >= 500 and not self._lmtp:
            self._state = _HELO
            return self._send(b"HELO %b\r\n" % self._helo)
        return self._unfit(HELO, reply)

    def _read_extensions(self, text: bytes) -> None:
        lines = text.split(b"\n")
        if len(text) >= MAX_TEXT:
            lines.pop()  # it may have been cut
        for line in lines[1:]:
            keyword, _, parameters = line[4:].strip().partition(b" ")
            self.extensions[keyword.upper()] = parameters
        size = self.extensions.get(b"SIZE", b"")
        if size.isdigit() and len(size) <= _SIZE_DIGITS:
            self.size_limit = int(size)

    def _answered(self, reply: Reply) -> "Event | None":
        """A reply to RSET, MAIL, RCPT or DATA."""
        outcome = self.outcome
        assert outcome is not None
        code = reply.code
        step = self._step
        if step < 0:
            if code >= 300:
                return self._lost(f"RSET was answered with {code}")
            self._step = 0
            self.untouched = not self._replies.pending
            return self._send_next()
        last = len(outcome.recipients) + 1
        if code == _CLOSING:
            return self._closing(reply, outcome)
        if step == last:
            return self._data_answered(reply, outcome)
        if 300 <= code < 400:
            return self._lost(f"{'RCPT' if step else 'MAIL'} was answered with {code}")
        self._step = step + 1
        if step == 0:
            outcome.sender = reply
            self._reset_first = code < 300
            if code >= 400 and self._unsent:
                return self._over()
        elif outcome.sender.code < 300:
            outcome.recipients[step - 1] = reply
            if code < 300:
                self._accepted = True
            elif step + 1 == last and self._unsent and not self._accepted:
                return self._over()
        return self._send_next()

    def _data_answered(self, reply: Reply, outcome: Outcome) -> "Event | None":
        code = reply.code
        if code < 300:
            return self._lost(f"DATA was answered with {code}")
        if self._accepted:
            outcome.data = reply
            if code >= 400:
                return self._over()
            self._state = _TEXT
            if self._lmtp:
                self._waiting = outcome.accepted()[::-1]
                outcome.finals = [None] * len(outcome.recipients)
            # What stands behind it already can't be about a text that was not sent: the next reply tells what it is.
            return None if self._replies.pending else (GO_AHEAD,)
        if code >= 400:
            return self._over()
        if self._lmtp:
            return self._lost(f"DATA was answered with {code} although no recipient was accepted")
        # It waits for a text for nobody: RFC 2920 section 3.1 says to send an empty one.
        self._state = _FINAL
        return self._send(b".\r\n")

    def _interrupted(self, reply: Reply) -> "Event":
        """A reply although we are not at the end of the text."""
        assert self.outcome is not None
        if reply.code < 400:
            return self._lost(f"{reply.code} before the end of the message")
        self._answer_rest(reply)
        return self._over(closed=True)

    def _finished(self, reply: Reply) -> "Event | None":
        """A reply to the final dot."""
        outcome = self.outcome
        assert outcome is not None
        if 300 <= reply.code < 400:
            return self._lost(f"the message was answered with {reply.code}")
        closed = reply.code == _CLOSING
        if closed or not self._lmtp:
            self._answer_rest(reply)
        else:
            outcome.finals[self._waiting.pop()] = reply
            if self._waiting:
                return None
        self._reset_first = False
        return self._over(closed=closed)

    def _answer_rest(self, reply: Reply) -> None:
        """A reply to the message for all who have none yet."""
        outcome = self.outcome
        assert outcome is not None
        if not self._lmtp:
            outcome.final = reply if self._accepted else None
        while self._waiting:
            outcome.finals[self._waiting.pop()] = reply

    def _closing(self, reply: Reply, outcome: Outcome) -> "Event":
        """421 to a command: the answer to all commands that have none yet, if they still mattered."""
        if self._step == 0:
            outcome.sender = reply
        elif outcome.sender.code < 300:
            at = self._step - 1
            outcome.recipients[at:] = [reply] * (len(outcome.recipients) - at)
            if self._accepted:
                outcome.data = reply
        return self._over(closed=True)

    # ---- steps

    def _send_next(self) -> "Event | None":
        return self._send(self._unsent.pop()) if self._unsent else None

    def _send(self, command: bytes) -> "Event | None":
        """Send what waited for the reply that was just read: no other can have been meant for it."""
        if self._replies.pending:
            return self._lost("more replies than commands")
        self._output.append(command)
        return None

    def _over(self, *, closed: bool = False) -> "Event":
        self._unsent.clear()
        self._state = _IDLE
        if closed:
            self._close()
        return OVER, self.outcome

    def _unfit(self, where: str, reply: Reply) -> "Event":
        self._close()
        if reply.code != _CLOSING:
            self._state = _UNFIT  # QUIT may still be said
        return UNFIT, where, reply

    def _lost(self, reason: str) -> "Event":
        outcome = self.outcome if self._state in (_COMMANDS, _FINAL) and not self._accepted else None
        self._close()
        if outcome is not None and (outcome.sender.code >= 400 or None not in outcome.recipients):
            return OVER, outcome  # nobody gets the message: the server hung up instead of answering the rest
        return BROKEN, reason

    def _close(self) -> None:
        self._state = _CLOSED
        self._replies = Replies()
        self._unsent.clear()
