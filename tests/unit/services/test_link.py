"""The queue's links over a real socket: jobs, descriptors, partial writes, and the service lost at any moment."""

import os
import socket
from types import SimpleNamespace

import pytest
from tests.unit.services.stepping import SteppedLoop

from quail.net import descriptors, lspawn_protocol, rspawn_protocol
from quail.net.frames import Splitter
from quail.net.lspawn_protocol import decode_job, encode_report
from quail.services.queue.link import Link, LocalWire, RemoteWire


class Lspawn:
    """The other end; `jobs` are what it has received, `fds` the descriptors."""

    path = LocalWire.path
    decode = staticmethod(decode_job)

    def __init__(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(30)
        self.peer = None
        self.jobs = []
        self.fds = []

    def accept(self):
        self.peer, _ = self.listener.accept()
        self.peer.settimeout(30)
        self.splitter = Splitter(lspawn_protocol.MAX_JOB)

    def read(self, *, wait=True):
        self.peer.setblocking(wait)
        try:
            data, ancillary, _, _ = self.peer.recvmsg(1 << 20, descriptors.SPACE)
        except BlockingIOError:
            return
        self.fds += descriptors.received(ancillary)
        self.jobs += [self.decode(payload) for payload in self.splitter.feed(data)]

    def close(self):
        for sock in (self.peer, self.listener):
            if sock is not None:
                sock.close()
        for fd in self.fds:
            os.close(fd)


class Rspawn(Lspawn):
    path = RemoteWire.path
    decode = staticmethod(rspawn_protocol.decode_job)


class Desk:
    def __init__(self, wire=LocalWire):
        self.loop = SteppedLoop()
        self.reports, self.lines = [], []
        self.lost = self.ready = 0
        self.link = Link(
            self.loop,
            wire(),
            report=lambda *report: self.reports.append(report),
            lost=self._lost,
            ready=self._ready,
            log=self.lines.append,
        )

    def _lost(self):
        self.lost += 1

    def _ready(self):
        self.ready += 1

    def connect(self, lspawn):
        self.link.connect()
        lspawn.accept()

    @property
    def fd(self):
        return self.link._socket.fileno()


def delivery(number, *, body=b"hello\n", fd=-1, sender=b"a@x", address=b"joe@here"):
    return group(sender, (number, address), body=body, fd=fd)


def group(sender, *deliveries, body=b"hello\n", fd=-1, attributes=()):
    message = SimpleNamespace(body=None if fd >= 0 else body, fd=fd, accepted=SimpleNamespace(attributes=attributes))
    each = [SimpleNamespace(number=number, address=address) for number, address in deliveries]
    return SimpleNamespace(sender=sender, deliveries=each, message=message)


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()


@pytest.fixture
def lspawn():
    lspawn = Lspawn()
    yield lspawn
    lspawn.close()


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.link.close()


def test_jobs_go_out_together_and_reports_come_in(desk, lspawn):
    desk.connect(lspawn)
    assert desk.ready == 1
    assert desk.link.start(delivery(1))
    assert desk.link.start(delivery(2, body=b"", sender=b""))
    desk.loop.turn()
    lspawn.read()
    assert [(job.tag, job.sender, job.recipient, job.body) for job in lspawn.jobs] == [
        (1, b"a@x", b"joe@here", b"hello\n"),
        (2, b"", b"joe@here", b""),
    ]
    lspawn.peer.sendall(encode_report(2, b"K", b"did 1+0+0\n") + encode_report(1, b"Z", b"later")[:-1])
    desk.loop.ready(desk.fd)
    assert desk.reports == [(2, b"K", b"did 1+0+0\n", False)]
    lspawn.peer.sendall(b"r")
    desk.loop.ready(desk.fd)
    assert desk.reports[1] == (1, b"Z", b"later", False)


def test_a_large_body_travels_as_a_descriptor(desk, lspawn, tmp_path):
    (tmp_path / "body").write_bytes(b"large body")
    before = open_files()
    desk.connect(lspawn)
    own = os.open(tmp_path / "body", os.O_RDONLY)
    desk.link.start(delivery(1))
    desk.link.start(delivery(2, fd=own))
    desk.link.start(delivery(3))
    os.close(own)  # the message is forgotten before the job has gone out
    desk.loop.turn()
    while len(lspawn.jobs) < 3:
        lspawn.read()
    assert [job.tag for job in lspawn.jobs] == [1, 2, 3]
    assert [job.flags for job in lspawn.jobs] == [0, lspawn_protocol.DESCRIPTOR, 0]
    assert os.pread(lspawn.fds[0], 100, 0) == b"large body"
    assert open_files() == before + 3  # two ends of the connection, and what lspawn has got


def test_each_delivery_has_its_own_place_in_a_large_body(desk, lspawn, tmp_path):
    (tmp_path / "body").write_bytes(b"large body")
    desk.connect(lspawn)
    own = os.open(tmp_path / "body", os.O_RDONLY)
    for number in (1, 2):
        desk.link.start(delivery(number, fd=own))
    os.close(own)
    desk.loop.turn()
    while len(lspawn.jobs) < 2:
        lspawn.read()
    assert os.read(lspawn.fds[0], 100) == b"large body"
    assert os.read(lspawn.fds[1], 100) == b"large body"


def test_more_than_the_socket_takes_follows_when_it_can(desk, lspawn, tmp_path):
    (tmp_path / "body").write_bytes(b"large body")
    desk.connect(lspawn)
    body = os.urandom(100_000)
    own = os.open(tmp_path / "body", os.O_RDONLY)
    for number in range(1, 21):
        desk.link.start(delivery(number, fd=own) if number % 7 == 0 else delivery(number, body=body))
    os.close(own)
    desk.loop.turn()
    assert desk.fd in desk.loop.writers
    while len(lspawn.jobs) < 20:
        lspawn.read()
        if desk.fd in desk.loop.writers:
            desk.loop.ready(desk.fd, write=True)
    assert [job.tag for job in lspawn.jobs] == list(range(1, 21))
    assert all(job.body == body for job in lspawn.jobs if job.tag % 7)
    assert len(lspawn.fds) == 2
    assert desk.fd not in desk.loop.writers


def test_without_a_service_nothing_starts_and_it_is_said_once(desk):
    desk.link.connect()
    assert not desk.link.start(delivery(1))
    for _ in range(5):
        desk.loop.pass_time(0.2)
    assert len(desk.lines) == 1
    lspawn = Lspawn()
    desk.loop.pass_time(0.2)
    lspawn.accept()
    assert desk.link.start(delivery(1))
    lspawn.close()


def test_a_lost_service_is_told_and_found_again(desk, lspawn, tmp_path):
    (tmp_path / "body").write_bytes(b"large body")
    desk.connect(lspawn)
    own = os.open(tmp_path / "body", os.O_RDONLY)
    desk.link.start(delivery(1, fd=own))
    os.close(own)
    lspawn.peer.close()
    before = open_files()
    desk.loop.turn()
    assert desk.lost == 1
    assert open_files() == before - 2  # the socket, and the descriptor that was never sent
    assert not desk.link.start(delivery(2))
    desk.loop.pass_time(0.2)
    lspawn.accept()
    assert desk.ready == 2
    assert desk.link.start(delivery(2))
    desk.loop.turn()
    lspawn.read()
    assert [job.tag for job in lspawn.jobs] == [2]  # what was lost is the dispatcher's to start again


def test_an_end_of_file_is_a_lost_service(desk, lspawn):
    desk.connect(lspawn)
    lspawn.peer.close()
    desk.loop.ready(desk.fd)
    assert desk.lost == 1
    assert not desk.loop.readers


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\5\0\0\0\1X", b"\0\0\0\1x"])
def test_a_report_that_is_none_ends_the_connection(desk, lspawn, data):
    desk.connect(lspawn)
    lspawn.peer.sendall(data)
    desk.loop.ready(desk.fd)
    assert desk.lost == 1
    assert desk.reports == []


def test_a_report_about_a_partly_sent_connection_is_not_mixed_with_the_next(desk, lspawn):
    desk.connect(lspawn)
    lspawn.peer.sendall(encode_report(1, b"K", b"x")[:5])
    desk.loop.ready(desk.fd)
    lspawn.peer.close()
    desk.loop.ready(desk.fd)
    desk.loop.pass_time(0.2)
    lspawn.accept()
    lspawn.peer.sendall(encode_report(7, b"K", b"y"))
    desk.loop.ready(desk.fd)
    assert desk.reports == [(7, b"K", b"y", False)]


def test_when_descriptors_run_out_the_delivery_waits(desk, lspawn, monkeypatch):
    """An exception here would leave the delivery counted as running for ever."""
    desk.connect(lspawn)

    def none_left(_path, _flags):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("quail.services.queue.link.os.open", none_left)
    assert not desk.link.start(delivery(1, fd=0))
    assert desk.link.start(delivery(2))


def test_when_descriptors_run_out_it_connects_later(desk, no_sockets):
    with no_sockets():
        desk.link.connect()
    lspawn = Lspawn()
    desk.loop.pass_time(0.2)
    lspawn.accept()
    assert desk.link.start(delivery(1))
    lspawn.close()


def test_closed_for_good(desk, lspawn):
    desk.connect(lspawn)
    desk.link.close()
    desk.loop.pass_time(1)
    assert not desk.link.start(delivery(1))
    assert desk.lost == 0


def test_a_group_for_rspawn_is_one_job_and_each_recipient_has_its_report():
    desk, rspawn = Desk(RemoteWire), Rspawn()
    try:
        desk.connect(rspawn)
        desk.link.start(group(b"a@x", (1, b"joe@far"), (2, b"ann@far"), attributes=((b"smtputf8", b""),)))
        desk.loop.turn()
        rspawn.read()
        (job,) = rspawn.jobs
        assert (job.sender, job.tags, job.recipients, job.body) == (
            b"a@x",
            [1, 2],
            [b"joe@far", b"ann@far"],
            b"hello\n",
        )
        assert job.flags == rspawn_protocol.UTF8
        for tag, down in ((2, False), (1, True)):
            rspawn.peer.sendall(rspawn_protocol.encode_report(tag, b"Z", b"later", host_down=down))
        desk.loop.ready(desk.fd)
        assert desk.reports == [(2, b"Z", b"later", False), (1, b"Z", b"later", True)]
    finally:
        desk.link.close()
        rspawn.close()


def test_a_large_body_for_rspawn_travels_as_a_descriptor(tmp_path):
    (tmp_path / "body").write_bytes(b"large body")
    desk, rspawn = Desk(RemoteWire), Rspawn()
    own = os.open(tmp_path / "body", os.O_RDONLY)
    try:
        desk.connect(rspawn)
        desk.link.start(group(b"", (1, b"joe@far"), fd=own))
        desk.loop.turn()
        rspawn.read()
        assert (rspawn.jobs[0].flags, rspawn.jobs[0].body) == (rspawn_protocol.DESCRIPTOR, b"")
        assert os.pread(rspawn.fds[0], 100, 0) == b"large body"
    finally:
        os.close(own)
        desk.link.close()
        rspawn.close()
