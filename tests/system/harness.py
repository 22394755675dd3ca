"""A whole server in a single home, as real processes: `quail serve` as its operator starts it, clients over TCP.

Nothing here sleeps for luck: tests wait for a line of the log, for the end of a process, or for any condition, until a deadline
that only a failing test reaches.
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

from quail.cli.init_single import init_single
from quail.net.tcprules import compile_rules
from quail.queue.handover import Client

PATIENCE = 60.0  # seconds; only a failing test waits so long
GLANCE = 0.02  # seconds between looks at what no log line tells of
QUAIL = (sys.executable, "-m", "quail.cli.main")


class Log:
    """Lines of a process's standard error, as they come; ends when every process that could write has ended."""

    def __init__(self, stream):
        self.lines = []
        self.ended = False
        self.news = threading.Condition()
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with self._stream:
            for line in self._stream:
                with self.news:
                    self.lines.append(line.decode("utf-8", "surrogateescape").rstrip("\n"))
                    self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def until(self, condition, what="condition"):
        """The first true value of the condition, which is looked at after each line, and now and again."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, "\n".join([f"waited in vain for {what}; the log:", *self.lines[-60:]])
            with self.news:
                self.news.wait(GLANCE)
        return value

    def close(self):
        self._thread.join(PATIENCE)


class Server:
    """A home and, between start() and stop(), `quail serve` in it."""

    pop3_port = None  # no POP3: most tests are not about it

    def __init__(self, path, *, name="joe", **control):
        self.path = path
        self.name = name
        self.again = ()  # options of a serve that takes the place of one that was killed
        self.process = None
        self.log = None
        self.make()
        for file, text in control.items():
            self.control(file, text)

    def make(self):
        """The home, by `quail init`."""
        init_single(str(self.path), name=self.name, smtp_port=0, pop3_port=self.pop3_port)

    def spawn(self, *options):
        """`quail serve`, as a process whose standard error is a pipe to us."""
        command = [*QUAIL, "serve", "--home", str(self.path), *options]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)

    # Configuration.

    def control(self, name, text):
        (self.path / "control" / name).write_text(f"{text}\n")

    def rules(self, text, service="smtp"):
        """Access rules of the SMTP server, or another."""
        folder = self.path / "etc/tcprules.d"
        (folder / "new").write_bytes(compile_rules(text, "rules"))
        (folder / "new").rename(folder / f"qmail-{service}.cdb")

    def dot_qmail(self, extension, text):
        (self.path / "mail" / self.name / f".qmail-{extension}").write_text(text)

    @contextlib.contextmanager
    def closed_mailbox(self):
        """Deliveries are put off, as qmail-local does while a user edits his files: the home is sticky."""
        home = self.path / "mail" / self.name
        home.chmod(0o1700)
        try:
            yield
        finally:
            home.chmod(0o700)

    # Life.

    def start(self, *options, wait=True):
        assert self.process is None
        self.process = self.spawn(*options)
        self.log = Log(self.process.stderr)
        if wait:
            self.line(r"serving .*\bsmtp on ")
            self.ask({"do": "status"})  # the queue answers
        return self

    def stop(self, number=signal.SIGTERM):
        """Exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        """Wait for the end of serve and of everything that it has started; its exit code."""
        code = self.process.wait(PATIENCE)
        self.log.until(lambda: self.log.ended, "the end of all processes")
        self.log.close()
        self.process = None
        return code

    def kill(self):
        """serve alone, without a warning; returns when all that it had started has ended too."""
        self.process.kill()
        assert self.ended() == -signal.SIGKILL

    def close(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            for pid in self.every_pid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)  # whom a test has stopped
            self.process.terminate()
            self.process.send_signal(signal.SIGTERM)  # the second leaves no grace
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.log.close()
        self.process = None

    @property
    def pids(self):
        """run/pids.json: names of services and the numbers of their processes."""
        try:
            return json.loads((self.path / "run/pids.json").read_text())
        except FileNotFoundError:
            return {}

    def pid(self, service):
        return self.pids[service][0]

    def workers(self):
        """Delivery workers: lspawn's children."""
        return children(self.pid("lspawn"))

    def every_pid(self):
        pids = self.pids
        found = [pid for numbers in pids.values() for pid in numbers if pid]
        for pid in pids.get("lspawn", []):
            with contextlib.suppress(OSError):
                found += children(pid)
        return found

    @property
    def port(self):
        return self.port_of("smtp")

    def port_of(self, service):
        ports = json.loads((self.path / "run/ports.json").read_text())
        return int(ports[service].rpartition(":")[2])

    @property
    def lmtp(self):
        """Address and port of the first TCP listener for LMTP."""
        ports = json.loads((self.path / "run/ports.json").read_text())
        address, _, port = ports["lmtp"].split()[0].rpartition(":")
        return address, int(port)

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    def alarm(self):
        self.process.send_signal(signal.SIGALRM)

    # The log.

    def until(self, condition, what="condition"):
        return self.log.until(condition, what)

    def line(self, pattern, count=1):
        """The match of the count-th line that the pattern is found in, once it has been written."""

        def look():
            found = [match for line in list(self.log.lines) if (match := re.search(pattern, line))]
            return found[count - 1] if len(found) >= count else None

        return self.until(look, f"line {count} of {pattern!r}")

    def queue_lines(self):
        """What qmail-send would have logged: the lines without a service's name in front."""
        return [
            line for line in list(self.log.lines) if not re.match(r"(smtpd|qmtpd|qmqpd|users|lspawn): |serving ", line)
        ]

    def story(self, number):
        """What the log tells of one message, without status lines."""
        deliveries = set()
        told = []
        for line in self.queue_lines():
            if match := re.match(rf"starting delivery (\d+): msg {number} ", line):
                deliveries.add(match[1])
            if re.search(rf"\b(msg |bounce/){number}\b", line) or (
                (match := re.match(r"delivery (\d+): ", line)) and match[1] in deliveries
            ):
                told.append(line)
        return told

    # Mail.

    def smtp(self, **options):
        return Smtp(self.port, **options)

    def send(self, recipient, text=b"Subject: hello\r\n\r\nhello\r\n", sender="s@example.org"):
        """One message over SMTP; its number."""
        with self.smtp() as client:
            return client.send(sender, [recipient], text)

    def queue(self, sender, *recipients, text=b"Subject: hello\n\nhello\n"):
        """One message, handed to the queue as qmail-queue does it; its number."""
        with short_path(self.path / "run") as run:
            client = Client(f"{run}/queue.sock")
            try:
                reply = client.send(sender, recipients, [text])
            finally:
                client.close()
        assert reply.letter == b"K", reply.text
        return int(reply.text)

    def end(self, number):
        """Wait until nothing more is to be done for the message."""
        return self.line(rf"^end msg {number}$")

    def mail(self, folder="Maildir"):
        """The messages delivered to the first mailbox, in the order of their names."""
        new = self.path / "mail" / self.name / folder / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.is_dir() else []

    def mail_names(self):
        new = self.path / "mail" / self.name / "Maildir/new"
        return os.listdir(new) if new.is_dir() else []

    # The operator.

    def ask(self, request):
        """The queue service's answer to an operator."""
        from quail.queue.operator_client import OperatorClient

        client = OperatorClient(str(self.path))
        try:
            return client.ask(request)
        finally:
            client.close()

    def quail(self, *words):
        """Run the quail command."""
        return subprocess.run(
            [*QUAIL, "--home", str(self.path), *words], capture_output=True, text=True, timeout=PATIENCE, check=False
        )


class Smtp:
    """A client that shows every byte of the replies."""

    def __init__(self, port, *, greeting=b"220 ", source=("127.0.0.1", 0)):
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=source)
        self._file = self._sock.makefile("rb")
        if greeting:
            try:
                self.greeting = self.reply()
                assert self.greeting.startswith(greeting), self.greeting
            except BaseException:
                self.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._file.close()
        self._sock.close()

    def write(self, data):
        self._sock.sendall(data)

    def reply(self):
        """All lines of the next reply, joined by LF and without their CR LF; b"" when the server has hung up."""
        lines = []
        while line := self._file.readline():
            assert line.endswith(b"\r\n"), line
            lines.append(line[:-2])
            if line[3:4] != b"-":
                break
        return b"\n".join(lines)

    def say(self, line):
        """The reply to one command."""
        self.write(line.encode() if isinstance(line, str) else line)
        self.write(b"\r\n")
        return self.reply()

    def ok(self, *lines):
        """Each command has a 2xx reply or 354."""
        for line in lines:
            reply = self.say(line)
            assert reply[:1] in (b"2", b"3"), (line, reply)

    def data(self, text):
        """The reply to a whole message; `text` has its CR LF and no line that starts with a dot."""
        assert self.say("DATA").startswith(b"354 ")
        self.write(text + b".\r\n")
        return self.reply()

    def envelope(self, sender, *recipients, options=""):
        self.ok("EHLO client.example", f"MAIL FROM:<{sender}>{options}", *(f"RCPT TO:<{r}>" for r in recipients))
        return self

    def send(self, sender, recipients, text):
        """The message's number in the queue."""
        reply = self.envelope(sender, *recipients).data(text)
        match = re.fullmatch(rb"250 2\.0\.0 ok \d+ qp (\d+)", reply)
        assert match, reply
        return int(match[1])

    def hung_up(self):
        return self._file.read() == b""


@contextlib.contextmanager
def short_path(folder):
    """Another name of the folder for sockets in it, whose paths have at most 107 bytes."""
    fd = os.open(folder, os.O_PATH)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as numbers:
        return [int(number) for number in numbers.read().split()]


class Ends:
    """Waits for the end of processes that are not ours. Made while they live, so that a number can't have a new owner."""

    def __init__(self, pids):
        self._handles = {}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._handles[pid] = os.pidfd_open(pid)

    def wait(self):
        deadline = time.monotonic() + PATIENCE
        try:
            for pid, handle in self._handles.items():
                left = max(0, deadline - time.monotonic())
                assert select.select([handle], [], [], left)[0], f"process {pid} does not end"
        finally:
            for handle in self._handles.values():
                os.close(handle)
