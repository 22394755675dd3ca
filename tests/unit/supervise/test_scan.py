"""One scan after the other, without supervise: children that end at once, or when the test says so."""

import os
import signal

import pytest

from quail.supervise import scan as module
from quail.supervise.scan import MOST_SERVICES, Scanner


class Machine:
    """Takes the place of fork: numbers instead of processes."""

    def __init__(self, monkeypatch):
        self.started = []
        self.refuses = False
        self.lines = []
        self.scanner = Scanner(lambda name: None, self.lines.append)
        monkeypatch.setattr(self.scanner, "_fork", self.fork)

    def fork(self, name, _service, *, log):
        if self.refuses:
            return 0
        self.started.append(f"{name}/log" if log else name)
        return len(self.started)

    def scan(self):
        """What this scan has started."""
        before = len(self.started)
        self.scanner.scan()
        return sorted(self.started[before:])


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    machine = Machine(monkeypatch)
    yield machine
    for service in machine.scanner._services.values():
        for fd in service.pipe or ():
            os.close(fd)


def test_only_what_has_ended_is_started_again(machine):
    os.makedirs("a/log")
    os.makedirs("b")
    assert machine.scan() == ["a", "a/log", "b"]
    assert machine.scan() == []
    machine.scanner.ended([machine.started.index("a/log") + 1, 4242])
    assert machine.scan() == ["a/log"]


def test_a_fork_that_fails_is_tried_by_the_next_scan(machine):
    os.makedirs("a")
    machine.refuses = True
    assert machine.scan() == []
    machine.refuses = False
    assert machine.scan() == ["a"]


def test_a_log_that_comes_later(machine):
    """It has none until svscan has forgotten the service."""
    os.makedirs("a")
    machine.scan()
    os.makedirs("a/log")
    assert machine.scan() == []
    os.rename("a", ".a")
    machine.scanner.ended([1])
    assert machine.scan() == []
    os.rename(".a", "a")
    assert machine.scan() == ["a", "a/log"]


def test_the_pipe_goes_when_the_service_is_forgotten(machine):
    os.makedirs("a/log")
    machine.scan()
    (service,) = machine.scanner._services.values()
    os.rename("a", ".a")
    machine.scan()
    for fd in service.pipe:
        os.fstat(fd)
    machine.scanner.ended([1])
    machine.scan()
    os.fstat(service.pipe[0])  # its log still runs
    machine.scanner.ended([2])
    machine.scan()
    assert machine.scanner._services == {}
    for fd in service.pipe:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


def test_too_many(machine):
    for number in range(MOST_SERVICES + 2):
        os.mkdir(f"s{number}")
    assert len(machine.scan()) == MOST_SERVICES
    assert [line.endswith(": running too many services") for line in machine.lines] == [True, True]
    assert machine.lines[0].startswith("unable to start s")
    machine.lines.clear()
    assert machine.scan() == []
    assert len(machine.lines) == 2


def test_a_directory_that_cannot_be_read(machine, monkeypatch):
    """Nothing is forgotten because of that."""
    os.mkdir("a")
    machine.scan()

    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "listdir", refuse)
        machine.scanner.ended([1])
        assert machine.scan() == []
    assert machine.lines == ["unable to read directory: access denied"]
    assert machine.scan() == ["a"]


def test_no_pipe(machine, monkeypatch):
    os.makedirs("a/log")

    def refuse(_flags):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "pipe2", refuse)
        assert machine.scan() == []
    assert machine.lines == ["unable to create pipe for a: process cannot open more files"]
    assert machine.scan() == ["a", "a/log"]


def test_it_waits_between_scans_and_buries_the_dead(machine, monkeypatch):
    """Waiting costs nothing, and a child that ends meanwhile is only noted."""
    scans, waits, now = [], [], [100.0]

    class Events:
        def __init__(self, *numbers):
            assert numbers == (signal.SIGCHLD,)

        def wait(self, seconds):
            waits.append(round(seconds, 3))
            now[0] += 2.0

        def arrived(self):
            return [signal.SIGCHLD]

    class EnoughError(Exception):
        pass

    def look():
        scans.append(now[0])
        if len(scans) == 3:
            raise EnoughError

    ended = []
    monkeypatch.setattr(module, "Events", Events)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "reap", lambda: [(7, 0)])
    monkeypatch.setattr(machine.scanner, "scan", look)
    monkeypatch.setattr(machine.scanner, "ended", ended.extend)
    with pytest.raises(EnoughError):
        machine.scanner.run()
    assert waits == [5.0, 3.0, 1.0] * 2
    assert scans == [100.0, 106.0, 112.0]
    assert ended == [7] * 6
