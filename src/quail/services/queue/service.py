"""The queue service: wires intake, journal, dispatcher and the links to the delivery services into one event loop."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import uvloop

from quail.control.reader import Control
from quail.errors import QuailError
from quail.message import received
from quail.message.routing import Routes
from quail.queue import bounces, records
from quail.queue.active import Active
from quail.queue.dispatch import Dispatcher, Rules
from quail.queue.group import Group
from quail.queue.journal import COPY, INLINE_BODY, Journal
from quail.queue.records import Accepted
from quail.queue.recovery import Opened, open_journal
from quail.queue.schedule import LOCAL, REMOTE
from quail.queue.store import Entry
from quail.services.queue.collector import Collector
from quail.services.queue.drop import Drop
from quail.services.queue.intake import Incoming, Intake
from quail.services.queue.link import Link, LocalWire, RemoteWire, Wire
from quail.services.queue.operator import Operator
from quail.services.queue.spawner import Copies, Pipes, Spawner
from quail.services.queue.writer import Writer
from quail.storage.calls import REAL
from quail.supervise.context import Context

GRACE = 30.0  # seconds that deliveries get at TERM
BOUNCE_AGAIN = 123.0  # seconds until a bounce that could not be queued is tried again (facts 7.7)
_TAKE_UP = 200  # messages, some 10 ms
_TICK = 1.0
_SWEEP = 30.0
_BREATH = 0.02
# The main thread must not keep the journal's thread waiting for the interpreter when a sync has ended.
_SWITCH_INTERVAL = 0.0005


def _invoked_by(uids: Mapping[str, int], uid: int) -> bytes:
    """The words of the Received line; in a single home every service is the starter, and can't be told from him."""
    words = {uids.get("qmaild"): received.FROM_NETWORK, uids.get("alias"): received.BY_ALIAS}
    return words.get(uid) or received.by_uid(uid)


class BounceEntry:
    """A bounce on its way into the journal, and the message that it tells of."""

    __slots__ = ("accepted", "body", "message", "number")

    def __init__(self, message: Active, number: int, accepted: Accepted, body: bytes) -> None:
        """`body` with its Received field."""
        self.message = message
        self.number = number
        self.accepted = accepted
        self.body = body


class QueueService:
    """One life of the service."""

    def __init__(
        self,
        context: Context,
        opened: Opened,
        loop: asyncio.AbstractEventLoop,
        spawners: Mapping[str, Pipes] | None = None,
    ) -> None:
        """`spawners`, by channel, stand in for our delivery services. Control files are read here: ConfigError,
        TemporaryError.
        """
        self._context = context
        self._opened = opened
        self._loop = loop
        self._lines: list[str] = []
        self._control = Control()
        self._stopping_since: float | None = None
        self._ended = False
        self._dispatching = False  # more may start: it goes on in the loop's next turn
        self._servers: list[asyncio.AbstractServer] = []
        self._spawners = spawners
        self.store: Journal = opened.journal
        rules, self._teller, limits, minfree, self._copy = self._read_control()
        self.writer = Writer(
            loop,
            self.store,
            minfree=minfree,
            settled=self._settled,
            refused=self._refused,
            stopped=self._stop_at_once,
            log=self.log,
        )
        self._links = self._new_spawners(spawners) if spawners is not None else self._new_links()
        self.dispatcher = Dispatcher(
            self.store,
            rules,
            limits,
            submit=self.writer.submit,
            start=self._start,
            bounce=self._bounce,
            log=self.log,
            now=self.now,
            seen=self._seen,
        )
        if spawners is not None:
            for channel in self.dispatcher.channels.values():
                channel.together = 1
        self._intake = Intake(
            self.store,
            self.writer,
            loop=loop,
            now=self.now,
            log=self.log,
            service_uids=context.service_uids(),
            invoked_by=partial(_invoked_by, context.uids),
        )
        self._collector = Collector(loop, Drop(REAL, "queue/drop", self.log), self._intake)

    now = staticmethod(time.time)

    def _new_links(self) -> Mapping[str, Link | Spawner]:
        wires: dict[str, Wire] = {LOCAL: LocalWire(), REMOTE: RemoteWire()}
        return {
            channel: Link(
                self._loop,
                wire,
                report=self._report,
                lost=partial(self._link_lost, channel),
                ready=partial(self._link_ready, channel),
                log=self.log,
            )
            for channel, wire in wires.items()
        }

    def _new_spawners(self, spawners: Mapping[str, Pipes]) -> Mapping[str, Link | Spawner]:
        copies = Copies("queue/mess")
        return {
            channel: Spawner(
                self._loop,
                pipes,
                copies,
                report=self._report,
                lost=partial(self._spawner_lost, channel),
                ready=partial(self._link_ready, channel),
                log=self.log,
            )
            for channel, pipes in spawners.items()
        }

    def _seen(self, number: int, accepted: Accepted) -> None:
        self._intake.shares.queued(number, accepted.uid, len(accepted.recipients))

    def log(self, text: str) -> None:
        """One line; lines of one turn of the loop are written together."""
        if not self._lines:
            self._loop.call_soon(self._flush_log)
        self._lines.append(text)

    def _flush_log(self) -> None:
        lines, self._lines = self._lines, []
        self._context.log.lines(lines)

    def _read_control(self) -> tuple[Rules, bounces.Teller, dict[str, tuple[int, int]], int, int]:
        control = self._control
        routes = Routes(
            control.lines("locals"),
            control.pairs("virtualdomains"),
            control.lines("percenthack"),
            control.required("envnoathost"),
        )
        to = control.required("doublebounceto")
        teller = bounces.Teller(
            control.required("bouncefrom"),
            control.required("bouncehost"),
            to + b"@" + control.required("doublebouncehost") if to else b"",
        )
        local = control.integer("concurrencylocal")
        limits = {
            LOCAL: (local, (local + 1) // 2),  # a mailbox that hangs leaves the other half to the others
            REMOTE: (control.integer("concurrencyremote"), control.integer("concurrencyperdomain")),
        }
        for channel, pipes in (self._spawners or {}).items():
            most, each = limits[channel]
            limits[channel] = min(most, pipes.limit), min(each, pipes.limit)
        rules = Rules(routes, control.integer("queuelifetime"))
        return rules, teller, limits, control.integer("minfree"), control.integer("bouncemaxbytes")

    async def start(self) -> None:
        """Listen, and take up what was in the queue."""
        context, loop = self._context, self._loop
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, self._reread)
        loop.add_signal_handler(signal.SIGALRM, self._alarm)
        loop.add_reader(context.life_fd, self._orphaned)
        for report in self._opened.reports:
            self.log(report)
        self.dispatcher.log_status()
        for link in self._links.values():
            link.connect()
        self.dispatcher.begin()
        self._take_up()
        self._servers = [
            await loop.create_unix_server(self._intake.connection, sock=context.sockets["queue.sock"]),
            await loop.create_unix_server(lambda: Operator(self), sock=context.sockets["control.sock"]),
        ]
        self._tick()
        self._sweep()
        self._collector.scan()

    def _take_up(self) -> None:
        """What was in the queue, some at a time: new mail and operators need not wait for the end of a long queue."""
        if self.dispatcher.take_up(_TAKE_UP):
            self._loop.call_soon(self._take_up)
        self._dispatch()

    def _dispatch(self) -> None:
        if not self._dispatching and self.dispatcher.dispatch():
            self._dispatching = True
            self._loop.call_soon(self._dispatch_more)

    def _dispatch_more(self) -> None:
        self._dispatching = False
        self._dispatch()

    # What the writer says.

    def _settled(self, entries: list[Entry]) -> None:
        dispatcher = self.dispatcher
        for entry in entries:
            if entry.source is COPY:
                continue
            try:
                self._settled_one(entry)
            except Exception as error:
                # A bug costs one message a restart of the service, not all others their answer.
                self.log(f"alert: internal error, message {entry.number} waits for the next start: {error!r}")
        dispatcher.suspended = False
        self._dispatch()

    def _settled_one(self, entry: Entry) -> None:
        if entry.kind == records.ACCEPTED:
            self._accepted(entry)
        elif entry.kind in (records.DONE, records.FAILED):
            self.dispatcher.marked(entry)
        elif entry.kind == records.FINISHED:
            self._intake.shares.finished(entry.number)
            self.dispatcher.finished(entry.number)
        elif entry.kind == records.RELEASED:
            self.dispatcher.release(entry.number)

    def _accepted(self, entry: Entry) -> None:
        source = entry.source
        size = entry.large.length if entry.large is not None else sum(map(len, entry.body))
        body = b"".join(entry.body) if entry.large is None else None
        if isinstance(source, Incoming):
            assert source.accepted is not None
            self._intake.settled(source)
            self.dispatcher.admit(entry.number, source.accepted, entry.time, size, body)
        elif isinstance(source, BounceEntry):
            self.log(f"bounce msg {source.message.number} qp {source.number}")
            self.dispatcher.admit(entry.number, source.accepted, entry.time, size, body)
            self.dispatcher.finish(source.message)

    def _refused(self, entries: list[Entry]) -> None:
        self.dispatcher.suspended = True
        for entry in entries:
            if isinstance(entry.source, Incoming):
                self._intake.refused(entry.source)
            elif isinstance(entry.source, BounceEntry):
                if entry.large is not None:
                    self.store.discard_large(entry.large)
                self._bounce_later(entry.source.message)

    def _start(self, group: Group) -> bool:
        return self._links[group.channel].start(group)

    def _link_lost(self, channel: str) -> None:
        self.dispatcher.lost(channel)

    def _spawner_lost(self, channel: str) -> None:
        self._terminate()  # who has started it must start all of it again
        self.dispatcher.lost(channel)

    def _link_ready(self, channel: str) -> None:
        self.dispatcher.available(channel)
        self._dispatch()

    def _report(self, number: int, letter: bytes, text: bytes, host_down: bool) -> None:
        self.dispatcher.report(number, letter, text, host_down=host_down)

    # Bounces.

    def _bounce(self, message: Active) -> None:
        try:
            self._queue_bounce(message)
        except (OSError, QuailError) as error:
            self.log(f"warning: trouble injecting bounce message, will try later: msg {message.number}: {error}")
            self._bounce_later(message)

    def _bounce_later(self, message: Active) -> None:
        self._loop.call_later(BOUNCE_AGAIN, self._bounce, message)

    def _queue_bounce(self, message: Active) -> None:
        if message.removed or message.number not in self.store.state:
            return  # by an operator, meanwhile
        now = self.now()
        routes = self.dispatcher.rules.routes
        bounce = bounces.compose(self.store, self._teller, routes, message.number, now, copy=self._copy)
        if bounce is None:
            self.log(f"triple bounce: discarding bounce/{message.number}")
            self.dispatcher.finish(message)
            return
        number = self.store.new_number()
        accepted = Accepted(bounce.sender, {0: bounce.recipient}, uid=os.geteuid(), pid=os.getpid())
        body = received.from_queue(number, received.FOR_BOUNCE, now) + bounce.body
        source = BounceEntry(message, number, accepted, body)
        large = None
        if len(body) > INLINE_BODY:
            large = self.store.new_large_body(number)
            try:
                self.store.large_write(large, body)
            except OSError:
                self.store.discard_large(large)
                raise
        inline = () if large is not None else (body,)
        entry = Entry(records.ACCEPTED, number, int(now * 1e6), accepted.encode(), inline, large, source=source)
        self.writer.submit(entry)

    # Time and signals.

    # Each is called again whatever comes of it this time.

    def _tick(self) -> None:
        self._loop.call_later(_TICK, self._tick)
        self._try_to_end()
        if self.writer.refusing:
            self._intake.make_room()
        self._move_on(everything=False)

    def _move_on(self, *, everything: bool) -> None:
        if self.dispatcher.tick(everything=everything):
            self._loop.call_soon(partial(self._move_on, everything=False))
        self._dispatch()

    def _sweep(self) -> None:
        self._loop.call_later(_SWEEP, self._sweep)
        self._intake.sweep(self._loop.time())

    def _alarm(self) -> None:
        self.retry_all()

    def retry_all(self) -> None:
        """Every message is tried now, whatever its schedule says."""
        self._move_on(everything=True)

    def _reread(self) -> None:
        try:
            rules, teller, limits, minfree, copy = self._read_control()
        except QuailError as error:
            self.log(f"alert: unable to reread controls: {error}; going on with what they said before")
            return
        self.dispatcher.rules, self._teller, self.writer.minfree, self._copy = rules, teller, minfree, copy
        for name, (limit, each) in limits.items():
            self.dispatcher.channels[name].set_limits(limit, each)
        self._dispatch()

    def _terminate(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = self._loop.time()
            self.dispatcher.exiting = True
            self._intake.stopping = True
            self._collector.stop()
            for server in self._servers:
                server.close()
            self.dispatcher.log_status()
            self._try_to_end()

    def _try_to_end(self) -> None:
        if self._ended or self._stopping_since is None:
            return
        waited = self._loop.time() - self._stopping_since
        finished = not self.dispatcher.deliveries and self.writer.idle
        if finished or waited >= GRACE:
            self.log("status: exiting")
            self._flush_log()
            # Replies that have just been given must reach their sockets first: who misses one sends its message again.
            self._ended = True
            self._loop.call_later(_BREATH, self._loop.stop)

    def _orphaned(self) -> None:
        self._stop_at_once("serve is gone")

    def _stop_at_once(self, reason: str) -> None:
        self._lines.append(f"alert: {reason}")
        self._flush_log()
        os._exit(111)

    def close(self) -> None:
        """After the loop has stopped."""
        for link in self._links.values():
            link.close()
        if self.writer.idle:
            self.writer.close()
            self.store.close()

    def statistics(self) -> dict[str, Any]:
        """For an operator."""
        channels = self.dispatcher.channels
        return {
            "messages": len(self.store.state),
            "held": len(self.store.state.held),
            "journal_bytes": self.store.bytes_on_disk,
            "segments": len(self.store.ends),
            "channels": {name: {"running": c.running, "limit": c.limit} for name, c in channels.items()},
            "refusing": self.writer.refusing or self.writer.failing,
        }


def run(context: Context, spawners: Mapping[str, Pipes] | None = None) -> None:
    """Entry point of the service; `spawners`: see QueueService."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    opened = open_journal()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    service = QueueService(context, opened, loop, spawners)
    try:
        loop.run_until_complete(service.start())
        loop.call_soon(context.ready)  # signals act only while the loop runs
        loop.run_forever()
    finally:
        service.close()
