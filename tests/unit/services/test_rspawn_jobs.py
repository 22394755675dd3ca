"""rspawn's end of the queue's connection: jobs with their descriptors, reports together, a full process, a broken peer."""

import os
import socket

import pytest
from tests.unit.services.stepping import SteppedLoop

from quail.net import descriptors
from quail.net.frames import Splitter
from quail.net.rspawn_protocol import DESCRIPTOR, MAX_REPORT, decode_report, encode_job
from quail.services.rspawn import jobs as jobs_module
from quail.services.rspawn.jobs import Jobs


class Desk:
    def __init__(self):
        self.loop = SteppedLoop()
        self.queue, own = socket.socketpair()
        own.setblocking(False)
        self.fd = own.fileno()
        self.taken, self.lines, self.ends = [], [], 0
        self.jobs = Jobs(self.loop, own, take=self._take, gone=self._gone, log=self.lines.append)

    def _take(self, jobs, job, descriptor):
        assert jobs is self.jobs
        self.taken.append((job, descriptor))

    def _gone(self, _jobs):
        self.ends += 1

    def read(self):
        self.loop.ready(self.fd)

    def close(self):
        self.jobs.close()
        self.queue.close()
        for _, descriptor in self.taken:
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.close()


def job(tag, *, flags=0, body=b"hello\n"):
    return encode_job(b"s@x", flags, [(tag, b"r@far.example")], body)


def test_jobs_come_in_however_they_are_cut(desk):
    for byte in job(1) + job(2):
        desk.queue.send(bytes((byte,)))
        desk.read()
    assert [taken.tags for taken, _ in desk.taken] == [[1], [2]]
    assert [descriptor for _, descriptor in desk.taken] == [-1, -1]


def test_a_descriptor_belongs_to_the_job_that_says_so(desk, tmp_path):
    (tmp_path / "body").write_bytes(b"large")
    with open(tmp_path / "body", "rb") as file:
        desk.queue.send(job(1))
        desk.queue.sendmsg([job(2, flags=DESCRIPTOR, body=b"")], descriptors.rights(file.fileno()))
        desk.queue.send(job(3))
    desk.read()
    desk.read()
    while len(desk.taken) < 3:
        desk.read()
    assert [descriptor >= 0 for _, descriptor in desk.taken] == [False, True, False]
    assert os.pread(desk.taken[1][1], 100, 0) == b"large"


def test_reports_of_one_turn_go_out_together(desk):
    desk.jobs.report(1, b"K", b"ok", host_down=False)
    desk.jobs.report(2, b"Z", b"later", host_down=True)
    desk.loop.turn()
    frames = Splitter(MAX_REPORT).feed(desk.queue.recv(1 << 16))
    assert [decode_report(frame) for frame in frames] == [(1, b"K", b"ok", False), (2, b"Z", b"later", True)]


def test_reports_wait_for_a_queue_that_does_not_read(desk):
    for tag in range(200):
        desk.jobs.report(tag, b"D", b"x" * 9000, host_down=False)
    desk.loop.turn()
    assert desk.jobs.unsent
    splitter = Splitter(MAX_REPORT)
    tags = []
    while len(tags) < 200:
        tags += [decode_report(frame)[0] for frame in splitter.feed(desk.queue.recv(1 << 20))]
        if desk.fd in desk.loop.writers:
            desk.loop.ready(desk.fd, write=True)
    assert tags == list(range(200))
    assert not desk.jobs.unsent


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1x", job(1, flags=DESCRIPTOR, body=b"")])
def test_a_queue_that_breaks_the_format_loses_its_connection(desk, data):
    desk.queue.send(data)
    desk.read()
    assert desk.ends == 1
    assert len(desk.lines) == 1
    assert desk.taken == []


def test_the_end_of_the_queue_is_told_once_and_reports_to_it_are_dropped(desk):
    desk.queue.close()
    desk.read()
    desk.jobs.report(1, b"K", b"", host_down=False)
    desk.loop.turn()
    desk.jobs.close()
    assert desk.ends == 1


def test_no_more_is_read_than_fits_until_jobs_are_done(desk, monkeypatch):
    monkeypatch.setattr(jobs_module, "MAX_BYTES", 10)
    desk.queue.send(job(1))
    desk.read()
    desk.queue.send(job(2))
    desk.read()
    assert desk.fd not in desk.loop.readers
    desk.queue.send(job(3))
    desk.jobs.done(desk.taken[0][0])
    desk.read()
    assert [taken.tags for taken, _ in desk.taken] == [[1], [2], [3]]


def test_stopped_it_takes_nothing_more(desk):
    desk.jobs.stop()
    assert desk.fd not in desk.loop.readers
    desk.queue.send(job(1))
    desk.jobs.report(7, b"K", b"", host_down=False)
    desk.loop.turn()
    assert desk.queue.recv(100)
