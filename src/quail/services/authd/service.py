"""authd: popd brings a name, a secret and the client's connection; somebody who may look says whether they belong
together; then a process that is the user serves the connection (DESIGN.md, Processes; docs/formats/local-sockets.md has
the frames).

In a system home authd is root, and parses nothing but these frames: what they hold is judged by a process for each
attempt, which reads the files with passwords and ends. The session's process is another, which has read none of them. A
plain poll loop without threads, event loop or name service, because it forks. In a single home all is done as the uid that
started serve.
"""

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NoReturn

from quail.control.reader import Control
from quail.delivery import shed
from quail.delivery.settings import program_environment
from quail.errors import PeerError, TemporaryError
from quail.message.logtext import safe
from quail.net.authd_protocol import (
    ACCEPTED,
    MAX_REQUEST,
    REFUSED,
    TROUBLE,
    Request,
    decode_request,
    encode_verdict,
)
from quail.net.frames import frame
from quail.net.pollloop import READ, FrameStream, Listener, Loop
from quail.services.authd import outside, session
from quail.services.authd.settings import Prepare, Settings
from quail.supervise.context import Context
from quail.supervise.descriptors import close_others
from quail.users.check import Attempt, Checker, Login, judge, take

CHECKS = 8  # at once: each takes 19 MiB or what a directory server makes it wait
MAX_WAITING = 256  # attempts that no process has yet
PATIENCE = 30.0  # seconds for an attempt, from its arrival
SESSIONS_OF_USER = 20  # at once
TICK = 1.0  # seconds between looks at attempts that take too long
STOP_WITHIN = 8.0  # seconds from TERM for what sessions are answering
MAX_CHILD_FRAME = 16 << 10  # bytes

BUSY = b"too many log-ins at once, try again later"
TOO_MANY = b"too many sessions, try again later"
TOO_MANY_OF_USER = b"too many sessions of this user, try again later"
_WRONG, _MISUSE = 1, 2  # exit codes of checkpassword programs


def run(context: Context, services: Mapping[bytes, Prepare]) -> None:
    """Serve until TERM. services: what sessions may speak, by the name that is in the frames."""
    shed.prepare()
    Authd(context, services).serve()


class _Attempt:
    """One log-in: waiting, then with a process that judges; after a verdict it is forgotten."""

    __slots__ = ("client", "deadline", "origin", "pid", "request", "stream")

    def __init__(self, origin: FrameStream, request: Request, client: int, deadline: float) -> None:
        self.origin = origin
        self.request = request
        self.client = client
        self.deadline = deadline
        self.pid = 0
        self.stream: FrameStream | None = None

    def close(self) -> None:
        if self.client >= 0:
            os.close(self.client)
            self.client = -1


class _Session:
    """A process that serves a user."""

    __slots__ = ("name", "peer", "service", "stream", "user")

    def __init__(self, request: Request, stream: FrameStream) -> None:
        self.user = request.user
        self.peer = request.peer
        self.service = request.service
        self.name = request.user.lower()  # what the limit of a user goes by
        self.stream = stream


class Authd:
    """The service; serve() is its life."""

    def __init__(self, context: Context, services: Mapping[bytes, Prepare]) -> None:
        """Reads control files; TemporaryError if one is malformed or can't be read."""
        self._context = context
        self._is_system = context.mode == "system"
        self._services = services
        self._log = context.log
        self._clock = time.monotonic
        self._loop = Loop()
        for number, callback in (
            (signal.SIGTERM, self._terminate),
            (signal.SIGHUP, self._reread),
            (signal.SIGCHLD, self._reap),
        ):
            self._loop.on_signal(number, callback)
        self._settings = Settings(Control(), services)
        refused = context.service_uids() if self._is_system else frozenset[int]()
        self._checker = Checker(context.home, system=self._is_system, refused=refused)
        self._checker.load()
        environment = program_environment(context.home, os.environb)
        os.environb.clear()  # here, not in each session: all of them have the same
        os.environb.update(environment)
        self._origins: set[FrameStream] = set()
        self._waiting: deque[_Attempt] = deque()
        self._judged: dict[int, _Attempt] = {}  # by process
        self._sessions: dict[int, _Session] = {}  # by process
        self._listener = Listener(self._loop, context.sockets["authd.sock"], self._accept)
        self._stop_at: float | None = None
        self._loop.add(context.life_fd, READ, self._orphaned)

    def serve(self) -> None:
        """Until TERM, and then at most STOP_WITHIN for the replies that sessions are at."""
        self._context.ready()
        while self._stop_at is None or ((self._sessions or self._judged) and self._clock() < self._stop_at):
            self._loop.once(self._patience())
            self._give_up_late()
        for pid in [*self._sessions, *self._judged]:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _patience(self) -> float | None:
        if self._stop_at is not None:
            return 0.1
        return TICK if self._waiting or self._judged else None

    def _orphaned(self, _events: int) -> None:
        raise SystemExit(111)  # serve is gone; sessions are told by the kernel

    # Signals

    def _terminate(self) -> None:
        if self._stop_at is not None:
            return
        self._stop_at = self._clock() + STOP_WITHIN
        self._listener.stop()
        for attempt in [*self._waiting, *self._judged.values()]:
            self._answer(attempt, TROUBLE)
        self._waiting.clear()
        for pid in self._judged:
            os.kill(pid, signal.SIGKILL)
        for pid in self._sessions:
            os.kill(pid, signal.SIGTERM)

    def _reread(self) -> None:
        try:
            self._settings = Settings(Control(), self._services)
        except TemporaryError as error:
            self._log(f"{error}; the old value stays in use")

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            ended = self._sessions.pop(pid, None)
            attempt = self._judged.pop(pid, None)
            if attempt is not None:
                self._judge_ended(attempt, status)
            if ended is None:
                continue
            ended.stream.drain()
            ended.stream.close()
            if os.WIFSIGNALED(status):
                self._log(f"session of {_who(ended)} was killed by signal {os.WTERMSIG(status)}")
        self._start_checks()
        if self._stop_at is None:
            self._listener.resume()

    # popd

    def _accept(self, sock: socket.socket) -> None:
        self._origins.add(
            FrameStream(
                self._loop, sock, MAX_REQUEST, self._take, self._gone, takes_descriptors=True, high_water=1 << 20
            )
        )

    def _gone(self, origin: FrameStream, reason: str) -> None:
        if reason:
            self._log(f"connection ended: {reason}")
        self._origins.discard(origin)
        for attempt in self._waiting:
            if attempt.origin is origin:
                attempt.close()
        self._waiting = deque(attempt for attempt in self._waiting if attempt.origin is not origin)
        if self._stop_at is None:
            self._listener.resume()

    def _take(self, origin: FrameStream, frames: list[bytes]) -> None:
        for payload in frames:
            try:
                request = decode_request(payload)
                if request.service not in self._settings.serves:
                    raise PeerError("log-in for an unknown service")
                if not origin.descriptors:
                    raise PeerError("log-in without its connection")
            except PeerError as error:
                origin.close()
                self._gone(origin, str(error))
                return
            attempt = _Attempt(origin, request, origin.descriptors.popleft(), self._clock() + PATIENCE)
            if self._stop_at is not None or len(self._waiting) >= MAX_WAITING:
                self._answer(attempt, TROUBLE, BUSY)
            else:
                self._waiting.append(attempt)
        self._start_checks()

    def _answer(self, attempt: _Attempt, letter: bytes, text: bytes = b"") -> None:
        """The verdict; what it was about is over here."""
        attempt.close()
        if attempt.origin in self._origins:
            attempt.origin.send(encode_verdict(attempt.request.tag, letter, text))
            attempt.origin.flush()

    def _fork(self, attempt: _Attempt) -> tuple[int, socket.socket, socket.socket] | None:
        """A child: its process id (0 in it), our end of a pair of sockets, and its own; None if there can't be one."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._trouble(attempt, f"can't make a socket: {error}")
            return None
        try:
            return os.fork(), ours, theirs
        except OSError as error:
            ours.close()
            theirs.close()
            self._trouble(attempt, f"can't fork: {error}")
            return None

    # Judging

    def _start_checks(self) -> None:
        while self._waiting and len(self._judged) < CHECKS and self._stop_at is None:
            attempt = self._waiting.popleft()
            forked = self._fork(attempt)
            if forked is None:
                continue
            pid, ours, theirs = forked
            if pid == 0:
                self._judge(attempt, theirs)
            theirs.close()
            attempt.pid = pid
            self._judged[pid] = attempt
            attempt.stream = FrameStream(
                self._loop, ours, MAX_CHILD_FRAME, self._hear(attempt), lambda _, _why: None
            )  # whoever ends without a word has said it by how it ends

    def _judge(self, attempt: _Attempt, sock: socket.socket) -> NoReturn:
        """In the child."""
        request, settings = attempt.request, self._settings
        try:
            if settings.checkpassword:
                outside.judge(
                    settings.checkpassword,
                    attempt.client,
                    sock,
                    request,
                    self._services[request.service],
                    home=self._context.home,
                    maildir=settings.maildir,
                    system=self._is_system,
                    nofile=self._context.nofile,
                )
            signal.set_wakeup_fd(-1)
            close_others({sock.fileno()})
            made = Attempt(request.user, request.secret, request.challenge, request.method)
            sock.sendall(frame(judge(self._checker, made)))
        finally:
            os._exit(0)

    def _hear(self, attempt: _Attempt) -> Callable[[FrameStream, list[bytes]], None]:
        """What to do with the words of the process that judges, which may be that of the session later on."""

        def heard(_: FrameStream, frames: list[bytes]) -> None:
            for payload in frames:
                served = self._sessions.get(attempt.pid)
                if served is not None:
                    self._ended(served, payload)
                elif attempt.client >= 0:  # else it has been given up
                    self._verdict(attempt, payload)

        return heard

    def _verdict(self, attempt: _Attempt, payload: bytes) -> None:
        try:
            login = take(payload)
        except TemporaryError as error:
            self._trouble(attempt, str(error))
            return
        if login is None:
            self._answer(attempt, REFUSED)
        elif (refusal := self._full(attempt.request)) is not None:
            self._log(f"{_who(attempt.request)} is refused: {refusal.decode()}")
            self._answer(attempt, TROUBLE, refusal)
            if attempt.stream is not None:
                attempt.stream.close()  # which another checkpassword's session takes for a no
        elif self._settings.checkpassword:
            self._go_on(attempt)
        else:
            self._open(attempt, login)

    def _judge_ended(self, attempt: _Attempt, status: int) -> None:
        """A process that judges has ended. Its last words may not have been read yet."""
        if attempt.stream is not None:
            attempt.stream.drain()
            attempt.stream.close()
        if attempt.client < 0:  # answered
            return
        code = os.waitstatus_to_exitcode(status)
        if self._settings.checkpassword and code > 0 and code not in (_MISUSE, 111):
            self._answer(attempt, REFUSED)
        else:
            self._trouble(attempt, f"whoever judges {'was killed by signal' if code < 0 else 'ended with'} {abs(code)}")

    def _trouble(self, attempt: _Attempt, why: str) -> None:
        self._log(f"alert: unable to judge the log-in of {_who(attempt.request)}: {why}")
        self._answer(attempt, TROUBLE)

    def _give_up_late(self) -> None:
        now = self._clock()
        while self._waiting and self._waiting[0].deadline <= now:
            self._answer(self._waiting.popleft(), TROUBLE, BUSY)
        for pid, attempt in self._judged.items():
            if attempt.deadline <= now and attempt.client >= 0:
                self._trouble(attempt, f"no answer in {PATIENCE:.0f} seconds")
                os.kill(pid, signal.SIGKILL)

    # Sessions

    def _full(self, request: Request) -> bytes | None:
        """Why there can't be one more session; None if there can."""
        if len(self._sessions) >= self._settings.most:
            return TOO_MANY
        name = request.user.lower()
        mine = sum(session.name == name for session in self._sessions.values())
        return TOO_MANY_OF_USER if mine >= SESSIONS_OF_USER else None

    def _open(self, attempt: _Attempt, login: Login) -> None:
        """Fork the session, and tell that it is there."""
        request = attempt.request
        forked = self._fork(attempt)
        if forked is None:
            return
        pid, ours, theirs = forked
        if pid == 0:
            session.run(
                attempt.client,
                theirs,
                self._context.life_fd,
                login,
                serve=self._settings.serves[request.service],
                maildir=self._settings.maildir,
                rest=request.rest,
                name=request.service.decode(),
                nofile=self._context.nofile,
                system=self._is_system,
            )
        theirs.close()
        self._answer(attempt, ACCEPTED)
        self._enter(pid, request, ours)

    def _go_on(self, attempt: _Attempt) -> None:
        """Have the process that another checkpassword has run serve."""
        assert attempt.stream is not None
        del self._judged[attempt.pid]
        self._answer(attempt, ACCEPTED)
        attempt.stream.send(frame(attempt.request.rest))
        self._sessions[attempt.pid] = _Session(attempt.request, attempt.stream)
        self._start_checks()

    def _enter(self, pid: int, request: Request, words: socket.socket) -> None:
        stream = FrameStream(
            self._loop, words, MAX_CHILD_FRAME, lambda _, frames: self._ended(made, frames[0]), lambda _, _why: None
        )
        made = self._sessions[pid] = _Session(request, stream)

    def _ended(self, ended: _Session, words: bytes) -> None:
        self._log(f"session of {_who(ended)} ended{_told(words)}")


def _who(one: Request | _Session) -> str:
    return f"{safe(one.user)} from {safe(one.peer) or 'nowhere'} by {safe(one.service)}"


def _told(words: bytes) -> str:
    text = "".join(char if char.isprintable() else "?" for char in words.decode("utf-8", "replace"))
    return f": {text}" if text else ""
