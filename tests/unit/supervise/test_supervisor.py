"""What only a machine in trouble shows: forks that fail, and odd bytes of a status."""

import errno
import os

import pytest

from quail.supervise import status, supervisor
from quail.supervise.events import Events
from quail.supervise.keeper import DOWN, NO_FORK_WAIT, ONCE, UP
from quail.supervise.supervisor import Supervisor


@pytest.fixture
def lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return []


@pytest.fixture
def made(lines):
    keeper = Supervisor("s", lines.append, down=True)
    yield keeper
    keeper._events.close()


class NoMoreEventsError(Exception):
    """The script of waits is at its end."""


def test_a_fork_that_fails(made, lines, monkeypatch):
    """Said, waited for, and commands are heard meanwhile."""
    waits = []

    def fork():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def wait(_self, seconds):
        waits.append(seconds)
        if len(waits) > len(script):
            raise NoMoreEventsError
        os.write(made._files._control_end, script[len(waits) - 1])

    script = [b"u", b"h", b"d"]
    monkeypatch.setattr(supervisor.os, "fork", fork)
    monkeypatch.setattr(Events, "wait", wait)
    with pytest.raises(NoMoreEventsError):
        made.run()
    assert lines == ["supervise: warning: unable to fork for s, sleeping 60 seconds: temporary failure"]
    assert waits[0] is None
    assert NO_FORK_WAIT - 5 < waits[2] <= waits[1] <= NO_FORK_WAIT
    assert waits[3] is None  # wanted down


def test_what_a_status_is():
    data = status.pack(1_700_000_000_123_456_789, 0x01020304, paused=True, want=ONCE)
    assert data.hex() == "400000006553f10a" + "075bcbf4" + "04030201" + "01" + "00"
    assert len(data) == status.SIZE


def test_before_1970():
    assert status.pack(-1, 0, paused=False, want=UP)[:8].hex() == "4000000000000009"


SENTENCES = [
    (0, False, UP, False, "down 7 seconds, normally up, want up"),
    (0, False, UP, True, "down 7 seconds, want up"),
    (0, True, DOWN, False, "down 7 seconds, normally up"),
    (5, False, UP, False, "up (pid 5) 7 seconds"),
    (5, True, UP, True, "up (pid 5) 7 seconds, normally down, paused"),
    (5, True, DOWN, True, "up (pid 5) 7 seconds, normally down, paused, want down"),
    (5, False, ONCE, False, "up (pid 5) 7 seconds"),
]


@pytest.mark.parametrize(("pid", "paused", "want", "down", "text"), SENTENCES)
def test_sentences(pid, paused, want, down, text):
    data = status.pack(1_000_000_000 * 100, pid, paused=paused, want=want)
    assert status.sentence(data, 107, normally_down=down) == text


def test_too_little():
    with pytest.raises(ValueError, match="short"):
        status.sentence(bytes(17), 0, normally_down=False)
