"""A home with the real users and lspawn processes; the test has the queue's place on both sides of lspawn."""

import contextlib
import os
import select
import socket
import subprocess
import sys

from quail.net import lspawn_protocol as jobs
from quail.net import users_protocol as users
from quail.net.frames import Splitter, frame
from quail.queue.handover import decode_envelope
from quail.users import assign

LAUNCHER = os.path.join(os.path.dirname(__file__), "delivery_launcher.py")
ALONE = 0xFFFFFFFF  # tag of a job whose report is waited for
PATIENCE = 20  # seconds; only a failing test waits so long
BODY = b"Subject: hello\n\nbody\n"


class Installation:
    """A home with the two services running, and the queue's socket in the hands of the test."""

    def __init__(self, path):
        self.path = path
        for name in ("control", "users", "run", "mail", "alias"):
            (path / name).mkdir()
        self.control("me", "localhost")
        for name in ("joe", "jane", "list"):
            (path / "mail" / name).mkdir(mode=0o700)
        self.assign()
        self.open_folder = os.open(path, os.O_RDONLY)
        self.short = f"/proc/self/fd/{self.open_folder}"  # a socket's path has at most 107 bytes
        self.queue = socket.socket(socket.AF_UNIX)
        self.queue.bind(f"{self.short}/run/queue.sock")
        self.queue.listen()
        self.queue.settimeout(PATIENCE)
        self.open_sockets = [self.queue]
        self.pids = {}
        self.launcher = subprocess.Popen(
            [sys.executable, LAUNCHER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.started()
        self.started()

    def wait_until_up(self):
        """Until both services have their signal handlers."""
        assert Ask(self).ask(b"L", b"") == (b"N", b"")
        assert Jobs(self).deliver(b"@localhost") == (b"K", b"")

    def control(self, name, text):
        (self.path / "control" / name).write_text(text + "\n")

    def assign(self, extra=""):
        ids = f"{os.getuid()}:{os.getgid()}"
        lines = [f"={name}:{name}:{ids}:{self.path}/mail/{name}:::\n" for name in ("joe", "jane")]
        lines += [f"+list-:list:{ids}:{self.path}/mail/list:-::\n", extra, ".\n"]
        cdb = assign.compile_cdb(assign.parse("".join(lines).encode(), "users/assign"))
        (self.path / "users/cdb.tmp").write_bytes(cdb)
        (self.path / "users/cdb.tmp").rename(self.path / "users/cdb")

    def dot_qmail(self, name, content):
        (self.path / "mail/list" / name).write_bytes(content)

    def command(self, text):
        self.launcher.stdin.write(text + "\n")
        self.launcher.stdin.flush()

    def started(self):
        name, pid = self.launcher.stdout.readline().split()
        self.pids[name] = int(pid)

    def reap(self, name):
        self.command(f"reap {name}")
        return int(self.launcher.stdout.readline())

    def restart(self, name):
        self.command(f"start {name}")
        self.started()

    def signal(self, name, number):
        os.kill(self.pids[name], number)

    def workers(self):
        pid = self.pids["lspawn"]
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [int(word) for word in children.read().split()]

    def mail(self, name, folder="Maildir"):
        return [path.read_bytes() for path in (self.path / "mail" / name / folder / "new").iterdir()]

    def log(self):
        return (self.path / "log").read_text()

    def close(self):
        self.launcher.stdin.close()
        self.launcher.wait()
        self.launcher.stdout.close()
        for sock in self.open_sockets:
            sock.close()
        os.close(self.open_folder)


class Peer:
    """A blocking connection to one of the services."""

    def __init__(self, installation, name):
        self.sock = socket.socket(socket.AF_UNIX)
        installation.open_sockets.append(self.sock)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(f"{installation.short}/run/{name}.sock")
        self.splitter = Splitter(1 << 20)
        self.frames = []

    def frame(self):
        """The next frame, None at the end."""
        while not self.frames:
            data = self.sock.recv(1 << 16)
            if not data:
                return None
            self.frames += self.splitter.feed(data)
        return self.frames.pop(0)


class Jobs(Peer):
    def __init__(self, installation):
        super().__init__(installation, "lspawn")

    def send(self, tag, recipient, body=BODY, sender=b"s@x.y", flags=0):
        self.sock.sendall(jobs.encode_job(tag, sender, recipient, flags, body))

    def send_descriptor(self, tag, recipient, head, fd):
        job = jobs.encode_job(tag, b"s@x.y", recipient, jobs.DESCRIPTOR, head)
        assert socket.send_fds(self.sock, [job], [fd]) == len(job)

    def reports(self, count):
        found = {}
        for _ in range(count):
            report = jobs.decode_report(self.frame())
            assert report.tag not in found
            found[report.tag] = (report.letter, report.text)
        return found

    def deliver(self, recipient, body=BODY, sender=b"s@x.y"):
        self.send(ALONE, recipient, body, sender)
        return self.reports(1)[ALONE]


class Ask(Peer):
    def __init__(self, installation):
        super().__init__(installation, "users")

    def ask(self, letter, payload):
        self.sock.sendall(users.encode(5, letter, payload))
        message = users.decode(self.frame())
        assert message.tag == 5
        return message.letter, message.payload


class HandedOver:
    """One connection of a worker that forwards mail."""

    def __init__(self, installation):
        self.sock, _ = installation.queue.accept()
        installation.open_sockets.append(self.sock)
        self.sock.settimeout(PATIENCE)
        self.splitter = Splitter(1 << 20)
        self.frames = []

    def worker(self):
        credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder)

    def message(self):
        """(envelope, body), or None when the worker has hung up."""
        parts = []
        while not parts or parts[-1]:
            while not self.frames:
                data = self.sock.recv(1 << 16)
                if not data:
                    return None
                self.frames += self.splitter.feed(data)
            parts.append(self.frames.pop(0))
        return decode_envelope(parts[0]), b"".join(parts[1:])

    def answer(self, text):
        self.sock.sendall(frame(text))


def wait_for_end(pid):
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([handle], [], [], PATIENCE)[0], f"process {pid} does not end"
    os.close(handle)


def descriptors(pid):
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found
