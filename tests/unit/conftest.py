"""What tests of several rooms have need of."""

import errno
import os
import socket
from contextlib import contextmanager

import pytest


@pytest.fixture
def no_sockets(monkeypatch):
    """A context in which this process has no descriptor left for a socket."""

    def none_left(*_args):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    @contextmanager
    def exhausted():
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", none_left)
            yield

    return exhausted
