"""The queue's side of a foreign spawn daemon, over real pipes: commands, reports, copies of messages, and the end."""

import os
from types import SimpleNamespace

import pytest
from tests.unit.services.stepping import SteppedLoop

from quail.net.spawn_protocol import Commands, encode_report
from quail.services.queue.spawner import Copies, Pipes, Spawner

LIMIT = 3
BODY = b"Subject: hello\n\nhello\n"


class Desk:
    """`spawner`, and the daemon's ends of its pipes."""

    def __init__(self, folder):
        self.loop = SteppedLoop()
        self.folder = folder / "mess"
        self.folder.mkdir()
        self.copies = Copies(str(self.folder))
        self.commands, commands = os.pipe()
        reports, self.reports = os.pipe()
        self.pipes = Pipes(commands, reports, LIMIT)
        self.told, self.lines = [], []
        self.lost = self.ready = 0
        self.deliveries = 0
        self.parser = Commands()
        self.spawner = Spawner(
            self.loop,
            self.pipes,
            self.copies,
            report=lambda *report: self.told.append(report),
            lost=self._lost,
            ready=self._ready,
            log=self.lines.append,
        )
        self.spawner.connect()

    def _lost(self):
        self.lost += 1

    def _ready(self):
        self.ready += 1

    def start(self, number=1, *, body=BODY, fd=-1, size=0, address=b"joe@here"):
        message = SimpleNamespace(number=number, body=body, fd=fd, size=size)
        self.deliveries += 1
        delivery = SimpleNamespace(number=self.deliveries, address=address)
        delivery.group = group = SimpleNamespace(message=message, sender=b"s@x", deliveries=[delivery])
        return self.spawner.start(group)

    def heard(self):
        """Commands that have arrived."""
        self.loop.turn()
        os.set_blocking(self.commands, False)
        try:
            return self.parser.feed(os.read(self.commands, 1 << 20))
        except BlockingIOError:
            return []

    def say(self, data):
        os.write(self.reports, data)
        self.loop.ready(self.pipes.reports)

    def files(self):
        return sorted(os.listdir(self.folder / "0"))

    def close(self):
        self.spawner.close()
        for fd in (self.commands, self.reports, self.pipes.commands, self.pipes.reports):
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_one_delivery(desk):
    assert desk.ready == 1
    assert desk.start(7)
    (command,) = desk.heard()
    assert (command.path, command.sender, command.local, command.host) == (b"0/7", b"s@x", b"joe", b"here")
    assert command.trouble is None
    path = desk.folder / "0/7"
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o640
    desk.say(encode_report(command.number, (b"K", b"done\n")))
    assert desk.told == [(1, b"K", b"done\n", False)]
    assert desk.files() == []
    assert desk.ready == 2


def test_a_body_in_a_file(desk, tmp_path):
    (tmp_path / "large").write_bytes(BODY * 10_000 + b"what lies behind it")
    with (tmp_path / "large").open("rb") as file:
        file.read(100)  # wherever its place is
        assert desk.start(body=None, fd=file.fileno(), size=len(BODY) * 10_000)
    assert (desk.folder / "0/1").read_bytes() == BODY * 10_000


def test_a_body_that_has_been_cut_short(desk, tmp_path):
    (tmp_path / "large").write_bytes(BODY)
    with (tmp_path / "large").open("rb") as file:
        assert not desk.start(body=None, fd=file.fileno(), size=len(BODY) + 1)
    assert desk.files() == []
    assert desk.heard() == []


def test_recipients_share_a_copy(desk):
    assert desk.start()
    assert desk.start()
    first, second = desk.heard()
    assert {first.path, second.path} == {b"0/1"}
    assert first.number != second.number
    desk.say(encode_report(second.number, (b"D", b"no\n")))
    assert desk.files() == ["1"]
    desk.say(encode_report(first.number, (b"Z", b"later\n")))
    assert desk.files() == []
    assert desk.told == [(2, b"D", b"no\n", False), (1, b"Z", b"later\n", False)]


def test_no_more_than_it_takes(desk):
    assert [desk.start(number) for number in range(1, 5)] == [True, True, True, False]
    numbers = [command.number for command in desk.heard()]
    assert sorted(numbers) == [0, 1, 2]
    desk.say(encode_report(numbers[0], (b"K", b"")))
    assert desk.start(5)
    (command,) = desk.heard()
    assert command.number == numbers[0]


def test_a_report_of_nothing(desk):
    desk.start()
    (command,) = desk.heard()
    desk.say(encode_report(77, (b"K", b"")))
    assert desk.lines == ["warning: internal error: delivery report out of range"]
    desk.say(encode_report(command.number, (b"K", b"")))
    desk.say(encode_report(command.number, (b"K", b"")))
    assert len(desk.lines) == 2
    assert len(desk.told) == 1


def test_a_daemon_that_does_not_read(desk):
    """The pipe is full: what is left waits in memory, in its order."""
    os.set_blocking(desk.pipes.commands, False)
    filler = 0
    try:
        while True:
            filler += os.write(desk.pipes.commands, bytes(1 << 16))
    except BlockingIOError:
        pass
    long = b"x" * 5000 + b"@here"
    assert desk.start(address=long)
    assert desk.start(2, address=long)
    desk.loop.turn()
    while filler:
        filler -= len(os.read(desk.commands, filler))
    desk.loop.ready(desk.pipes.commands, write=True)
    assert [command.path for command in desk.heard()] == [b"0/1", b"0/2"]
    assert desk.pipes.commands not in desk.loop.writers


@pytest.mark.parametrize("how", ["reports", "commands"])
def test_the_daemon_ends(desk, how):
    desk.start()
    desk.heard()
    os.close(getattr(desk, how))
    if how == "reports":
        desk.loop.ready(desk.pipes.reports)
    else:
        desk.start(2)
        desk.loop.turn()
    assert desk.lost == 1
    assert desk.lines == ["alert: oh no! lost spawn connection! dying..."]
    assert desk.files() == []
    assert not desk.start(3)
    desk.spawner.close()
    assert desk.lost == 1
    assert not desk.loop.readers
    assert not desk.loop.writers


def test_the_last_report_comes_with_the_end(desk):
    desk.start()
    (command,) = desk.heard()
    os.write(desk.reports, encode_report(command.number, (b"K", b"ok")))
    os.close(desk.reports)
    desk.loop.ready(desk.pipes.reports)
    desk.loop.ready(desk.pipes.reports)
    assert desk.told == [(1, b"K", b"ok", False)]
    assert desk.lost == 1


def test_no_room_for_a_copy(desk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert not desk.start()
    monkeypatch.undo()
    assert desk.files() == []
    assert desk.lines == ["warning: unable to write message 1 for its delivery: [Errno 28] No space left on device"]
    assert desk.start()
    assert desk.files() == ["1"]
    assert len(desk.heard()) == 1


def test_copies_of_an_earlier_life(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/12").write_text("old")
    Copies(str(tmp_path))
    assert os.listdir(tmp_path / "0") == []
    assert (tmp_path / "0").stat().st_mode & 0o777 == 0o710
