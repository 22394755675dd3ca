"""A tcpserver of this tree as a process of its own, and clients of it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

PATIENCE = 60.0  # seconds; only a failing test waits so long
WORDS = (sys.executable, "-m", "quail.programs.ucspi.tcpserver")


class TcpServer:
    """Started on a free port of 127.0.0.1 with -1 and the options given; its log is read as it is written."""

    def __init__(self, options, program, *, env=None):
        self.process = subprocess.Popen(
            [*WORDS, "-1", *options, "127.0.0.1", "0", *program],
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.port = int(self.process.stdout.readline())
        self.lines = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.decode("latin-1").rstrip("\n"))
                self._news.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children():
            with contextlib.suppress(ProcessLookupError):  # it may have just ended
                os.kill(child, signal.SIGKILL)
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()

    def wait_for(self, pattern, count=1):
        """The matches of a pattern with whole lines, once there are so many."""
        with self._news:
            found = []

            def enough():
                found[:] = [match for line in self.lines if (match := re.fullmatch(pattern, line))]
                return len(found) >= count

            assert self._news.wait_for(enough, PATIENCE), (pattern, count, self.lines[-20:])
            return found

    def connect(self, source=None):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE, source_address=source)

    def children(self):
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
                return [int(word) for word in file.read().split()]
        except FileNotFoundError:
            return []

    def descriptors(self):
        return sorted(int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self):
        """Anonymous memory in KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"RssAnon:\s+(\d+)", file.read())[1])


def until(condition):
    """The first true value of the condition."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def everything(client):
    """What comes until the server hangs up."""
    data = b""
    while part := client.recv(65536):
        data += part
    return data
