"""users: whose address is this, and does it exist? (DESIGN.md, Processes). docs/formats/local-sockets.md has the frames.

smtpd asks at RCPT, lspawn for each delivery. Answers come from users/cdb and the dot-qmail files in homes. A home that can't be
read counts as having the mailbox: refusing needs certainty. HUP re-reads the control files; users/cdb is read as it is
at each question.
"""

import signal
import socket

from quail.control.reader import Control
from quail.errors import PeerError, QuailError, TemporaryError
from quail.message import address
from quail.message.routing import LOCAL, Routes
from quail.net.pollloop import READ, FrameStream, Listener, Loop
from quail.net.users_protocol import (
    FIND_USER,
    IS_KNOWN,
    KNOWN,
    MAX_REQUEST,
    TROUBLE,
    UNKNOWN,
    decode,
    encode,
    encode_owner,
)
from quail.supervise.context import Context
from quail.users import rcpt
from quail.users.lookup import Lookup

CDB = "users/cdb"
MAX_UNSENT = 1 << 20  # bytes of answers that a client has not taken; then its questions wait


def run(context: Context) -> None:
    """Serve until TERM."""
    Users(context).serve()


class _Rules:
    """One state of the control files."""

    __slots__ = ("check", "routes")

    def __init__(self) -> None:
        """TemporaryError if a file is malformed or can't be read."""
        control = Control()
        self.check = bool(control.integer("rcptcheck"))
        self.routes = Routes(
            control.lines("locals"),
            control.pairs("virtualdomains"),
            control.lines("percenthack"),
            control.line("envnoathost") or b"envnoathost",
        )


class Users:
    """The service; serve() is its life."""

    def __init__(self, context: Context) -> None:
        """TemporaryError if a control file is malformed or can't be read."""
        self._log = context.log
        self._ready = context.ready
        self._stopping = False
        self._loop = Loop()
        self._loop.on_signal(signal.SIGTERM, self._terminate)
        self._loop.on_signal(signal.SIGHUP, self._reread)  # before reading: what changes meanwhile is read again
        self._rules = _Rules()
        self._lookup = Lookup(CDB)
        self._clients: set[FrameStream] = set()
        self._listener = Listener(self._loop, context.sockets["users.sock"], self._accept)
        self._loop.add(context.life_fd, READ, self._orphaned)

    def serve(self) -> None:
        """Until TERM: clients ask again when the next one has started."""
        self._ready()
        while not self._stopping:
            self._loop.once(None)

    def _orphaned(self, _events: int) -> None:
        raise SystemExit(111)  # serve is gone

    def _terminate(self) -> None:
        self._stopping = True

    def _reread(self) -> None:
        try:
            self._rules = _Rules()
        except TemporaryError as error:
            self._log(f"{error}; the old values stay in use")

    def _accept(self, sock: socket.socket) -> None:
        client = FrameStream(self._loop, sock, MAX_REQUEST, self._questions, self._gone, high_water=MAX_UNSENT)
        self._clients.add(client)

    def _gone(self, client: FrameStream, reason: str) -> None:
        self._clients.discard(client)
        if reason:
            self._log(f"connection of a client ended: {reason}")
        self._listener.resume()

    def _questions(self, client: FrameStream, frames: list[bytes]) -> None:
        for frame in frames:
            try:
                question = decode(frame)
            except PeerError as error:
                client.close()
                self._gone(client, str(error))
                return
            client.send(encode(question.tag, *self._answer(question.letter, question.payload)))

    def _answer(self, letter: bytes, payload: bytes) -> tuple[bytes, bytes]:
        if letter == IS_KNOWN:
            answer, text = self._is_known(payload)
        elif letter == FIND_USER:
            answer, text = self._find_user(payload)
        else:
            answer, text = TROUBLE, b"the users service does not know this question"
        if answer == TROUBLE:
            self._log(f"can't tell about {payload!r}: {text.decode(errors='backslashreplace')}")
        return answer, text

    def _is_known(self, recipient: bytes) -> tuple[bytes, bytes]:
        """Of an envelope recipient as the client gave it. What is not delivered here is not for us to judge."""
        if not self._rules.check:
            return KNOWN, b""
        where, rewritten = self._rules.routes.route(recipient)
        if where != LOCAL:
            return KNOWN, b""
        local, _ = address.split(rewritten)
        return rcpt.check(local, self._lookup.find)

    def _find_user(self, local: bytes) -> tuple[bytes, bytes]:
        """Of a local part as it is delivered."""
        try:
            owner = self._lookup.find(local)
        except QuailError as error:
            return TROUBLE, str(error).encode(errors="surrogateescape")
        return (UNKNOWN, b"") if owner is None else (KNOWN, encode_owner(owner))
