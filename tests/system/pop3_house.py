"""A served single home with POP3, a mailbox with a password, and clients."""

import json
import os
import poplib
import socket
import subprocess
import sys

from tests.system.harness import PATIENCE, Server

SECRET = "open sesame"


class Pop3Server(Server):
    """`joe` has the password SECRET."""

    pop3_port = 0

    def make(self):
        super().make()
        self.passwd(self.name, SECRET)

    def passwd(self, name, secret, *words):
        done = subprocess.run(
            [sys.executable, "-m", "quail.cli.main", "--home", str(self.path), "user", "passwd", name, *words],
            input=secret.encode() + b"\n",
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @property
    def where(self):
        host, _, port = json.loads((self.path / "run/ports.json").read_text())["pop3"].rpartition(":")
        return host, int(port)

    def client(self):
        """Not logged in."""
        return poplib.POP3(*self.where, timeout=PATIENCE)

    def login(self, secret=SECRET, name=None):
        client = self.client()
        try:
            client.user(name or self.name)
            client.pass_(secret)
        except BaseException:
            client.close()
            raise
        return client

    def raw(self, source="127.0.0.1"):
        return Raw(self.where, source)

    def put(self, text, name="1.host"):
        """A message in the Maildir."""
        new = self.path / "mail" / self.name / "Maildir/new"
        (new / name).write_bytes(text)
        return new / name

    def sessions(self):
        """Process ids of sessions: authd's children that serve somebody."""
        return [pid for pid in self.children_of("authd") if comm(pid) == "quail-pop3"]

    def children_of(self, service):
        with open(f"/proc/{self.pid(service)}/task/{self.pid(service)}/children") as numbers:
            return [int(number) for number in numbers.read().split()]


class Raw:
    """A client that shows every byte."""

    def __init__(self, where, source="127.0.0.1"):
        self.sock = socket.create_connection(where, PATIENCE, source_address=(source, 0))
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def line(self):
        return self.file.readline()

    def say(self, *lines):
        """Write all lines at once; the replies' first lines."""
        self.sock.sendall(b"".join(line + b"\r\n" for line in lines))
        return [self.file.readline() for _ in lines]

    def block(self):
        """Lines up to the final dot."""
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            assert line, lines
            lines.append(line)
        return lines

    def rest(self):
        return self.file.read()


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def maildir(server, part="new"):
    return sorted(os.listdir(server.path / "mail" / server.name / "Maildir" / part))
