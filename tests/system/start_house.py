"""A home that qmail-start serves, in place of quail serve: the log is on its descriptor 1, unless a logger has it."""

import json
import os
import subprocess
import sys

from tests.programs.launch import module
from tests.system.harness import Log, Server


def words(*args):
    return [sys.executable, "-m", module("qmail-start"), *args]


class Started(Server):
    """`args` of qmail-start, and what is in its environment; its standard error is a file, `complaints`."""

    services = "queue", "users", "lspawn", "rspawn"

    def __init__(self, path):
        super().__init__(path)
        self.args = ()
        self.environment = {}

    @property
    def complaints(self):
        return self.path.parent / "complaints"

    def spawn(self, *args):
        env = {"PATH": f"{self.path}/bin:/usr/bin:/bin", "QMAILHOME": str(self.path), **self.environment}
        with self.complaints.open("ab") as errors:
            return subprocess.Popen(
                words(*(args or self.args)),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True,
            )  # fmt: skip

    def start(self, *args):
        assert self.process is None
        self.process = self.spawn(*args)
        self.log = Log(self.process.stdout)
        self.line(f"^serving {' and '.join(self.services)} of ")
        self.ask({"do": "status"})
        return self

    @property
    def pids(self):
        try:
            return json.loads((self.path / f"run/pids.{'.'.join(self.services)}.json").read_text())
        except FileNotFoundError:
            return {}

    def inject(self, *recipients):
        """By sendmail, as programs of the machine do."""
        env = {"PATH": "/usr/bin:/bin", "QMAILHOME": str(self.path)}
        call = [sys.executable, "-m", module("sendmail"), *recipients]
        subprocess.run(call, input=b"Subject: hello\n\nhello\n", env=env, check=True)

    def file(self, name):
        """Of the user's home; b"" if it is not there."""
        path = self.path / "mail" / self.name / name
        return path.read_bytes() if path.is_file() else b""


def script(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
