"""What qmail-send decides: which delivery starts, what a report means, when a message is tried again, bounced or finished.

No I/O of its own: it speaks through a Store (reading), `submit` (entries for the next batch), `start` (a group begins) and
`log`; the caller gives the time. Lines are those of qmail-log(5).
"""

from collections.abc import Callable
from typing import Any

from quail.errors import PeerError, TemporaryError
from quail.message.logtext import safe
from quail.message.routing import Routes
from quail.queue import records
from quail.queue.active import Active, destination_of
from quail.queue.group import Delivery, Group
from quail.queue.records import Accepted
from quail.queue.schedule import LOCAL, REMOTE, Channel, LocalChannel, RemoteChannel, next_try
from quail.queue.store import DamagedBodyError, Entry, Store
from quail.queue.timers import Timers

KEPT_BODIES = 32 << 20  # bytes of bodies that stay in memory for the next delivery of their message
KEPT_FILES = 256  # open large bodies, likewise
KEPT_MESSAGES = 20_000  # envelopes in memory; what waits beyond them is read back when its turn has come
_TIMERS_AT_ONCE = 500  # messages that are read back before anything else has its turn
_STARTS_AT_ONCE = 200  # recipients of each channel, likewise
TROUBLE_DELAY = 123  # seconds until a message that could not be read is tried again (facts 7.3)
_SET_BACK = 60  # seconds by which the clock may be corrected without anything to be said
_TOO_LONG = b"I'm not going to try again; this message has been in the queue too long.\n"
_CHANNELS = (LOCAL, REMOTE)


class Rules:
    """What the control files say, as read at start or at HUP. `lifetime` in seconds."""

    __slots__ = ("lifetime", "routes")

    def __init__(self, routes: Routes, lifetime: int) -> None:
        """See the control table."""
        self.routes = routes
        self.lifetime = lifetime


class Dispatcher:
    """See the module. Every public method is called with the state settled and returns at once."""

    def __init__(
        self,
        store: Store[Any],
        rules: Rules,
        limits: dict[str, tuple[int, int]],
        *,
        submit: Callable[[Entry], None],
        start: Callable[[Group], bool],
        bounce: Callable[[Active], None],
        log: Callable[[str], None],
        now: Callable[[], float],
        seen: Callable[[int, Accepted], None] = lambda _number, _accepted: None,
    ) -> None:
        """`limits`: channel to (all, each destination). `start` says whether the group could be handed over; `bounce` is
        called when all recipients are done and some failed, and later calls finish(). `seen` is told of each message that
        comes into memory, perhaps again and again.
        """
        self.rules = rules
        self.channels: dict[str, Channel] = {
            kind.name: kind(limit=limits[kind.name][0], limit_each=limits[kind.name][1])
            for kind in (LocalChannel, RemoteChannel)
        }
        self.deliveries: dict[int, Delivery] = {}
        self.exiting = False  # start nothing new
        self.suspended = False  # marks can't be written just now
        self._store = store
        self._active: dict[int, Active] = {}
        self._bouncing: dict[int, Active] = {}  # only their bounce is left to do
        self._finishing: set[int] = set()  # their FINISHED entry is on its way
        self._kept_bytes = 0
        self._kept_files = 0
        self._down: set[str] = set()  # channels whose delivery service took nothing the last time
        self._timers = Timers(store.state)
        self._last_delivery = 0
        self._last_old = self._last_taken_up = 0  # message numbers: between them is what take_up() has yet to resume
        self._all_due = False
        self._last_tick = 0  # seconds since 1970
        self._submit = submit
        self._start = start
        self._bounce = bounce
        self._log = log
        self._now = now
        self._seen = seen

    # Messages come.

    def admit(self, number: int, accepted: Accepted, time: int, size: int, body: bytes | None) -> None:
        """A message has just been accepted; `time` in microseconds."""
        self._log(f"new msg {number}")
        self._log(f"info msg {number}: bytes {size} from <{safe(accepted.sender)}> qp {number} uid {accepted.uid}")
        message = self._make(number, accepted, time, size)
        if len(self._active) < KEPT_MESSAGES or not message.left:
            self._active[number] = message
            if body is not None and self._kept_bytes + len(body) <= KEPT_BODIES:
                message.body = body
                self._kept_bytes += len(body)
        self._enqueue(message, _CHANNELS, fresh=True)
        self._settle_if_done(message)

    def begin(self) -> None:
        """What is in the queue now will be taken up by take_up()."""
        self._last_old = max(self._store.state, default=0)

    def take_up(self, count: int) -> bool:
        """Resume the next so many of the messages that were there at begin(); whether more are left."""
        page = self._store.state.after(self._last_taken_up, count)
        for number in page:
            if number > self._last_old:
                break
            self._last_taken_up = number
            if not self._is_over(number):
                if self._all_due:
                    self._store.state.defer(number, 0, 0)
                self.resume(number)
        else:
            if len(page) == count and self._last_taken_up < self._last_old:
                return True
        self._last_taken_up = self._last_old
        return False

    def resume(self, number: int) -> None:
        """A message that was in the queue at start, or was released: into its queues or onto its timers."""
        store = self._store
        try:
            stored = store.read(number, body=False)
        except OSError as error:
            self._read_later(number, _CHANNELS, error)
            return
        except (TemporaryError, PeerError) as error:
            self._log(f"alert: message {number} cannot be read, it is left alone: {error}")
            return
        message = self._make(number, stored.accepted, stored.time, stored.size)
        now = int(self._now())
        retry = dict(zip(_CHANNELS, store.state.retry(number), strict=True))
        for channel in _CHANNELS:
            if retry[channel] > now:
                # Nobody is put off for longer than from now on: if he is, the clock was ahead then.
                self._set_timer(number, channel, min(retry[channel], next_try(channel, message.birth, now)))
            else:
                for destination in message.destinations(channel):
                    self.channels[channel].add(destination, number, fresh=not retry[channel])
        self._settle_if_nobody_is_left(message)

    def _settle_if_nobody_is_left(self, message: Active) -> None:
        """Of one that has just been read back: its bounce, or its end, may be all that is missing."""
        if not message.left:
            self._active[message.number] = message
            self._settle_if_done(message)

    def _make(self, number: int, accepted: Accepted, time: int, size: int) -> Active:
        self._seen(number, accepted)
        left = {}
        for recipient, address in self._store.state.left(number, accepted.recipients).items():
            channel, rewritten = self.rules.routes.route(address)
            left[recipient] = (channel.decode(), rewritten)
        message = Active(number, accepted, time // 1_000_000, size, left)
        message.failed = number in self._store.state.failures
        return message

    def _enqueue(self, message: Active, channels: tuple[str, ...], *, fresh: bool) -> None:
        if len(message.left) == 1 and not (message.in_flight or message.tried):  # most mail
            ((channel, address),) = message.left.values()
            if channel in channels:
                self.channels[channel].add(destination_of(channel, address), message.number, fresh=fresh)
                message.waiting += 1
            return
        for channel in channels:
            for destination in message.destinations(channel):
                self.channels[channel].add(destination, message.number, fresh=fresh)
                message.waiting += 1

    # Deliveries start.

    def dispatch(self) -> bool:
        """Start what the limits allow, some at a time: whether to call again soon, because more may start."""
        if self.exiting or self.suspended:
            return False
        more = False
        for channel in self.channels.values():
            left = _STARTS_AT_ONCE
            while channel.name not in self._down and (turn := channel.next()) is not None:
                destination, number, fresh = turn
                message = self._load(number)
                # A turn that comes to nothing takes its time too.
                left -= 1 if message is None else self._start_group(channel, destination, message, fresh=fresh)
                if left <= 0:
                    more = True
                    break
        return more

    def available(self, channel: str) -> None:
        """The channel's delivery service takes jobs (again)."""
        self._down.discard(channel)

    def _load(self, number: int) -> Active | None:
        """The message, with its body; None when it is no longer wanted or can't be read."""
        message = self._active.get(number)
        if message is not None and message.waiting:
            message.waiting -= 1
        state = self._store.state
        if number not in state or self._is_over(number):
            return None
        if number not in state.held:
            try:
                return self._with_body(number, message)
            except DamagedBodyError as error:
                self._log(f"alert: {error}: the message is held; look at it with quail queue show {number}")
                state.held.add(number)
                self._submit(Entry(records.HELD, number, int(self._now() * 1e6)))
            except (OSError, TemporaryError, PeerError) as error:
                self._read_later(number, _CHANNELS, error)
        if message is not None:
            self._forget_if_idle(message)
        return None

    def _with_body(self, number: int, message: Active | None) -> Active:
        if message is None or (message.body is None and message.fd < 0):
            stored = self._store.read(number, body=True)
            if message is None:
                message = self._make(number, stored.accepted, stored.time, stored.size)
                self._active[number] = message
            message.body, message.fd = stored.body, stored.fd
            self._kept_bytes += len(stored.body or b"")
            self._kept_files += stored.fd >= 0
        return message

    def _is_over(self, number: int) -> bool:
        """Nothing is delivered any more, although the store still has the message."""
        return number in self._finishing or number in self._bouncing

    def _start_group(self, channel: Channel, destination: bytes, message: Active, *, fresh: bool) -> int:
        """Start as many recipients as may travel together; how many turns they count for."""
        due = message.due(channel.name, destination)
        first, most = self._last_delivery + 1, channel.together
        group = Group(message, channel.name, destination, due, most=most, first=first, began=self._now())
        if group.deliveries:
            if group.more:
                # The rest queues up again, behind other messages: a long list of recipients keeps nobody else waiting.
                channel.add(destination, message.number, fresh=fresh)
                message.waiting += 1
            self._last_delivery = group.deliveries[-1].number
            channel.started(destination)
            for delivery in group.deliveries:
                message.in_flight.add(delivery.recipient)
                self.deliveries[delivery.number] = delivery
                self._log(
                    f"starting delivery {delivery.number}: msg {message.number} to {channel.name} {safe(delivery.address)}"
                )
            self.log_status()
            if not self._start(group):
                self._down.add(channel.name)
                self._take_back(group)
        if self._kept_bytes > KEPT_BODIES or self._kept_files > KEPT_FILES:
            self._drop_body(message)
        self._forget_if_idle(message)
        return max(1, len(group.deliveries))

    def _take_back(self, group: Group) -> None:
        """It could not be handed over, or got lost: as if what has no report yet had never begun."""
        message = group.message
        channel = self.channels[group.channel]
        channel.ended(group.destination)
        left = [delivery for delivery in group.deliveries if self.deliveries.pop(delivery.number, None) is not None]
        for delivery in left:
            message.in_flight.discard(delivery.recipient)
            self._log(f"delivery {delivery.number}: deferral: {safe(b'no connection to the delivery service')}")
        self.log_status()
        if message.removed:
            for delivery in left:
                self._recipient_done(message, delivery.recipient, None)
        else:
            message.new_turns()
            channel.add(group.destination, message.number, fresh=True, front=True)
            message.waiting += 1

    # Reports come.

    def report(self, number: int, letter: bytes, text: bytes, host_down: bool = False) -> None:
        """How delivery `number` went: K, Z or D, and why; `host_down`: its host took no message from anybody."""
        delivery = self.deliveries.pop(number, None)
        if delivery is None:
            self._log("warning: internal error: delivery report out of range")
            return
        group, recipient = delivery.group, delivery.recipient
        message = group.message
        message.in_flight.discard(recipient)
        now = self._now()
        if letter == b"Z" and group.began > message.birth + self.rules.lifetime:
            letter, text = b"D", text + _TOO_LONG
        if letter == b"K":
            self._log(f"delivery {number}: success: {safe(text)}")
        elif letter == b"D":
            self._log(f"delivery {number}: failure: {safe(text)}")
        elif letter == b"Z":
            self._log(f"delivery {number}: deferral: {safe(text)}")
        else:
            self._log(f"delivery {number}: report mangled, will defer")
        group.host_down |= host_down
        group.missing -= 1
        if not group.missing:
            channel = self.channels[group.channel]
            channel.learn(group.destination, seconds=now - group.began, host_down=group.host_down)
            channel.ended(group.destination)
            self.log_status()
        if letter in (b"K", b"D") or message.removed:
            self._recipient_done(message, recipient, None if letter == b"K" else text)
        else:
            message.tried.add(recipient)
            self._defer(message, group.channel, now)
        self._forget_if_idle(message)

    def lost(self, channel: str) -> None:
        """The delivery service of the channel went away: what was in flight is tried again, in its turn."""
        for group in {d.group: None for d in self.deliveries.values() if d.group.channel == channel}:
            self._take_back(group)

    def _recipient_done(self, message: Active, recipient: int, failure: bytes | None) -> None:
        del message.left[recipient]
        time = int(self._now() * 1e6)
        if message.removed:
            self._settle_if_done(message)
        elif failure is not None:
            message.failed = True
            message.marks += 1
            envelope = records.encode_failure(recipient, failure)
            self._submit(Entry(records.FAILED, message.number, time, envelope, source=message))
        elif message.left or message.failed:
            message.marks += 1
            self._submit(Entry(records.DONE, message.number, time, b"%d" % recipient, source=message))
        else:
            self._finish(message)

    def _defer(self, message: Active, channel: str, now: float) -> None:
        """Set the channel's next try, once for all recipients of a pass."""
        # Not asked of the state: a mark that is settled late may bring back there what an operator has overruled meanwhile.
        if message.next_try.get(channel, 0) > now:
            return
        number = message.number
        retry = dict(zip(_CHANNELS, self._store.state.retry(number), strict=True))
        message.next_try[channel] = retry[channel] = next_try(channel, message.birth, int(now))
        self._store.state.defer(number, retry[LOCAL], retry[REMOTE])
        envelope = b"%d,%d" % (retry[LOCAL], retry[REMOTE])
        self._submit(Entry(records.DEFERRED, number, int(now * 1e6), envelope))
        self._set_timer(number, channel, retry[channel])

    def marked(self, entry: Entry) -> None:
        """A DONE or FAILED entry has been settled."""
        if isinstance(entry.source, Active):
            entry.source.marks -= 1
            self._settle_if_done(entry.source)
            self._forget_if_idle(entry.source)

    def _settle_if_done(self, message: Active) -> None:
        if message.left or message.in_flight or message.marks or message.number not in self._active:
            return
        if message.failed and not message.removed:
            del self._active[message.number]
            self._drop_body(message)
            self._bouncing[message.number] = message
            self._bounce(message)
        else:
            self._finish(message)

    def finish(self, message: Active) -> None:
        """The bounce, if any, is durable: nothing is left to do."""
        self._finish(message)

    def _finish(self, message: Active) -> None:
        self._active.pop(message.number, None)
        self._drop_body(message)
        self._finish_number(message.number)

    def _finish_number(self, number: int) -> None:
        self._bouncing.pop(number, None)
        if number in self._store.state and number not in self._finishing:
            self._finishing.add(number)
            self._submit(Entry(records.FINISHED, number, int(self._now() * 1e6)))

    def finished(self, number: int) -> None:
        """The FINISHED entry has been settled."""
        self._finishing.discard(number)
        self._log(f"end msg {number}")

    def _drop_body(self, message: Active) -> None:
        if message.body is not None:
            self._kept_bytes -= len(message.body)
        self._kept_files -= message.fd >= 0
        message.forget_body()

    def _forget_if_idle(self, message: Active) -> None:
        # As long as a mark is on its way the store would take its recipient for one that is left.
        if message.in_flight or message.waiting or message.marks or not message.left:
            return
        self._active.pop(message.number, None)
        self._drop_body(message)

    # Time passes, operators act.

    def _set_timer(self, number: int, channel: str, when: int) -> None:
        self._timers.set(number, remote=channel == REMOTE, when=when)

    def _read_later(self, number: int, channels: tuple[str, ...], error: Exception) -> None:
        self._log(f"warning: trouble reading message {number}: {error}; will try again later")
        for channel in channels:
            self._set_timer(number, channel, int(self._now()) + TROUBLE_DELAY)

    def next_timer(self) -> int | None:
        """When tick() has something to do, in seconds since 1970."""
        return self._timers.next()

    def tick(self, *, everything: bool = False) -> bool:
        """Move what is due (or everything, at ALRM) from the timers to the queues: some at a time; whether more is due."""
        self._down.clear()  # ask again now and then, whatever was said before
        now = int(self._now())
        if now < self._last_tick - _SET_BACK:
            self._log("warning: the clock was set back: all messages that wait are tried now")
            everything = True
        self._last_tick = now
        if everything:
            self._all_due = self._last_taken_up < self._last_old
            self._timers.everything_is_due()
        for _ in range(_TIMERS_AT_ONCE):
            due = self._timers.take(now)
            if due is None:
                return False
            self._due(due[0], REMOTE if due[1] else LOCAL)
        return True

    def _due(self, number: int, channel: str) -> None:
        state = self._store.state
        if number not in state or self._is_over(number):
            return
        retry = dict(zip(_CHANNELS, state.retry(number), strict=True)) | {channel: 0}
        state.defer(number, retry[LOCAL], retry[REMOTE])
        if number in state.held:
            return
        message = self._active.get(number)
        if message is None:
            try:
                stored = self._store.read(number, body=False)
            except (OSError, TemporaryError, PeerError) as error:
                self._read_later(number, (channel,), error)
                return
            message = self._make(number, stored.accepted, stored.time, stored.size)
            for destination in message.destinations(channel):
                self.channels[channel].add(destination, number, fresh=False)
            self._settle_if_nobody_is_left(message)
            return
        message.tried = {n for n in message.tried if n in message.left and message.left[n][0] != channel}
        message.new_turns()
        message.next_try.pop(channel, None)
        self._enqueue(message, (channel,), fresh=False)

    def release(self, number: int) -> None:
        """A RELEASED entry has been settled, or an operator wants it tried now: a new pass."""
        if number not in self._store.state or self._is_over(number):
            return
        self._store.state.defer(number, 0, 0)
        message = self._active.get(number)
        if self._last_taken_up < number <= self._last_old:
            pass  # its turn comes
        elif message is None:
            self.resume(number)
        else:
            message.tried.clear()
            message.new_turns()
            message.next_try.clear()
            self._enqueue(message, _CHANNELS, fresh=False)

    def remove(self, number: int) -> None:
        """An operator wants the message gone, without a bounce; deliveries on their way end first."""
        bouncing = self._bouncing.get(number)
        if bouncing is not None:
            bouncing.removed = True
        message = self._active.get(number)
        if message is None:
            self._finish_number(number)
            return
        if message.in_flight and not message.removed:
            # If they do not end before the service does, the next one must not send it to all the others.
            self._submit(Entry(records.HELD, number, int(self._now() * 1e6)))
        message.removed = True
        message.left = {n: where for n, where in message.left.items() if n in message.in_flight}
        self._settle_if_done(message)

    def log_status(self) -> None:
        """How many deliveries are on their way."""
        local, remote = self.channels[LOCAL], self.channels[REMOTE]
        tail = " exitasap" if self.exiting else ""
        self._log(f"status: local {local.running}/{local.limit} remote {remote.running}/{remote.limit}{tail}")
