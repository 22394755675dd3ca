"""The workers of one user: processes of their own, which may die, stop or never answer."""

import os
import signal
from contextlib import contextmanager

import pytest

from quail.control.table import TABLE
from quail.delivery import pool as module
from quail.delivery.pool import SLACK, Pool, Task
from quail.delivery.settings import Settings
from quail.net.lspawn_protocol import DEFERRED, LOG, decode_job, encode_job, encode_report
from quail.net.pollloop import Loop
from quail.queue.journal import INLINE_BODY
from quail.services.lspawn import MAX_BYTES, MAX_JOBS

PROGRAM_TIMEOUT = 100


class House:
    def __init__(self, **options):
        self.now = 1000.0
        self.loop = Loop()
        self.reports, self.lines = [], []
        settings = Settings("/nowhere", nofile=(100, 100), environment={}, program_timeout=PROGRAM_TIMEOUT, **options)
        self.pool = Pool(
            self.loop,
            settings=settings,
            on_report=lambda task, letter, text: self.reports.append((task.job.tag, letter, text)),
            log=self.lines.append,
            clock=lambda: self.now,
        )

    def give(self, tag):
        self.pool.give(Task(None, decode_job(encode_job(tag, b"s@x", b"joe@here", 0, b"body")[4:]), -1))
        self.loop.once(0)

    def pass_time(self, seconds):
        self.now += seconds
        self.pool.tick()
        self.loop.once(0)


@contextmanager
def house(**options):
    made = House(**options)
    try:
        yield made
    finally:
        made.pool.close()
        for pid in made.pool.children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ChildProcessError, ProcessLookupError):
                pass
        made.loop.close()


@pytest.fixture
def _silent_workers(monkeypatch):
    """They take their tasks and say nothing."""

    def run(_sock, _settings):
        try:
            signal.pause()
        finally:
            os._exit(0)

    monkeypatch.setattr(module.worker, "run", run)


@pytest.mark.usefixtures("_silent_workers")
class TestStuck:
    def test_one_that_its_user_has_stopped_is_killed_in_the_end(self):
        with house() as here:
            here.give(1)
            (pid,) = here.pool.children
            os.kill(pid, signal.SIGSTOP)
            here.pass_time(2 * PROGRAM_TIMEOUT + SLACK - 1)
            assert here.reports == []
            here.give(2)
            here.pass_time(2)
            assert here.reports == [(1, DEFERRED, module.STUCK), (2, DEFERRED, module.STUCK)]
            _, status = os.waitpid(pid, 0)
            assert os.WTERMSIG(status) == signal.SIGKILL
            here.pool.children.discard(pid)
            here.give(3)
            assert len(here.pool.children) == 1
            assert len(here.reports) == 2

    def test_one_that_was_to_end_anyway(self):
        with house() as here:
            here.give(1)
            here.pool.renew(here.pool._settings)
            here.pass_time(2 * PROGRAM_TIMEOUT + SLACK + 1)
            assert here.reports == [(1, DEFERRED, module.STUCK)]

    def test_without_a_limit_for_programs_there_is_none(self):
        with house() as here:
            here.pool._settings.program_timeout = 0
            here.give(1)
            here.pass_time(1e9)
            assert here.reports == []

    def test_one_that_is_idle_is_let_go_and_nothing_killed(self):
        with house() as here:
            here.give(1)
            (worker,) = here.pool._workers
            worker.tasks.clear()
            here.pass_time(1e6)
            assert here.reports == []
            assert here.pool._workers == []


def test_what_a_worker_has_to_say_is_logged_as_it_is(monkeypatch):
    def run(sock, _settings):
        sock.sendall(encode_report(0, LOG, b"Maildir/new of joe: no space\xff"))
        os._exit(0)

    monkeypatch.setattr(module.worker, "run", run)
    with house() as here:
        here.give(1)
        (pid,) = here.pool.children
        while not here.lines:
            here.loop.once(1)
        assert here.lines[0] == f"delivery worker {pid}: Maildir/new of joe: no space\udcff"


def test_a_connection_of_the_queue_has_room_for_all_deliveries():
    """Or a user with half of them would keep the others out of lspawn."""
    assert TABLE["concurrencylocal"].high <= MAX_JOBS
    assert TABLE["concurrencylocal"].high * INLINE_BODY <= MAX_BYTES
