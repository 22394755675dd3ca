"""The queue service's own wiring, with a real journal and a loop turned by hand: bounces, refusals, the drop, the end."""

import os
import socket
from types import SimpleNamespace

import pytest
from tests.unit.queue.journaling import Failing
from tests.unit.services.stepping import FakeTransport, SteppedLoop

from quail.net.frames import frame
from quail.queue import drop_writer
from quail.queue.handover import decode_envelope, encode_envelope
from quail.queue.recovery import open_journal
from quail.services.queue import collector, shares
from quail.services.queue import service as module
from quail.services.queue.service import BOUNCE_AGAIN, QueueService

pytestmark = pytest.mark.timeout(120)


class Loop(SteppedLoop):
    stopped = False

    def stop(self):
        self.stopped = True


class Client:
    """Hands messages in without a socket."""

    uid, pid = 1000, 1

    def __init__(self):
        self.replies = []

    def reply(self, _incoming, payload):
        self.replies.append(payload)


class Desk:
    def __init__(self):
        self.loop = Loop()
        self.calls = Failing()
        self.lines = []
        self.started = []
        self.exits = []
        self.opened = open_journal("queue", calls=self.calls)
        self.context = context = SimpleNamespace(
            log=SimpleNamespace(lines=self.lines.extend), sockets={}, life_fd=-1, uids={}, service_uids=frozenset
        )
        self.service = QueueService(context, self.opened, self.loop)
        self.service.dispatcher._start = self._start
        self.client = Client()

    def _start(self, delivery):
        self.started.append(delivery)
        return True

    def accept(self, *recipients, sender=b"alice@x.org", body=b"Subject: x\n\nhi\n"):
        intake = self.service._intake
        payload = encode_envelope(sender, recipients)[4:]
        incoming = intake.begin(self.client, decode_envelope(payload))
        intake.add(incoming, body)
        intake.end(incoming)
        self.write()

    def write(self):
        """Until nothing waits for the disk."""
        self.loop.turn()
        while self.service.writer._busy:
            self.loop.wait_for_thread()

    def report(self, letter, text=b"why\n"):
        delivery = self.started.pop(0)
        self.service._report(delivery.deliveries[0].number, letter, text, False)
        self.service.dispatcher.dispatch()
        self.write()
        return delivery

    def body(self, number):
        stored = self.service.store.read(number, body=True)
        if stored.body is not None:
            return stored.body
        try:
            return os.pread(stored.fd, stored.size, 0)
        finally:
            os.close(stored.fd)

    def live(self):
        return sorted(self.service.store.state)

    def said(self, text):
        self.loop.turn()
        return sum(text in line for line in self.lines)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("control")
    os.mkdir("queue")
    with open("control/me", "w") as file:
        file.write("here\n")
    desk = Desk()
    desk.calls.syncfs = os.fsync
    monkeypatch.setattr(module, "REAL", desk.calls)

    def leave_process(code):
        raise SystemExit(code)

    monkeypatch.setattr(module.os, "_exit", leave_process)
    yield desk
    desk.calls.fail.clear()
    desk.service.close()
    os.close(desk.opened.lock)


def test_from_new_to_end(desk):
    desk.accept(b"joe@here")
    assert desk.client.replies == [b"K1"]
    assert desk.report(b"K").deliveries[0].address == b"joe@here"
    assert desk.live() == []
    assert desk.said("end msg 1") == 1


def test_a_bounce_is_queued_before_its_message_is_over(desk):
    desk.accept(b"joe@here")
    desk.report(b"D", b"no such user\n")
    assert desk.live() == [2]
    (bounce,) = desk.started
    assert (bounce.sender, bounce.deliveries[0].address) == (b"", b"alice@x.org")
    assert desk.body(2).startswith(b"Received: (qmail 2 invoked for bounce); ")
    assert b"<joe@here>:\nno such user\n" in desk.body(2)
    order = [line for line in desk.lines if "bounce msg" in line or "new msg 2" in line or "end msg 1" in line]
    assert [line.split()[0] for line in order] == ["bounce", "new", "end"]


def test_bounces_of_bounces_come_to_an_end(desk):
    desk.accept(b"joe@here")
    desk.report(b"D")
    desk.report(b"D")
    (double,) = desk.started
    assert (double.sender, double.deliveries[0].address) == (b"#@[]", b"postmaster@here")
    desk.report(b"D")
    assert desk.live() == []
    assert desk.said("triple bounce: discarding bounce/3") == 1


def test_a_large_bounce_is_a_file(desk):
    with open("control/bouncemaxbytes", "w") as file:
        file.write("1000000\n")
    desk.service._reread()
    desk.accept(b"joe@here", body=b"x" * 300_000)
    desk.report(b"D")
    assert os.listdir("queue/mess") == ["2"]
    assert desk.body(2).endswith(b"x" * 300_000)


def test_a_bounce_that_cannot_be_written_is_tried_again(desk):
    desk.accept(b"joe@here")
    desk.service._report(desk.started.pop().deliveries[0].number, b"D", b"no\n", False)
    desk.write()  # the mark
    assert desk.live() == [2]
    desk.calls.fail["pwritev"] = OSError(28, "No space left on device")
    desk.service._report(desk.started.pop().deliveries[0].number, b"D", b"no\n", False)
    desk.write()
    assert desk.service.dispatcher.suspended
    desk.calls.fail.clear()
    desk.loop.pass_time(1)
    desk.write()
    desk.loop.pass_time(BOUNCE_AGAIN)
    desk.write()
    assert desk.live() == [3]


def test_a_large_bounce_without_room_leaves_no_file_and_no_descriptor(desk):
    with open("control/bouncemaxbytes", "w") as file:
        file.write("1000000\n")
    desk.service._reread()
    desk.accept(b"joe@here", body=b"x" * 300_000)
    before = len(os.listdir("/proc/self/fd"))
    desk.calls.fail["write"] = OSError(28, "No space left on device")
    desk.report(b"D")
    for _ in range(3):
        desk.loop.pass_time(BOUNCE_AGAIN)
        desk.write()
    assert desk.said("trouble injecting bounce message, will try later") == 4
    assert os.listdir("queue/mess") == ["1"]
    assert len(os.listdir("/proc/self/fd")) <= before
    desk.calls.fail.clear()
    desk.loop.pass_time(BOUNCE_AGAIN)
    desk.write()
    assert len(desk.live()) == 1
    assert desk.live() != [1]


def test_removed_while_its_bounce_waits(desk):
    desk.accept(b"joe@here", body=b"x" * 10)
    desk.service.store.read = lambda *_args, **_kwargs: (_ for _ in ()).throw(OSError(5, "Input/output error"))
    desk.report(b"D")
    del desk.service.store.read
    desk.service.dispatcher.remove(1)
    desk.write()
    desk.loop.pass_time(BOUNCE_AGAIN)
    desk.write()
    assert desk.live() == []
    assert desk.said("end msg 1") == 1
    assert desk.said("bounce msg") == 0


def test_a_refused_batch_answers_and_mail_goes_on_after_it(desk):
    desk.calls.fail["pwritev"] = OSError(28, "No space left on device")
    desk.accept(b"joe@here")
    assert desk.client.replies == [b"Zqq write error or disk full (#4.3.0)"]
    desk.calls.fail.clear()
    desk.loop.pass_time(1)
    desk.write()
    desk.accept(b"joe@here")
    assert desk.client.replies[1:] == [b"K2"]
    assert len(desk.started) == 1


def test_a_bug_in_one_message_leaves_the_others_their_answers(desk, monkeypatch):
    real = desk.service.dispatcher.admit

    def admit(number, *rest):
        if number == 1:
            raise ValueError("a bug")
        real(number, *rest)

    monkeypatch.setattr(desk.service.dispatcher, "admit", admit)
    intake = desk.service._intake
    for _ in range(2):
        incoming = intake.begin(desk.client, decode_envelope(encode_envelope(b"a@x", [b"joe@here"])[4:]))
        intake.end(incoming)
    desk.write()
    assert desk.client.replies == [b"K1", b"K2"]
    assert [delivery.message.number for delivery in desk.started] == [2]
    assert desk.said("internal error, message 1 waits for the next start") == 1


def test_a_tick_that_fails_is_not_the_last(desk, monkeypatch):
    ticks = []

    def tick(**_):
        ticks.append(1)
        raise ValueError("a bug")

    monkeypatch.setattr(desk.service.dispatcher, "tick", tick)
    for _ in range(3):
        with pytest.raises(ValueError, match="a bug"):
            desk.service._tick() if not ticks else desk.loop.pass_time(1)
    assert len(ticks) == 3


def test_what_was_dropped_is_queued_and_goes(desk):
    drop_writer.leave(b"a@x", [b"joe@here"], [b"dropped\n"], calls=desk.calls)
    desk.service._collector.scan()
    desk.write()
    assert os.listdir("queue/drop") == []
    assert desk.body(1).endswith(b"dropped\n")


def test_a_dropped_message_that_is_refused_now_is_taken_later(desk):
    drop_writer.leave(b"a@x", [b"joe@here"], [b"dropped\n"], calls=desk.calls)
    drop_writer.leave(b"s" * 2000, [b"joe@here"], [b"never\n"], calls=desk.calls)
    desk.service.writer.refusing = True
    desk.service._collector.scan()
    assert len(os.listdir("queue/drop")) == 2
    desk.service.writer.refusing = False
    for _ in range(2):
        desk.loop.pass_time(60)
        desk.write()
    assert desk.live() == [1] or len(desk.live()) == 1
    assert len(os.listdir("queue/drop")) == 1
    assert desk.said("address too long") == 1


def test_many_dropped_messages_come_a_few_at_a_time(desk):
    for _ in range(45):
        drop_writer.leave(b"a@x", [b"joe@here"], [b"x\n"], calls=desk.calls)
    desk.service._collector.scan()
    assert len(desk.service.writer._pending) == 20
    desk.loop.pass_time(1)
    desk.write()
    assert os.listdir("queue/drop") == []
    assert len(desk.live()) == 45


def test_large_dropped_messages_come_in_pieces_and_one_at_a_time(desk, monkeypatch):
    monkeypatch.setattr(collector, "PIECE", 100_000)
    for letter in (b"x", b"y"):
        drop_writer.leave(b"a@x", [b"joe@here"], [letter * 450_000], calls=desk.calls)
    desk.service._collector.scan()
    assert not desk.service.writer._pending  # a piece is copied, and the loop goes on
    desk.loop.pass_time(1)
    desk.write()
    assert len(desk.live()) == 1
    assert len(os.listdir("queue/drop")) == 1
    desk.loop.pass_time(60)
    desk.write()
    assert len(desk.live()) == 2
    assert os.listdir("queue/drop") == []


def test_what_is_half_copied_at_a_stop_stays(desk, monkeypatch):
    monkeypatch.setattr(collector, "PIECE", 100_000)
    drop_writer.leave(b"a@x", [b"joe@here"], [b"x" * 450_000], calls=desk.calls)
    desk.service._collector.scan()
    assert len(os.listdir("queue/mess")) == 1
    desk.service._collector.stop()
    assert os.listdir("queue/mess") == []
    desk.loop.pass_time(61)
    assert not desk.service.writer._pending
    assert len(os.listdir("queue/drop")) == 1


def test_a_dropped_file_that_would_fill_the_disk_is_left_alone(desk):
    name = drop_writer.leave(b"a@x", [b"joe@here"], [b"x"], calls=desk.calls)
    os.truncate(f"queue/drop/{name}", drop_writer.LARGEST + 1)
    desk.service._collector.scan()
    assert desk.said("larger than") == 1
    assert os.listdir("queue/drop") == [name]


def test_hup_reads_the_control_files_and_keeps_the_old_when_they_are_malformed(desk):
    with open("control/concurrencylocal", "w") as file:
        file.write("1\n")
    desk.service._reread()
    desk.accept(b"a@here")
    desk.accept(b"b@here")
    assert len(desk.started) == 1
    with open("control/concurrencylocal", "w") as file:
        file.write("many\n")
    desk.service._reread()
    assert desk.said("unable to reread controls") == 1
    assert len(desk.started) == 1
    with open("control/concurrencylocal", "w") as file:
        file.write("5\n")
    desk.service._reread()
    assert len(desk.started) == 2


def test_term_waits_for_deliveries_and_refuses_new_mail(desk):
    desk.accept(b"a@here")
    desk.service._terminate()
    desk.accept(b"b@here")
    assert desk.client.replies[-1] == b"Zmail system is stopping, try again later (#4.3.2)"
    assert desk.said("status: exiting") == 0
    desk.report(b"K")
    desk.service._tick()
    desk.service._tick()
    assert desk.said("status: exiting") == 1
    assert not desk.loop.stopped  # answers go out first
    desk.loop.pass_time(1)
    assert desk.loop.stopped


def test_term_does_not_wait_for_ever(desk):
    desk.accept(b"a@here")
    desk.service._terminate()
    desk.loop.now += module.GRACE
    desk.service._tick()
    desk.loop.pass_time(1)
    assert desk.loop.stopped


def test_alarm_tries_everything_now(desk):
    desk.accept(b"a@here")
    desk.report(b"Z")
    assert not desk.started
    desk.service._alarm()
    assert len(desk.started) == 1


def test_when_serve_is_gone_the_queue_ends_at_once(desk):
    with pytest.raises(SystemExit):
        desk.service._orphaned()
    assert desk.lines[-1] == "alert: serve is gone"


def test_statistics(desk):
    desk.accept(b"a@here")
    numbers = desk.service.statistics()
    assert (numbers["messages"], numbers["held"], numbers["refusing"]) == (1, 0, False)
    assert numbers["channels"]["local"]["running"] == 1


def test_while_the_disk_is_nearly_full_no_large_body_keeps_it_so(desk):
    one, other = socket.socketpair()
    with one, other:
        connection = desk.service._intake.connection()
        connection.connection_made(FakeTransport(one))
        connection.data_received(encode_envelope(b"a", [b"joe@here"]) + frame(b"x" * 200_000))
        desk.service._tick()
        assert len(os.listdir("queue/mess")) == 1
        desk.service.writer.refusing = True
        desk.service._tick()
        assert os.listdir("queue/mess") == []


def test_a_dropped_message_that_does_not_fit_the_disk_waits(desk):
    desk.service.writer.minfree = 1_000_000
    desk.service.store.free_bytes = lambda: 1_200_000
    drop_writer.leave(b"a@x", [b"joe@here"], [b"x" * 300_000], calls=desk.calls)
    for _ in range(2):
        desk.service._collector.scan()
    assert desk.said("there is no room for its 300000 bytes; will try again later") == 1
    assert desk.live() == os.listdir("queue/mess") == []
    desk.service.store.free_bytes = lambda: 2_000_000
    desk.loop.pass_time(60)
    desk.write()
    assert len(desk.live()) == 1


def test_envelopes_of_the_drop_count_as_their_owners(desk, monkeypatch):
    monkeypatch.setattr(shares, "BYTES", 10_000)
    for _ in range(3):
        drop_writer.leave(b"a@x", [b"joe@here"] * 20, [b"x\n"], calls=desk.calls)
    desk.service._collector.scan()
    assert len(desk.service.writer._pending) == 2
    desk.write()
    desk.loop.pass_time(60)
    desk.write()
    assert len(desk.live()) == 3
    assert desk.service._intake.shares.nothing_held()


def test_a_scan_waits_for_the_end_of_the_last_one(desk, monkeypatch):
    monkeypatch.setattr(collector, "AT_ONCE", 1)
    monkeypatch.setattr(collector, "BREATH", 50.0)
    for _ in range(3):
        drop_writer.leave(b"a@x", [b"joe@here"], [b"x\n"], calls=desk.calls)
    desk.service._collector.scan()
    for _ in range(10):
        desk.loop.pass_time(30)
    desk.write()
    assert len(desk.live()) == 3


def test_recipients_count_for_their_sender_until_the_message_is_over(desk, monkeypatch):
    monkeypatch.setattr(shares, "RECIPIENTS", 250)
    for channel in desk.service.dispatcher.channels.values():
        channel.set_limits(0, 1)
    many = [b"user%d@elsewhere" % n for n in range(200)]
    for _ in range(2):
        desk.accept(*many)
    desk.service.dispatcher.remove(1)
    desk.write()
    for _ in range(2):
        desk.accept(*many)
    letters = [reply[:1] for reply in desk.client.replies]
    assert letters == [b"K", b"Z", b"K", b"Z"]
    again = QueueService(desk.context, desk.opened, desk.loop)
    assert again._intake.shares.has_room(desk.client.uid, 200)
    again.dispatcher.begin()
    again.dispatcher.take_up(10)
    assert not again._intake.shares.has_room(desk.client.uid, 200)  # after a restart too
