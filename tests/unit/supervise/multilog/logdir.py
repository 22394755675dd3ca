"""A logger whose system calls can fail or be the last ones, with a clock and pauses of the test's own."""

import os
import shutil

from quail.storage.calls import SystemCalls
from quail.supervise.multilog.logger import Logger
from quail.supervise.multilog.script import parse

COUNTED = (
    "open", "close", "write", "pwritev", "fsync", "rename", "link", "unlink", "mkdir", "listdir", "stat", "fchmod", "flock",
)  # fmt: skip


class KilledError(BaseException):
    """The process is gone."""


class CountedCalls(SystemCalls):
    """At call number `at` (from 0) do something else: `trouble(call, args, kwargs)`."""

    def __init__(self, at=-1, trouble=None):
        self.count = 0
        self.seen = []
        for name in COUNTED:
            setattr(self, name, self._counted(name, getattr(os, name, None) or getattr(SystemCalls, name), at, trouble))

    def _counted(self, name, real, at, trouble):
        def call(*args, **kwargs):
            number, self.count = self.count, self.count + 1
            self.seen.append(name)
            if number == at:
                return trouble(lambda: real(*args, **kwargs))
            return real(*args, **kwargs)

        return call


def killed_before(_call):
    raise KilledError


def killed_after(call):
    try:
        call()
    except OSError:
        pass
    raise KilledError


def failing(number):
    def trouble(_call):
        raise OSError(number, os.strerror(number))

    return trouble


class Clock:
    """Goes on by itself, a microsecond at each look."""

    def __init__(self):
        self.now = 1_000_000_000_000_000

    def __call__(self):
        self.now += 1
        return self.now


class LogHouse:
    """Runs loggers, one after another, in one place."""

    def __init__(self, path, *script):
        self.path, self.script = str(path), [word.replace("DIR", str(path)) for word in script]
        self.clock = Clock()
        self.said, self.alerts, self.pauses = [], [], []
        self.between = None  # called in each pause

    def logger(self, calls=None):
        return Logger(
            parse([os.fsencode(word) for word in self.script]),
            say=self.said.append,
            alert=self.alerts.append,
            clock=self.clock,
            sleep=self._sleep,
            calls=calls or SystemCalls(),
        )

    def _sleep(self, seconds):
        self.pauses.append(seconds)
        if self.between:
            self.between()
        assert len(self.pauses) < 50, self.said

    def run(self, chunks, calls=None):
        logger = self.logger(calls)
        for chunk in chunks:
            logger.take(chunk)
        logger.finish()
        return logger

    def old_files(self, name="d"):
        return sorted(each for each in os.listdir(f"{self.path}/{name}") if each[0] == "@")

    def text(self, name="d"):
        """Everything that is kept, the oldest first."""
        parts = []
        for file in (*self.old_files(name), "previous", "current"):
            try:
                with open(f"{self.path}/{name}/{file}", "rb") as opened:
                    parts.append(opened.read())
            except FileNotFoundError:
                pass
        return b"".join(parts)

    def clear(self):
        shutil.rmtree(f"{self.path}/d", ignore_errors=True)
        self.said.clear()
        self.pauses.clear()
