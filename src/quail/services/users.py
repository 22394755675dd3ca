"""users: whose address is this, and does it exist? (DESIGN.md, Processes). docs/formats/local-sockets.md has the frames.

smtpd asks at RCPT, lspawn for each delivery. Answers come from users/cdb, in a system home then from the machine's accounts,
and from the dot-qmail files in homes. A home that can't be read counts as having the mailbox: refusing needs certainty.
HUP re-reads the control files; users/cdb is read as it is at each question.

In a system home the name service and the disks of homes may be slow, or not answer at all. What users/cdb settles, and what was
asked a moment ago, is answered at once; the rest is looked up in threads, and each question has an answer in time, if only
that it can't be told now.
"""

import signal
import socket
import time
from collections.abc import Callable

from quail.control.reader import Control
from quail.errors import PeerError, QuailError, TemporaryError
from quail.message import address
from quail.message.routing import LOCAL, Routes
from quail.net.offload import Offload
from quail.net.pollloop import READ, FrameStream, Listener, Loop
from quail.net.users_protocol import (
    FIND_USER,
    IS_KNOWN,
    KNOWN,
    MAX_REQUEST,
    TROUBLE,
    UNKNOWN,
    Message,
    Owner,
    decode,
    encode,
    encode_owner,
)
from quail.supervise.context import Context
from quail.users import rcpt
from quail.users.forwarded import Forwarded
from quail.users.getpw import BREAK
from quail.users.nss import by_name
from quail.users.owners import Owners

MAX_UNSENT = 1 << 20  # bytes of answers that a client has not taken; then its questions wait
THREADS = 32  # look-ups at once
THREADS_EACH = 4  # of them for one user, who may have made his home hang
MAX_WAITING = 10_000  # look-ups, and questions, beyond that
MAX_WAITING_EACH = 200  # look-ups of one user
PATIENCE = 8.0  # seconds from a question to its answer; clients wait 10
FRESH = 1.0  # seconds that the answer of a look-up is kept
MAX_KEPT = 10_000  # answers

_SLOW = TROUBLE, b"the look-up takes too long"
_BUSY = TROUBLE, b"too many look-ups at once"

Answer = tuple[bytes, bytes]
"""Letter and payload, as in users_protocol."""


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


class _Waiting:
    """A question without an answer."""

    __slots__ = ("client", "key", "question", "until")

    def __init__(self, client: FrameStream, question: Message, key: tuple[bytes, ...], until: float) -> None:
        """`key` names the look-up that it waits for; `until` is a time.monotonic()."""
        self.client = client
        self.question = question
        self.key = key
        self.until = until


class Users:
    """The service; serve() is its life."""

    def __init__(self, context: Context) -> None:
        """TemporaryError if a control file is malformed or can't be read."""
        self._log = context.log
        self._ready = context.ready
        self._stopping = False
        self._clock = time.monotonic
        self._loop = Loop()
        self._loop.on_signal(signal.SIGTERM, self._terminate)
        self._loop.on_signal(signal.SIGHUP, self._reread)  # before reading: what changes meanwhile is read again
        self._rules = _Rules()
        self._system = context.mode == "system"
        self._owners = Owners(self._system, home=context.home, by_name=by_name)
        self._forwarded = Forwarded()
        self._offload = Offload(
            self._loop,
            threads=THREADS,
            threads_each=THREADS_EACH,
            waiting=MAX_WAITING,
            waiting_each=MAX_WAITING_EACH,
        )
        self._lookups: dict[tuple[bytes, ...], list[_Waiting]] = {}
        self._waiting: dict[_Waiting, None] = {}  # of all look-ups, the oldest first
        self._kept: dict[tuple[bytes, ...], tuple[Answer, float]] = {}  # until when: time.monotonic()
        self._clients: set[FrameStream] = set()
        self._listener = Listener(self._loop, context.sockets["users.sock"], self._accept)
        self._loop.add(context.life_fd, READ, self._orphaned)

    def serve(self) -> None:
        """Until TERM: clients ask again when the next one has started."""
        self._ready()
        while not self._stopping:
            first = next(iter(self._waiting), None)
            self._loop.once(None if first is None else first.until - self._clock())
            self._give_up()

    def _orphaned(self, _events: int) -> None:
        raise SystemExit(111)  # serve is gone

    def _terminate(self) -> None:
        self._stopping = True

    def _reread(self) -> None:
        self._kept.clear()
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
            self._take(client, question)

    def _answer(self, client: FrameStream, question: Message, answer: Answer) -> None:
        letter, payload = answer
        if letter == TROUBLE:
            self._log(f"can't tell about {question.payload!r}: {payload.decode(errors='backslashreplace')}")
        client.send(encode(question.tag, letter, payload))

    # What is asked

    def _take(self, client: FrameStream, question: Message) -> None:
        if question.letter == IS_KNOWN:
            judged = self._judged(question.payload)
            if judged is None:
                self._answer(client, question, (KNOWN, b""))
            else:
                self._is_known(client, question, *judged)
        elif question.letter == FIND_USER:
            self._find_user(client, question)
        else:
            self._answer(client, question, (TROUBLE, b"the users service does not know this question"))

    def _judged(self, recipient: bytes) -> tuple[bytes, bytes] | None:
        """Local part and host, after rewriting, of an envelope recipient as the client gave it. None: not for us to judge."""
        if not self._rules.check:
            return None
        where, rewritten = self._rules.routes.route(recipient)
        return address.split(rewritten) if where == LOCAL else None

    def _is_known(self, client: FrameStream, question: Message, local: bytes, host: bytes) -> None:
        assigned: Owner | None = None

        def owner(_local: bytes) -> Owner | None:
            return self._owners.account(local) if assigned is None and self._system else assigned

        def check() -> Answer:
            return rcpt.check(local, owner, host=host, forwarded=self._forwarded)

        try:
            if rcpt.possible(local):
                assigned = self._owners.assigned(local)
        except QuailError as error:
            self._answer(client, question, _trouble(error))
            return
        settled = not rcpt.possible(local) or (assigned is not None and not assigned.dash)
        if settled or not self._system:
            self._answer(client, question, check())
        elif assigned is None:
            self._look_up(client, question, _first_word(local), (IS_KNOWN, local, host), check)
        else:
            key = IS_KNOWN, assigned.home, assigned.dash, assigned.ext, host
            self._look_up(client, question, assigned.home, key, check)

    def _find_user(self, client: FrameStream, question: Message) -> None:
        """Of a local part as it is delivered."""
        local = question.payload
        try:
            owner = self._owners.assigned(local)
        except QuailError as error:
            self._answer(client, question, _trouble(error))
            return
        if owner is not None:
            self._answer(client, question, (KNOWN, encode_owner(owner)))
        elif not self._system:
            self._answer(client, question, (UNKNOWN, b""))
        else:
            self._look_up(client, question, _first_word(local), (FIND_USER, local), lambda: self._account(local))

    def _account(self, local: bytes) -> Answer:
        try:
            return KNOWN, encode_owner(self._owners.account(local))
        except QuailError as error:
            return _trouble(error)

    # What takes time

    def _look_up(
        self,
        client: FrameStream,
        question: Message,
        lane: bytes,
        key: tuple[bytes, ...],
        call: Callable[[], Answer],
    ) -> None:
        """Answer with what `call` returns, in time; questions with one key share the call, and its answer for a moment.

        `lane` stands for the user who may be the reason that it hangs.
        """
        kept = self._kept.get(key)
        if kept is not None and kept[1] > self._clock():
            self._answer(client, question, kept[0])
            return
        if len(self._waiting) >= MAX_WAITING:
            self._answer(client, question, _BUSY)
            return
        waiting = _Waiting(client, question, key, self._clock() + PATIENCE)
        if key not in self._lookups:
            if not self._offload.submit(lane, call, lambda answer: self._looked_up(key, answer)):
                self._answer(client, question, _BUSY)
                return
            self._lookups[key] = []
        self._lookups[key].append(waiting)
        self._waiting[waiting] = None

    def _looked_up(self, key: tuple[bytes, ...], answer: Answer | Exception) -> None:
        if isinstance(answer, Exception):
            answer = TROUBLE, f"this is a bug: {type(answer).__name__}: {answer}".encode(errors="backslashreplace")
        if answer[0] != TROUBLE:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = answer, self._clock() + FRESH
        for waiting in self._lookups.pop(key):
            del self._waiting[waiting]
            self._answer(waiting.client, waiting.question, answer)

    def _give_up(self) -> None:
        """Answer the questions that have waited too long; what they wait for goes on, and its answer is kept."""
        now = self._clock()
        while (first := next(iter(self._waiting), None)) is not None and first.until <= now:
            del self._waiting[first]
            self._lookups[first.key].remove(first)
            self._answer(first.client, first.question, _SLOW)


def _first_word(local: bytes) -> bytes:
    """All names that may be the account of one user begin with it."""
    return local.split(BREAK, 1)[0].lower()


def _trouble(error: QuailError) -> Answer:
    return TROUBLE, str(error).encode(errors="surrogateescape")
