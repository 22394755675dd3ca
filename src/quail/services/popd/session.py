"""One POP3 session behind the log-in, between two descriptors and a Maildir: blocking, in a process of its own, as the user.

Used by qmail-pop3d on descriptors 0 and 1, and by the processes that popd's log-ins end in. Memory does not depend on the sizes
of messages: large ones are streamed.
"""

import os
import time

from quail.errors import QuailError
from quail.net.pump import PeerGoneError, Pump
from quail.pop3.session import CLOSE, CONTENT, FLUSH, SIZES, UIDS, UPDATE, Session
from quail.storage.calls import REAL, SystemCalls
from quail.storage.maildrop import Maildrop

TIMEOUT = 1200  # seconds of silence; RFC 1939 section 3 asks for 600 at least
NO_MAILDIR = b"-ERR this user has no $HOME/Maildir\r\n"
UNREADABLE = b"-ERR unable to scan $HOME/Maildir\r\n"
UNAVAILABLE = b"-ERR [SYS/TEMP] unable to open the mailbox now\r\n"
_SMALL = 1 << 16  # bytes: what is read at once, and sent with its +OK in one piece
_PIECE = 1 << 18


class MaildirError(QuailError):
    """There is no Maildir, or it can't be looked through; the client has been told."""


class Served:
    """What a session did, for the log. `reason` is quit, end of input, timeout, peer gone, or what else ended it."""

    __slots__ = ("failures", "messages", "reason", "removed", "sent")

    def __init__(self, messages: int) -> None:
        """`messages` were there, `sent` counts those of RETR and TOP; `failures` are of those that could not be removed."""
        self.reason = ""
        self.messages = messages
        self.sent = self.removed = 0
        self.failures: list[OSError] = []


def serve(
    input_fd: int,
    output_fd: int,
    maildir: str,
    *,
    rest: bytes = b"",
    quirks: bool = False,
    missing_ok: bool = False,
    timeout: float = TIMEOUT,
    calls: SystemCalls = REAL,
) -> Served:
    """Serve the mailbox until the end. The descriptors stay open; sockets get options, and are quickest if they block.

    `rest` is what the client has sent behind its log-in already (Login.rest()). `quirks` as in quail.pop3.session and Maildrop;
    `missing_ok`: a Maildir that does not exist is an empty one. MaildirError.
    """
    pump = Pump(input_fd, output_fd, timeout)
    try:
        drop = _open(maildir, pump, quirks=quirks, missing_ok=missing_ok, calls=calls)
    except PeerGoneError as error:
        raise MaildirError(str(error)) from error
    driver = _Driver(pump, drop, Session(len(drop), rest, quirks=quirks), calls, quirks=quirks)
    try:
        driver.served.reason = driver.run()
    except PeerGoneError:
        driver.served.reason = "peer gone"
    except Exception:
        driver.excuse()
        raise
    return driver.served


def _open(maildir: str, pump: Pump, *, quirks: bool, missing_ok: bool, calls: SystemCalls) -> Maildrop:
    now = time.time()
    try:
        drop = Maildrop(maildir, before=int(now) if quirks else None, missing_ok=missing_ok, calls=calls)
    except OSError as error:
        pump.write(UNREADABLE if os.path.isdir(maildir) else NO_MAILDIR)
        raise MaildirError(f"unable to read {maildir}: {error.strerror}") from error
    drop.clean(now)
    return drop


class _Driver:
    """The machine's questions, answered from the Maildir."""

    __slots__ = ("_calls", "_drop", "_has_spoken", "_pump", "_quirks", "_session", "served")

    def __init__(self, pump: Pump, drop: Maildrop, session: Session, calls: SystemCalls, *, quirks: bool) -> None:
        self._pump = pump
        self._drop = drop
        self._session = session
        self._calls = calls
        self._quirks = quirks
        self._has_spoken = False
        self.served = Served(len(drop))

    def run(self) -> str:
        """Why it ended. PeerGoneError."""
        session, pump, drop = self._session, self._pump, self._drop
        session.start()
        while True:
            event = session.next_event()
            if event is None:
                self._flush()
                data = pump.read()
                if data is None:
                    session.timeout()
                else:
                    session.receive(data)
                continue
            kind = event[0]
            if kind == CONTENT:
                self._send(event[1])
            elif kind == FLUSH:
                self._flush()
            elif kind == SIZES:
                session.sizes(drop.sizes(quirks=self._quirks))
            elif kind == UIDS:
                session.uids(drop.uids(quirks=self._quirks))
            elif kind == UPDATE:
                self.served.failures = drop.update(event[1])
                self.served.removed = len(event[1]) - len(self.served.failures)
                session.updated(len(self.served.failures))
            elif kind == CLOSE:
                self._flush()
                reason: str = event[1]
                return reason

    def _flush(self) -> None:
        output = self._session.take_output()
        if output:
            self._has_spoken = True
            self._pump.write(output)

    def excuse(self) -> None:
        """A client that waits for its log-in's answer gets one; later, a line could be taken for a command's."""
        try:
            if not self._has_spoken:
                self._pump.write(UNAVAILABLE)
        except PeerGoneError:
            pass

    def _send(self, index: int) -> None:
        """Give the machine the message, and the client what comes of it."""
        session, calls = self._session, self._calls
        try:
            fd = self._drop.open(index)
        except OSError:
            session.unavailable()
            return
        try:
            try:
                # One byte more than there should be, to see that there is no more.
                data = calls.pread(fd, min(self._drop.stored(index) + 1, _SMALL), 0)
            except OSError:
                session.unavailable()
                return
            self.served.sent += 1
            if len(data) == self._drop.stored(index) < _SMALL:
                session.whole(data)
                return
            offset = 0
            while session.content(data):
                offset += len(data)
                self._flush()
                try:
                    data = calls.pread(fd, _PIECE, offset)
                except OSError:
                    session.broken()
                    return
        finally:
            calls.close(fd)
