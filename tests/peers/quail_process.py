"""A running Quail for tests: a single home of its own, a free port, its log lines as events to wait for."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

PATIENCE = 60  # seconds; only a failing test waits that long
CLIENT = [sys.executable, "-m", "quail.cli.main"]


class QuailProcess:
    """`home` is made here, with one mailbox, tester. start() and stop() may be called again and again."""

    def __init__(self, home):
        self.home = str(home)
        self.new = f"{self.home}/mail/tester/Maildir/new"
        self.lines = []
        self._more = threading.Condition()
        self._process = self._reader = None
        self.quail(
            "init", "--single", self.home, "--name", "tester", "--smtp-port", "0", "--pop3-port", "0", home=False
        )

    def quail(self, *words, home=True):
        """Run the quail command on this home; what it prints."""
        where = ["--home", self.home] if home else []
        done = subprocess.run([*CLIENT, *where, *words], capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        self._process = subprocess.Popen(
            [*CLIENT, "serve", "--home", self.home], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,))
        self._reader.start()
        first = len(self.lines)
        self.await_line(r"serving ", first=first)
        return self

    def _read(self, pipe):
        for line in pipe:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._more.notify_all()

    def stop(self, sig=signal.SIGTERM):
        """End it, and everything that it started; its exit code."""
        if self._process is None:
            return None
        self._process.send_signal(sig)
        try:
            code = self._process.wait(PATIENCE)
            self._reader.join(PATIENCE)  # the pipe ends when the last service has ended
            assert not self._reader.is_alive(), "a service outlived quail serve"
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._reader.join(PATIENCE)
            self._process.stderr.close()
            self._process = None
        return code

    @property
    def port(self):
        with open(f"{self.home}/run/ports.json", encoding="ascii") as file:
            return int(json.load(file)["smtp"].rpartition(":")[2])

    def await_line(self, pattern, count=1, first=0):
        """Return once `count` log lines from number `first` on match; fail with the log when that takes too long."""
        end = time.monotonic() + PATIENCE
        with self._more:
            while True:
                if sum(1 for line in self.lines[first:] if re.match(pattern, line)) >= count:
                    return
                alive = self._reader.is_alive()
                if not alive or not self._more.wait(max(0, end - time.monotonic())):
                    tail = "\n".join(self.lines[-30:])
                    raise AssertionError(f"{'no' if alive else 'ended without'} {count} x {pattern!r} in:\n{tail}")

    def messages(self):
        """The bytes of what is new in the one Maildir, in order of arrival."""
        found = []
        for name in sorted(os.listdir(self.new), key=lambda name: os.stat(f"{self.new}/{name}").st_mtime_ns):
            with open(f"{self.new}/{name}", "rb") as file:
                found.append(file.read())
        return found

    def delivered(self, count):
        """Wait for that many deliveries in all; messages() then, which must be as many."""
        self.await_line(r"delivery \d+: success", count)
        messages = self.messages()
        assert len(messages) == count
        return messages
