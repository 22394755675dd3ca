"""authd: popd brings a name, a secret and the client's connection; somebody who may look says whether they belong
together; then a process that is the user serves the connection (DESIGN.md, Processes; docs/formats/local-sockets.md has
the frames).

In a system home authd is root, and parses nothing but these frames: what they hold is judged by a process for each
attempt, which reads the files with passwords and ends. The session's process is another, which has read none of them. A
plain poll loop without threads, event loop or name service, because it forks. In a single home all is done as the uid that
started serve.

With control/checkpassword the process that judges is *outside*: a program of the operator's, which becomes the user and then
the session. That user can do with it what he likes, so it is believed nothing but whether to serve him.
"""

import os
import signal
import socket
import time
from collections import Counter, deque
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
CHECKS_OF_NAME = 2  # at once: nobody keeps the others waiting
MAX_WAITING = 256  # attempts that no process has yet
PATIENCE = 30.0  # seconds for an attempt, from its arrival
SESSIONS_OF_USER = 20  # at once; and so many attempts of a name wait
TICK = 1.0  # seconds between looks at attempts that take too long
STOP_WITHIN = 8.0  # seconds from TERM for what sessions are answering
MAX_CHILD_FRAME = 16 << 10  # bytes

BUSY = b"too many log-ins at once, try again later"
TOO_MANY = b"too many sessions, try again later"
TOO_MANY_OF_USER = b"too many sessions of this user, try again later"
_LATE = f"no answer in {PATIENCE:.0f} seconds"
_WRONG, _MISUSE = 1, 2  # exit codes of checkpassword programs


def run(context: Context, services: Mapping[bytes, Prepare]) -> None:
    """Serve until TERM. services: what sessions may speak, by the name that is in the frames."""
    shed.prepare()
    Authd(context, services).serve()


class _Attempt:
    """One log-in: waiting, then with a process that judges, until that has ended or become `session`. client: the connection,
    ours until the verdict. is_outside: who judges, which a HUP meanwhile does not change.
    """

    __slots__ = ("client", "deadline", "is_outside", "name", "origin", "pid", "request", "session", "stream")

    def __init__(self, origin: FrameStream, request: Request, client: int, deadline: float) -> None:
        self.origin = origin
        self.request = request
        self.client = client
        self.deadline = deadline
        self.name = request.user.lower()  # what limits of a user go by
        self.is_outside = False
        self.pid = 0
        self.stream: FrameStream | None = None
        self.session: _Session | None = None

    def close(self) -> None:
        if self.client >= 0:
            os.close(self.client)
            self.client = -1


class _Session:
    """A process that serves a user."""

    __slots__ = ("is_outside", "name", "peer", "service", "stream", "user")

    def __init__(self, request: Request, stream: FrameStream, *, is_outside: bool) -> None:
        self.user = request.user
        self.peer = request.peer
        self.service = request.service
        self.name = request.user.lower()
        self.stream = stream
        self.is_outside = is_outside


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
        for pid, served in self._sessions.items():
            _kill(pid, group=served.is_outside)
        self._kill_checks()

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
        self._kill_checks()
        for pid in self._sessions:
            _send(os.kill, pid, signal.SIGTERM)

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
            now = self._clock()
            # What has lain in the socket while nobody read it is older, and its asker may have given up.
            attempt = _Attempt(origin, request, origin.descriptors.popleft(), min(request.asked / 1000, now) + PATIENCE)
            if self._stop_at is not None or attempt.deadline <= now or not self._may_wait(attempt):
                self._answer(attempt, TROUBLE, BUSY)
            else:
                self._waiting.append(attempt)
        self._start_checks()

    def _may_wait(self, attempt: _Attempt) -> bool:
        if len(self._waiting) >= MAX_WAITING:
            return False
        return sum(other.name == attempt.name for other in self._waiting) < SESSIONS_OF_USER

    def _answer(self, attempt: _Attempt, letter: bytes, text: bytes = b"") -> None:
        """The verdict; what it was about is over here, and nothing secret is kept of it."""
        attempt.close()
        attempt.request.secret = attempt.request.rest = b""
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
        while len(self._judged) < CHECKS and self._stop_at is None:
            attempt = self._next()
            if attempt is None:
                break
            attempt.is_outside = bool(self._settings.checkpassword)
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

    def _next(self) -> _Attempt | None:
        """Of those whose name has not got all its checks, who has waited for longest."""
        at_work = Counter(attempt.name for attempt in self._judged.values())
        for attempt in self._waiting:
            if at_work[attempt.name] < CHECKS_OF_NAME:
                self._waiting.remove(attempt)
                return attempt
        return None

    def _judge(self, attempt: _Attempt, sock: socket.socket) -> NoReturn:
        """In the child."""
        request, settings = attempt.request, self._settings
        try:
            if attempt.is_outside:
                outside.judge(
                    settings.checkpassword,
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
                if attempt.session is not None:
                    self._ended(attempt.session, payload)
                elif attempt.client >= 0:  # else it has been given up
                    self._verdict(attempt, payload)

        return heard

    def _verdict(self, attempt: _Attempt, payload: bytes) -> None:
        try:
            login = take(payload)
        except TemporaryError as error:
            self._trouble(attempt, str(error)[: session.MAX_WORDS])
            return
        if login is None:
            self._answer(attempt, REFUSED)
            self._kill_check(attempt)
        elif attempt.deadline <= self._clock():
            self._trouble(attempt, _LATE)  # we have slept ourselves, or it would have been given up
        elif (refusal := self._full(attempt.request)) is not None:
            self._log(f"{_who(attempt.request)} is refused: {refusal.decode()}")
            self._answer(attempt, TROUBLE, refusal)
            self._kill_check(attempt)
        elif attempt.is_outside:
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
        if attempt.is_outside and code > 0 and code not in (_MISUSE, 111):
            self._answer(attempt, REFUSED)
        else:
            self._trouble(attempt, f"whoever judges {'was killed by signal' if code < 0 else 'ended with'} {abs(code)}")

    def _trouble(self, attempt: _Attempt, why: str) -> None:
        self._log(f"alert: unable to judge the log-in of {_who(attempt.request)}: {why}")
        self._answer(attempt, TROUBLE)
        self._kill_check(attempt)

    def _give_up_late(self) -> None:
        now = self._clock()
        late = [attempt for attempt in self._waiting if attempt.deadline <= now]
        for attempt in late:
            self._waiting.remove(attempt)
            self._answer(attempt, TROUBLE, BUSY)
        for attempt in self._judged.values():
            if attempt.deadline <= now:
                if attempt.client >= 0:
                    self._trouble(attempt, _LATE)
                else:  # it has answered, and stays
                    self._kill_check(attempt)

    def _kill_check(self, attempt: _Attempt) -> None:
        """Who judges has no more to say, and gives up its place."""
        if self._judged.get(attempt.pid) is attempt:
            _kill(attempt.pid, group=attempt.is_outside)

    def _kill_checks(self) -> None:
        for attempt in self._judged.values():
            self._kill_check(attempt)

    # Sessions

    def _full(self, request: Request) -> bytes | None:
        """Why there can't be one more session; None if there can."""
        if len(self._sessions) >= self._settings.most:
            return TOO_MANY
        name = request.user.lower()
        mine = sum(other.name == name for other in self._sessions.values())
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
        """Have the process that another checkpassword has run serve. It gets the connection now, for popd is to let go."""
        assert attempt.stream is not None
        if self._judged.get(attempt.pid) is not attempt:  # reaped: that was its last breath
            self._trouble(attempt, "the process that was to serve has died")
            return
        del self._judged[attempt.pid]
        client, attempt.client = attempt.client, -1
        rest = attempt.request.rest
        self._answer(attempt, ACCEPTED)
        attempt.stream.send(frame(rest), client)
        attempt.session = _Session(attempt.request, attempt.stream, is_outside=True)
        self._sessions[attempt.pid] = attempt.session
        self._start_checks()

    def _enter(self, pid: int, request: Request, words: socket.socket) -> None:
        stream = FrameStream(
            self._loop, words, MAX_CHILD_FRAME, lambda _, frames: self._ended(made, frames[0]), lambda _, _why: None
        )
        made = self._sessions[pid] = _Session(request, stream, is_outside=False)

    def _ended(self, ended: _Session, words: bytes) -> None:
        """What a session says of its end. It has one word, and of bounded length: whoever has taken it over writes no log."""
        if ended.stream.sock.fileno() >= 0:
            self._log(f"session of {_who(ended)} ended{_told(words[: session.MAX_WORDS])}")
            ended.stream.close()


def _kill(pid: int, *, group: bool) -> None:
    """A child of ours that has not been reaped, so that the number is still its own; group: and what it has started."""
    for kill in (os.killpg, os.kill) if group else (os.kill,):
        _send(kill, pid, signal.SIGKILL)


def _send(kill: Callable[[int, int], None], pid: int, number: int) -> None:
    try:
        kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has no group before setsid(2); in a single home it may be set-uid


def _who(one: Request | _Session) -> str:
    return f"{safe(one.user)} from {safe(one.peer) or 'nowhere'} by {safe(one.service)}"


def _told(words: bytes) -> str:
    text = "".join(char if char.isprintable() else "?" for char in words.decode("utf-8", "replace"))
    return f": {text}" if text else ""
