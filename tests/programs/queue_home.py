"""A home whose queue is a program ($QMAILQUEUE) that keeps what it gets, and the programs that give it something."""

import subprocess
import sys

from tests.programs.launch import module

PATIENCE = 60
KEEP = "cat > message; cat <&1 > envelope; echo $$ > pid"


class QueueHome:
    """`environment` is that of every program."""

    def __init__(self, path, **environment):
        self.path = path
        (path / "bin").mkdir(parents=True)
        (path / "control").mkdir()
        (path / "control/me").write_text("mx.example.com\n")
        self.environment = {
            "PATH": f"{path}/bin:/usr/bin:/bin", "QMAILHOME": str(path), "QMAILQUEUE": "bin/queue-program", **environment,
        }  # fmt: skip
        self.queue(KEEP)

    def script(self, name, body):
        path = self.path / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def queue(self, body):
        """What the queue does instead of taking the message."""
        self.script("queue-program", body)

    def run(self, name, *args, stdin=b"", start=0, **environment):
        """(exit code, stdout, stderr); stdin is a file, as that of programs in dot-qmail files, at this offset.

        A variable that is None is not set.
        """
        env = {name: value for name, value in (self.environment | environment).items() if value is not None}
        (self.path / "stdin").write_bytes(stdin)
        with (self.path / "stdin").open("rb", buffering=0) as file:
            file.seek(start)
            done = subprocess.run(
                [sys.executable, "-m", module(name), *args],
                stdin=file, capture_output=True, env=env, cwd=self.path, timeout=PATIENCE, check=False,
            )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def taken(self):
        """(sender, recipients, message) that the queue has got, or None."""
        if not (self.path / "envelope").exists():
            return None
        first, *rest, last, end = (self.path / "envelope").read_bytes().split(b"\0")
        assert (first[:1], last, end) == (b"F", b"", b"")
        assert all(record[:1] == b"T" for record in rest)
        return first[1:], [record[1:] for record in rest], (self.path / "message").read_bytes()

    @property
    def number(self):
        """What the message is called: the queue program's process."""
        return (self.path / "pid").read_text().strip()
