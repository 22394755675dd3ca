"""Questions to the users service from a poll loop: pipelined, and asked again when the service was restarted.

Answers about local parts are kept for a second: in a burst of mail most ask the same.
"""

from collections import deque
from collections.abc import Callable

from quail.errors import PeerError
from quail.net.pollloop import FrameStream, Loop
from quail.net.unix_stream import connect
from quail.net.users_protocol import FIND_USER, KNOWN, MAX_REPLY, TROUBLE, UNKNOWN, decode, decode_owner, encode

PATIENCE = 10.0  # seconds that a question waits for its answer
FRESH = 1.0  # seconds that an answer is kept
MAX_KEPT = 10_000  # answers


class Answer:
    """What the service says about a local part: KNOWN with an owner, UNKNOWN, or TROUBLE with a text."""

    __slots__ = ("letter", "payload", "until")

    def __init__(self, letter: bytes, payload: bytes, until: float) -> None:
        """`until` is the time.monotonic() up to which it may be used."""
        self.letter = letter
        self.payload = payload
        self.until = until


class UsersClient:
    """One connection, made when it is needed."""

    def __init__(
        self,
        loop: Loop,
        path: str,
        on_answer: Callable[[bytes, Answer], None],
        clock: Callable[[], float],
    ) -> None:
        """on_answer gets (local part, answer) once for each ask()."""
        self._loop = loop
        self._path = path
        self._on_answer = on_answer
        self._clock = clock
        self._stream: FrameStream | None = None
        self._kept: dict[bytes, Answer] = {}
        self._asked: dict[int, tuple[bytes, float]] = {}  # tag: local part, when to give up; in order of asking
        self._unsent: deque[int] = deque()
        self._last_tag = 0

    @property
    def waiting(self) -> bool:
        """Whether questions are open: then tick() must be called now and again."""
        return bool(self._asked)

    def known(self, local: bytes) -> Answer | None:
        """A fresh answer, if there is one."""
        answer = self._kept.get(local)
        return answer if answer is not None and answer.until > self._clock() else None

    def ask(self, local: bytes) -> None:
        """Ask; the answer comes through on_answer, never from within this call."""
        self._last_tag = (self._last_tag + 1) & 0xFFFFFFFF
        self._asked[self._last_tag] = (local, self._clock() + PATIENCE)
        self._unsent.append(self._last_tag)
        self._send()

    def tick(self) -> None:
        """Connect again if need be, and answer TROUBLE for what has waited too long."""
        now = self._clock()
        late = [tag for tag, (_, deadline) in self._asked.items() if deadline <= now]
        for tag in late:
            self._answered(tag, TROUBLE, b"no answer from the users service")
        self._send()

    def close(self) -> None:
        """Drop the connection; open questions get no answer."""
        if self._stream is not None:
            self._stream.close()

    def _send(self) -> None:
        if not self._unsent:
            return
        if self._stream is None:
            try:
                sock = connect(self._path)
            except OSError:  # nobody takes it, or there are no more descriptors: tick() tries again
                return
            self._stream = FrameStream(self._loop, sock, MAX_REPLY, self._read, self._lost)
        while self._unsent:
            tag = self._unsent.popleft()
            if tag in self._asked:
                self._stream.send(encode(tag, FIND_USER, self._asked[tag][0]))

    def _read(self, stream: FrameStream, frames: list[bytes]) -> None:
        for frame in frames:
            try:
                message = decode(frame)
            except PeerError:
                stream.close()
                self._lost(stream, "")
                return
            if message.letter in (KNOWN, UNKNOWN, TROUBLE):
                self._answered(message.tag, message.letter, message.payload)

    def _answered(self, tag: int, letter: bytes, payload: bytes) -> None:
        local, _ = self._asked.pop(tag, (None, 0.0))
        if local is None:
            return
        if letter == KNOWN:
            try:
                decode_owner(payload)
            except PeerError as error:
                letter, payload = TROUBLE, str(error).encode()
        answer = Answer(letter, payload, self._clock() + FRESH)
        if letter != TROUBLE:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[local] = answer
        self._on_answer(local, answer)

    def _lost(self, _stream: FrameStream, _reason: str) -> None:
        """The service went away: ask all open questions again, from tick()."""
        self._stream = None
        self._unsent = deque(self._asked)
