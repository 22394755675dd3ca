"""One message to an LMTP server, for a process that can wait: what qmail-lmtp does. Starts lean.

The message goes out once, to all recipients in one transaction; the machine is smtp/client.py, and here are its waits.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os
import select
import time
from _collections_abc import Callable, Iterator

from quail.control.routes import Relay
from quail.delivery.remote.message import Mail
from quail.errors import PermanentError, TemporaryError
from quail.net.pump import PeerGoneError, Pump
from quail.oserrors import words
from quail.smtp.client import BROKEN, GO_AHEAD, READY, Client, Outcome
from quail.smtp.client_replies import Reply
from quail.smtp.outgoing import Encoder

_BUSY = 50  # milliseconds between tries of a Unix socket that has no room: nothing tells when it has (connect(2))

TYPE_CHECKING = False
if TYPE_CHECKING:  # see quail.smtp.client
    from quail.smtp.client import Event


def connect(relay: Relay, patience: int, say: Callable[[str], object]) -> socket.socket:
    """A connection, in so many seconds; TemporaryError if there is none. `say` is told of addresses that do not answer."""
    if relay.host.startswith(b"/"):
        return _connect_path(os.fsdecode(relay.host), patience)
    from quail.net.dial import Dialler  # noqa: PLC0415  most servers have a path

    dialler = Dialler(say)
    dialler.patience = (min(2, patience), max(0, patience - 2))
    made = dialler.dial(relay.host, b"%d" % relay.port)
    if made is None:
        raise TemporaryError("no LMTP server takes the connection")
    return made


def _connect_path(path: str, patience: int) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    last_try = time.monotonic() + patience
    try:
        while True:
            try:
                made.connect(path)
                break
            except BlockingIOError:
                if time.monotonic() >= last_try:
                    raise
                select.poll().poll(_BUSY)
    except OSError as error:
        made.close()
        raise TemporaryError(f"unable to connect to the LMTP server at {path}: {words(error)}") from error
    made.setblocking(True)
    return made


class Handover:
    """One connection, one message. `patience`: seconds that the server may be silent, or take nothing."""

    def __init__(self, connection: socket.socket, helo: bytes, patience: int) -> None:
        """`helo` is the name that we give. The connection stays the caller's."""
        self._pump = Pump(connection.fileno(), connection.fileno(), patience)
        self._client = Client(helo, lmtp=True)

    def send(self, mail: Mail, prefix: bytes) -> list[Reply | None]:
        """What each recipient was told, None: nothing, and that may be all who come behind too. `prefix` goes before the text.

        TemporaryError, PermanentError: nobody has got it. UnreadableError.
        """
        event = self._next()
        if event[0] == BROKEN:
            raise TemporaryError(f"the LMTP server is gone: {event[1]}")
        if event[0] != READY:
            raise TemporaryError(f"the LMTP server says: {_shown(event[2])}")
        client = self._client
        size = mail.sent_size + len(prefix) + prefix.count(b"\n")
        if mail.needs_utf8 and b"SMTPUTF8" not in client.extensions:
            raise PermanentError("the LMTP server does not take addresses that are not ASCII (it has no SMTPUTF8)")
        if 0 < client.size_limit < size:
            raise PermanentError(f"the LMTP server takes {client.size_limit} bytes at most; these are {size}")
        eight_bit = not (mail.is_ascii and prefix.isascii())
        client.begin(mail.sender, mail.recipients, size=size, eight_bit=eight_bit, utf8=mail.needs_utf8)
        event = self._next()
        if event[0] == GO_AHEAD:
            event = self._send_text(mail, prefix)
        outcome = client.outcome
        assert outcome is not None
        if event[0] == BROKEN and not any(outcome.finals):
            late = " after it had got the message, and may have delivered it" if client.dot_sent else ""
            raise TemporaryError(f"the LMTP server is gone{late}: {event[1]}")
        return _told(outcome)

    def quit(self) -> None:
        """Say good-bye; the answer does not matter."""
        self._client.quit()
        try:
            self._flush()
        except PeerGoneError:
            pass

    def _send_text(self, mail: Mail, prefix: bytes) -> "Event":
        encoder = Encoder()
        try:
            self._pump.write(encoder.feed(prefix))
            for piece in mail.chunks():
                self._pump.write(encoder.feed(piece))
            self._pump.write(encoder.finish())
            self._client.body_sent()
            self._flush()
        except PeerGoneError:
            return self._last_words()
        return self._next()

    def _last_words(self) -> "Event":
        """What the server had said before it went away, if anything."""
        while data := self._pump.read():
            self._client.receive(data)
        self._client.eof()
        return self._next()

    def _next(self) -> "Event":
        """The next event; PeerGoneError in the middle of commands counts as the end of the connection."""
        while (event := self._client.next_event()) is None:
            try:
                self._flush()
                data = self._pump.read()
            except PeerGoneError:
                return self._last_words()
            if data is None:
                self._client.eof()
                event = self._client.next_event()
                return event if event is not None and event[0] != BROKEN else (BROKEN, "it says nothing")
            if data:
                self._client.receive(data)
            else:
                self._client.eof()
        return event

    def _flush(self) -> None:
        output = self._client.take_output()
        if output:
            self._pump.write(output)


def _told(outcome: Outcome) -> list[Reply | None]:
    """For each recipient the reply that decides about him."""
    if outcome.sender.code >= 400:
        return [outcome.sender] * len(outcome.recipients)
    told = list(outcome.recipients)
    for place in outcome.accepted():
        told[place] = outcome.data if outcome.data is not None and outcome.data.code >= 400 else outcome.finals[place]
    return told


def _shown(reply: Reply) -> str:
    return os.fsdecode(reply.text.replace(b"\n", b" / "))


def lines(mail: Mail, told: list[Reply | None]) -> Iterator[str]:
    """What became of each recipient, for a person."""
    for recipient, reply in zip(mail.recipients, told, strict=True):
        yield f"{os.fsdecode(recipient)}: {_shown(reply) if reply is not None else 'no answer; the connection is lost'}"
