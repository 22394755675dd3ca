"""The rspawn service: wires the queue's jobs, the courier and the resolver into one event loop."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable

import uvloop

from quail.control.reader import Control
from quail.delivery.remote import report
from quail.delivery.remote.courier import Courier
from quail.delivery.remote.message import Mail, UnreadableError
from quail.delivery.remote.report import Record, Result
from quail.delivery.remote.settings import Settings
from quail.errors import QuailError
from quail.net.resolvconf import nameservers
from quail.net.resolver import Resolver
from quail.net.rspawn_protocol import UTF8, Job
from quail.services.rspawn import program
from quail.services.rspawn.jobs import Jobs
from quail.storage import tcpto
from quail.supervise.context import Context

_TICK = 1.0  # seconds
_GRACE = 8.0  # seconds at TERM for mail that is under way: the queue, which stops first, has waited longer
_FAREWELLS = 0.5  # seconds for good-byes to go out
_INTERNAL = b"Internal error in qmail-rspawn. (#4.3.0)"


class Rspawn:
    """One life of the service."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        """Control files are read here: ConfigError, TemporaryError."""
        self._context = context
        self._loop = loop
        self._control = Control()
        self._program = os.environb.get(b"QMAILREMOTE")
        self._log = context.log
        (self._listener,) = context.sockets.values()
        self._connections: set[Jobs] = set()
        self._tasks: dict[asyncio.Task[None], Jobs] = {}
        self._stopping = False
        table = tcpto.Tcpto.open(tcpto.PATH)
        table.clear()  # as qmail-rspawn does: a new start is a new try
        if table.trouble:
            self._log(f"warning: slow hosts are not remembered: {table.trouble}")
        self._servers = nameservers(self._control)
        resolver = Resolver(nameservers=self._servers)
        self._courier = Courier(loop, Settings(self._control), resolver, table, log=self._log)

    def start(self) -> None:
        """Take jobs."""
        loop = self._loop
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, self._reread)
        loop.add_reader(self._context.life_fd, os._exit, 111)
        loop.add_reader(self._listener.fileno(), self._accept)
        self._tick()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self._connections.add(Jobs(self._loop, sock, take=self._take, gone=self._gone, log=self._log))

    def _gone(self, jobs: Jobs) -> None:
        """The queue will have its jobs done again, so what has not reached a host yet must not."""
        self._connections.discard(jobs)
        for task, owner in self._tasks.items():
            if owner is jobs:
                task.cancel()

    def _take(self, jobs: Jobs, job: Job, descriptor: int) -> None:
        task = self._loop.create_task(self._do(jobs, job, descriptor))
        self._tasks[task] = jobs
        task.add_done_callback(self._tasks.pop)

    async def _do(self, jobs: Jobs, job: Job, descriptor: int) -> None:
        tags = deque(job.tags)

        def tell(letter: bytes, text: bytes, *, host_down: bool = False) -> None:
            jobs.report(tags.popleft(), letter, text, host_down=host_down)

        try:
            result = await self._deliver(job, descriptor, lambda record: tell(record.letter, record.text))
        except Exception as error:
            # A bug costs one delivery a later try, not all others their service.
            self._log(f"alert: internal error, deliveries {job.tags[0]} to {job.tags[-1]} are put off: {error!r}")
            result = report.later(_INTERNAL)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        for place in range(len(job.tags) - len(tags), len(job.tags)):
            tell(*result.of(place), host_down=result.host_down)
        jobs.done(job)

    async def _deliver(self, job: Job, descriptor: int, tell: Callable[[Record], None]) -> Result:
        """What it came to for all of whom nothing was told: the first recipients may have their reports already."""
        host = job.recipients[0].rpartition(b"@")[2]
        if not host:
            return report.never(report.NO_RECIPIENT_HOST)
        try:
            mail = Mail(host, job.sender, job.recipients, job.body, descriptor, utf8=bool(job.flags & UTF8))
        except UnreadableError:
            return report.later(report.UNREADABLE)
        if self._program is None:
            return await self._courier.deliver(mail)
        try:
            await program.deliver(self._program, mail, tell)
        except OSError as error:
            self._log(f"warning: unable to run {os.fsdecode(self._program)}: {error}")
        return report.later(report.NO_RESOURCES)

    def _tick(self) -> None:
        self._loop.call_later(_TICK, self._tick)  # whatever comes of it this time
        try:
            self._courier.tick()
        except QuailError as error:
            self._log(f"warning: {error}")

    def _reread(self) -> None:
        try:
            settings = Settings(self._control)
            servers = nameservers(self._control)
        except QuailError as error:
            self._log(f"alert: unable to reread controls: {error}; going on with what they said before")
            return
        self._courier.settings = settings
        if servers != self._servers:  # look-ups under way go on with the old ones
            self._servers = servers
            self._courier.resolver = Resolver(nameservers=servers)

    def _terminate(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._loop.remove_reader(self._listener.fileno())
        for jobs in self._connections:
            jobs.stop()
        self._loop.create_task(self._end())

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_GRACE)
        for task in self._tasks:
            task.cancel()
        self._courier.close()
        self._loop.call_later(_FAREWELLS, self._loop.stop)


def run(context: Context) -> None:
    """Entry point of the service."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    service = Rspawn(context, loop)
    service.start()
    loop.call_soon(context.ready)  # signals act only while the loop runs
    loop.run_forever()
