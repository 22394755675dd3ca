"""lspawn: gives local delivery jobs of the queue to workers that run as the recipient (qmail-lspawn(8); DESIGN.md, Processes).

The queue connects and sends jobs; lspawn asks the users service whose they are (the queue can't choose), passes each to a
worker of that user, and sends the reports back. It is a plain poll loop without threads, event loop or name service, because
it forks. docs/formats/local-sockets.md has the frames.

In a system home lspawn is root, and a worker becomes the recipient: never root, and of the services' accounts only alias
(docs/decisions/0010-system-home.md). In a single home every worker runs as the uid that started serve.
"""

import os
import signal
import socket
import time
from collections.abc import Mapping

from quail.control.reader import Control
from quail.delivery import shed
from quail.delivery.pool import IDLE, IDLE_OF_MANY, Pool, Task
from quail.delivery.settings import Settings, program_environment
from quail.errors import PeerError, TemporaryError
from quail.net.lspawn_protocol import (
    DEFERRED,
    DELIVERED,
    DESCRIPTOR,
    FAILED,
    MAX_JOB,
    decode_job,
    encode_report,
)
from quail.net.pollloop import READ, FrameStream, Listener, Loop
from quail.net.users_client import Answer, UsersClient
from quail.net.users_protocol import KNOWN, UNKNOWN, Owner, decode_owner
from quail.supervise.context import Context

# Above what control/concurrencylocal can be, and bodies of so many: else whoever has half of it would stop the others here.
MAX_JOBS = 1024  # of one connection, without a report
MAX_BYTES = MAX_JOBS * (160 << 10)  # of those jobs, as they came
MANY_WORKERS = 50  # processes, each some megabytes of memory; of more than these, idle ones go soon
TICK = 1.0  # seconds between looks at workers that have nothing to do
STOP_WITHIN = 30.0  # seconds from TERM for what was taken
REAP_WITHIN = 2.0  # seconds for workers to end after their last task

NO_HOST = b"Sorry, address must include host name. (#5.1.3)\n"
NO_MAILBOX = b"Sorry, no mailbox here by that name. (#5.1.1)\n"
NOT_AS_ROOT = b"Not allowed to perform deliveries as root.\n"
NOT_AS_SERVICE = b"Not allowed to perform deliveries as a service of the mail system: %b.\n"
USERS_TROUBLE = b"Trouble reading users/cdb in qmail-lspawn.\n"


def run(
    context: Context, *, default_delivery: bytes | None = None, environment: Mapping[bytes, bytes] | None = None
) -> None:
    """Serve until TERM. default_delivery: dot-qmail lines in place of control/defaultdelivery. environment: what users'
    programs find, in place of a choice of what serve was started with.
    """
    shed.prepare()
    if environment is None:
        environment = program_environment(context.home, os.environb)
    Lspawn(context, default_delivery=default_delivery, environment=environment).serve()


class _Origin:
    """A connection of the queue, and how much of it is under way."""

    __slots__ = ("jobs", "size", "stream")

    stream: FrameStream

    def __init__(self) -> None:
        self.jobs = 0
        self.size = 0

    def full(self) -> bool:
        return self.jobs >= MAX_JOBS or self.size >= MAX_BYTES


class Lspawn:
    """The service; serve() is its life."""

    def __init__(self, context: Context, *, default_delivery: bytes | None, environment: Mapping[bytes, bytes]) -> None:
        """Reads control files; TemporaryError if one is malformed or can't be read. The rest is described with run()."""
        self._context = context
        self._is_system = context.mode == "system"
        self._service_uids = context.service_uids()
        self._log = context.log
        self._clock = time.monotonic
        self._loop = Loop()
        for number, callback in (
            (signal.SIGTERM, self._terminate),
            (signal.SIGHUP, self._reread),
            (signal.SIGCHLD, self._reap),
        ):
            self._loop.on_signal(number, callback)
        self._settings = Settings(
            context.home,
            nofile=context.nofile,
            environment=environment,
            fixed_delivery=default_delivery,
            programs=self._is_system or os.getuid() != 0,
        )
        self._settings.renew(Control())
        os.environb.clear()  # here, not in each worker: all of them have the same
        os.environb.update(self._settings.environment)
        self._users = UsersClient(self._loop, "run/users.sock", self._answered, self._clock)
        self._pools: dict[tuple[int, int], Pool] = {}
        self._origins: set[_Origin] = set()
        self._asked: dict[bytes, list[Task]] = {}
        self._listener = Listener(self._loop, context.sockets["lspawn.sock"], self._accept)
        self._stop_at: float | None = None
        self._next_tick = 0.0
        self._loop.add(context.life_fd, READ, self._orphaned)

    def serve(self) -> None:
        """Until TERM, and then at most STOP_WITHIN for the jobs that were taken."""
        self._context.ready()
        while self._stop_at is None or (self._under_way() and self._clock() < self._stop_at):
            self._loop.once(self._patience())
            if self._users.waiting:
                self._users.tick()
            if self._clock() >= self._next_tick:
                self._next_tick = self._clock() + TICK
                self._tick_pools()
        self._end_workers()

    def _tick_pools(self) -> None:
        many = sum(len(pool.children) for pool in self._pools.values()) > MANY_WORKERS
        for owner, pool in list(self._pools.items()):
            pool.tick(IDLE_OF_MANY if many else IDLE)
            if pool.empty:
                del self._pools[owner]

    def _patience(self) -> float | None:
        if self._stop_at is not None or self._users.waiting:
            return 0.1
        return TICK if self._pools else None

    def _under_way(self) -> bool:
        return any(origin.jobs or origin.stream.unsent for origin in self._origins)

    def _orphaned(self, _events: int) -> None:
        raise SystemExit(111)  # serve is gone; workers end when they see their sockets closed

    # Signals

    def _terminate(self) -> None:
        if self._stop_at is None:
            self._stop_at = self._clock() + STOP_WITHIN
            self._listener.stop()
            for origin in self._origins:
                origin.stream.pause(True)

    def _reread(self) -> None:
        try:
            self._settings.renew(Control())
        except TemporaryError as error:
            self._log(f"{error}; the old value stays in use")
            return
        for owner, pool in self._pools.items():
            pool.renew(self._settings_for(owner))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for pool in self._pools.values():
                pool.children.discard(pid)
            if status:
                self._log(f"delivery worker {pid} ended with {_ending(status)}")

    def _end_workers(self) -> None:
        for pool in self._pools.values():
            pool.close()
        deadline = self._clock() + REAP_WITHIN
        while any(pool.children for pool in self._pools.values()):
            self._loop.once(0.05)
            self._reap()
            if self._clock() >= deadline:
                deadline += REAP_WITHIN
                for pid in [pid for pool in self._pools.values() for pid in pool.children]:
                    self._log(f"delivery worker {pid} does not end: killed")
                    os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    # The queue

    def _accept(self, sock: socket.socket) -> None:
        origin = _Origin()
        origin.stream = FrameStream(
            self._loop,
            sock,
            MAX_JOB,
            lambda _, frames: self._take(origin, frames),
            lambda _, reason: self._gone(origin, reason),
            takes_descriptors=True,
        )
        self._origins.add(origin)

    def _gone(self, origin: _Origin, reason: str) -> None:
        if reason:
            self._log(f"connection of the queue ended: {reason}")
        self._origins.discard(origin)
        for local, tasks in self._asked.items():
            for task in tasks:
                if task.origin is origin:
                    task.close()
            self._asked[local] = [task for task in tasks if task.origin is not origin]
        for pool in self._pools.values():
            pool.forget(origin)
        if self._stop_at is None:
            self._listener.resume()

    def _take(self, origin: _Origin, frames: list[bytes]) -> None:
        stream = origin.stream
        for frame in frames:
            try:
                job = decode_job(frame)
                descriptor = -1
                if job.flags & DESCRIPTOR:
                    if not stream.descriptors:
                        raise PeerError("delivery job without its descriptor")
                    descriptor = stream.descriptors.popleft()
            except PeerError as error:
                stream.close()
                self._gone(origin, str(error))
                return
            task = Task(origin, job, descriptor)
            origin.jobs += 1
            origin.size += len(frame)
            self._judge(task)
        if origin.full():
            stream.pause(True)

    def _judge(self, task: Task) -> None:
        local, at, _ = task.job.recipient.rpartition(b"@")
        if not at:
            self._report(task, FAILED, NO_HOST)
        elif not local:
            self._report(task, DELIVERED, b"")  # `@host` is qmail's way to throw mail away
        else:
            answer = self._users.known(local)
            if answer is not None:
                self._assign(task, answer)
            elif local in self._asked:
                self._asked[local].append(task)
            else:
                self._asked[local] = [task]
                self._users.ask(local)

    def _answered(self, local: bytes, answer: Answer) -> None:
        for task in self._asked.pop(local, []):
            self._assign(task, answer)

    def _assign(self, task: Task, answer: Answer) -> None:
        if answer.letter == KNOWN:
            task.owner = answer.payload
            owner = decode_owner(answer.payload)
            refusal = self._refusal(owner)
            if refusal:
                self._report(task, DEFERRED, refusal)
            else:
                self._pool(owner).give(task)
        elif answer.letter == UNKNOWN:
            self._report(task, FAILED, NO_MAILBOX)
        else:
            self._report(task, DEFERRED, USERS_TROUBLE + answer.payload + b"\n")

    def _refusal(self, owner: Owner) -> bytes:
        """Why nothing is delivered as this user; empty if it may be. Whoever fills users/assign can mend it: put off."""
        if not self._is_system:
            return b""
        if owner.uid == 0:
            return NOT_AS_ROOT
        if owner.uid in self._service_uids:
            return NOT_AS_SERVICE % owner.user
        return b""

    def _pool(self, owner: Owner) -> Pool:
        """The workers for the owner's uid and gid; in a single home the only uid is our own."""
        key = (owner.uid, owner.gid) if self._is_system else (os.getuid(), os.getgid())
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(
                self._loop, settings=self._settings_for(key), on_report=self._report, log=self._log, clock=self._clock
            )
        return pool

    def _settings_for(self, owner: tuple[int, int]) -> Settings:
        return self._settings.with_owner(*owner) if self._is_system else self._settings

    def _report(self, task: Task, letter: bytes, text: bytes) -> None:
        task.close()
        origin = task.origin
        assert isinstance(origin, _Origin)
        origin.jobs -= 1
        origin.size -= len(task.job.rest) + 4
        if origin in self._origins:
            origin.stream.send(encode_report(task.job.tag, letter, text))
            if self._stop_at is None and not origin.full():
                origin.stream.pause(False)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"
