"""qmail-lspawn or qmail-rspawn as a process, and the side of a qmail-send."""

import os
import select
import subprocess
import sys
import time

from tests.programs.launch import module

PATIENCE = 60


class Spawn:
    """`process` has our pipes on its descriptors 0 and 1."""

    def __init__(self, process):
        self.process = process
        self._data = b""
        self.limit = self._read(1)

    @classmethod
    def launched(cls, name, *args, home, **environment):
        env = {"PATH": "/usr/bin:/bin", "QMAILHOME": str(home), **environment}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "bufsize": 0}
        return cls(subprocess.Popen([sys.executable, "-m", module(name), *args], env=env, **pipes))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)

    def _more(self):
        deadline = time.monotonic() + PATIENCE
        assert select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0], "no report"
        data = os.read(self.process.stdout.fileno(), 65536)
        assert data, "it has ended"
        self._data += data

    def _read(self, size):
        while len(self._data) < size:
            self._more()
        found, self._data = self._data[:size], self._data[size:]
        return found

    def say(self, number, path, recipient, sender=b"s@ex.org"):
        self.process.stdin.write(b"%c%b\0%b\0%b\0" % (number, path.encode(), sender, recipient))

    def report(self):
        """(number, letter, text)"""
        while b"\0" not in self._data[1:]:  # the number may be a NUL
            self._more()
        end = self._data.index(b"\0", 1)
        found, self._data = self._data[:end], self._data[end + 1 :]
        return found[0], found[1:2], found[2:]

    def ask(self, path, recipient, number=1, sender=b"s@ex.org"):
        """Letter and text of one delivery's report."""
        self.say(number, path, recipient, sender)
        told, letter, text = self.report()
        assert told == number
        return letter, text

    def ended(self):
        """Exit code, after the end of commands; what reports there still were is kept for report()."""
        self.process.stdin.close()
        while data := os.read(self.process.stdout.fileno(), 65536):
            self._data += data
        return self.process.wait(PATIENCE)
