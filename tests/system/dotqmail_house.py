"""A home with dot-qmail files, and real processes that deliver to it; the test has the queue's place on both sides."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from quail.net import lspawn_protocol as jobs
from quail.net import users_protocol as users
from quail.net.frames import Splitter, frame
from quail.queue.handover import decode_envelope
from quail.storage import maildir
from quail.storage.calls import REAL

LAUNCHER = os.path.join(os.path.dirname(__file__), "dotqmail_launcher.py")
PATIENCE = 20  # seconds; only a failing test waits so long
DATE = rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \d{4}"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TZ": "Europe/Vienna", "DEFAULT": "from outside"}


def latin(text):
    return text.encode("latin-1")


class Launcher:
    """The process that others are forked from."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/socket"
        self.process = subprocess.Popen([sys.executable, LAUNCHER, self.path], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def connect(self, order):
        """A connection of a new process."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(self.path)
        sock.sendall(json.dumps(order).encode() + b"\n")
        return sock

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


class Queue:
    """Takes what is forwarded, one connection after another."""

    def __init__(self, path, answer):
        self.taken = []
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection, connection.makefile("rb") as stream:
                frames = []
                while head := stream.read(4):
                    frames.append(stream.read(int.from_bytes(head, "big")))
                    if frames == [b"stop"]:
                        return
                    if not frames[-1]:
                        envelope = decode_envelope(frames[0])
                        self.taken.append((envelope.sender, envelope.recipients, b"".join(frames[1:])))
                        connection.sendall(frame(self.answer))
                        frames = []

    def close(self):
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self.listener.getsockname())
            last.sendall(frame(b"stop"))
        self.thread.join()
        self.listener.close()


class House:
    """One home, before and after."""

    def __init__(self, case, launcher):
        self.case = case
        self.launcher = launcher
        self.root = root = tempfile.mkdtemp()
        self.home = f"{root}/u"
        self.installation = f"{root}/q"
        os.makedirs(f"{self.installation}/run")
        os.mkdir(self.home, 0o700)
        for name in case.maildirs:
            maildir.make(REAL, f"{self.home}/{name}")
        for name in case.folders:
            os.mkdir(f"{self.home}/{name}")
        for name, content in case.files.items():
            path = os.path.join(os.fsencode(self.home), latin(name))
            with open(path, "wb") as file:
                file.write(self.named(content))
            os.chmod(path, case.modes.get(name, 0o600))
        os.chmod(self.home, case.home)
        self.queue = Queue(f"{self.installation}/run/queue.sock", latin(case.queue))

    def close(self):
        self.queue.close()
        shutil.rmtree(self.root)

    def named(self, text):
        return latin(text.replace("/HOME", self.home))

    def program(self, *options):
        """Exit code and text."""
        case = self.case
        message = f"{self.home}/../message"
        with open(message, "wb") as file:
            file.write(latin(case.message))
        words = (case.local, case.dash, case.ext, case.host, case.sender, case.default)
        order = {
            "message": message,
            "args": [*(options or ("--",)), "u", self.home, *words],
            "environment": ENVIRONMENT | {"QMAILHOME": self.installation},
        }
        with self.launcher.connect({"program": order}) as sock:
            output = b""
            while not (end := re.search(rb"\0(-?\d+)\n$", output)):
                piece = sock.recv(65536)
                assert piece, output
                output += piece
        return int(end[1]), output[: end.start()]

    def settings(self):
        case = self.case
        return {
            "home": self.installation,
            "default": case.default,
            "programs": case.programs,
            "timeout": case.timeout,
            "environment": ENVIRONMENT,
        }

    def worker(self):
        """Letter and text of the report."""
        case = self.case
        with self.open_worker() as sock:
            task(sock, 1, self.home, case)
            return reports(sock, 1)[1]

    def open_worker(self, limits=None, **settings):
        """The socket of a worker."""
        return self.launcher.connect({"worker": self.settings() | settings, "limits": limits or {}})

    def messages(self, name):
        folder = f"{self.home}/{name}/new"
        found = []
        for file in os.listdir(folder):
            with open(f"{folder}/{file}", "rb") as stream:
                found.append(stream.read())
        return found

    def check(self):
        case = self.case
        recipient = latin(f"{case.local}@{case.host}").replace(b"\n", b"_")
        head = b"Delivered-To: " + recipient + b"\n"
        body = latin(case.message)
        for name in {*case.maildirs, *case.mail}:
            if os.path.isdir(f"{self.home}/{name}/new"):
                found = self.messages(name)
                assert len(found) == case.mail.get(name, 0)
                assert all(one == b"Return-Path: <s@x.y>\n" + head + body for one in found)
        taken = [(sender, recipients) for sender, recipients, _ in self.queue.taken]
        assert taken == [(latin(sender), [latin(one) for one in to]) for sender, to in case.forwards]
        assert all(content == head + body for _, _, content in self.queue.taken)
        for name, content in case.boxes.items():
            assert re.sub(rb"^(From \S*) " + DATE, rb"\1 DATE", self.read(name), flags=re.MULTILINE) == latin(content)
        for name, content in case.written.items():
            assert re.sub(DATE, b"DATE", self.read(name)) == self.named(content)
        known = {*case.files, *case.folders, *case.maildirs, *case.mail, *case.boxes, *case.written}
        assert set(os.listdir(os.fsencode(self.home))) <= {latin(name).partition(b"/")[0] for name in known}

    def read(self, name):
        with open(os.path.join(os.fsencode(self.home), latin(name)), "rb") as file:
            return file.read()


def task(sock, tag, home, case):
    """Send a worker its task."""
    owner = users.Owner(b"u", os.getuid(), os.getgid(), os.fsencode(home), latin(case.dash), latin(case.ext))
    body, large = latin(case.message), len(case.message) > 128 << 10
    recipient = latin(f"{case.local}@{case.host}")
    frames = jobs.encode_job(
        tag, latin(case.sender), recipient, jobs.DESCRIPTOR if large else 0, b"" if large else body
    )
    data = jobs.encode_task(tag, users.encode_owner(owner), jobs.decode_job(frames[4:]))
    if not large:
        sock.sendall(data)
        return
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        assert socket.send_fds(sock, [data], [file.fileno()]) == len(data)


def reports(sock, count, log=None):
    """Letter and text by tag."""
    splitter = Splitter(1 << 16)
    found = {}
    while len(found) < count:
        data = sock.recv(65536)
        assert data, f"the worker has ended: {found}"
        for one in splitter.feed(data):
            report = jobs.decode_report(one, b"KZDL")
            if report.letter != jobs.LOG:
                assert report.tag not in found
                found[report.tag] = (report.letter, report.text)
            elif log is not None:
                log.append(report.text)
    return found
