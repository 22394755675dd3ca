"""The loop of qmail-lspawn and qmail-rspawn when the system is short of something; all else: tests/programs/test_spawn.py."""

import errno
import os
import signal
import time

import pytest

from quail.delivery.refusal import Refusal
from quail.delivery.spawning import NO_FORK, Spawner
from quail.net.spawn_protocol import Command


def test_a_delivery_that_can_not_be_watched_does_not_go_on(monkeypatch):
    """It is reported as not begun, and begun again later."""

    def none_left(_pid):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    started = []

    def start(_command, _message, _output):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        started.append(pid)
        return pid

    monkeypatch.setattr(os, "pidfd_open", none_left)
    spawner = Spawner(start, lambda _code, _text: NO_FORK, owner=os.getuid(), keep=1)
    try:
        with pytest.raises(Refusal) as caught:
            spawner._fork(Command(7, b"1", b"s@x.y", b"u@ex.org"), -1)
        assert (caught.value.letter, caught.value.text) == NO_FORK
        with pytest.raises(ChildProcessError):
            os.waitpid(started[0], os.WNOHANG)
        started.clear()
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
