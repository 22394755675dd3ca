"""Local delivery without the queue: the real users and lspawn processes, this program as the queue, one Maildir for each user.

Prints messages a second and processor microseconds a message for each process, for several numbers of jobs at a time; and
what a process for each message would cost. docs/decisions/0006-delivery-workers.md.

usage: python -m bench.micro_delivery [FOLDER]    (FOLDER: on the file system to measure; default: the temporary one)
"""

import os
import select
import socket
import subprocess
import sys
import tempfile
import time

from quail.net import lspawn_protocol as protocol
from quail.net.frames import Splitter
from quail.users import assign

LAUNCHER = os.path.join(os.path.dirname(__file__), "../tests/system/delivery_launcher.py")
MESSAGES = 10_000
FORKS = 500
BODY = b"Subject: hello\n\n" + (b"y" * 70 + b"\n") * 57  # 4 KB
TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def home(path: str, users: int) -> None:
    for name in ("control", "users", "run", "mail", *(f"mail/u{number}" for number in range(users))):
        os.mkdir(f"{path}/{name}")
    with open(f"{path}/control/me", "w", encoding="ascii") as me:
        me.write("localhost\n")
    ids = f"{os.getuid()}:{os.getgid()}"
    lines = "".join(f"=u{number}:u{number}:{ids}:{path}/mail/u{number}:::\n" for number in range(users))
    with open(f"{path}/users/cdb", "wb") as cdb:
        cdb.write(assign.compile_cdb(assign.parse(f"{lines}.\n".encode(), "users/assign")))


def pump(sock: socket.socket, window: int, users: int) -> None:
    """Keep `window` jobs under way until all messages are reported as delivered."""
    sock.setblocking(False)
    splitter = Splitter(1 << 16)
    out = bytearray()
    sent = done = 0
    while done < MESSAGES:
        while sent < MESSAGES and sent - done < window:
            sent += 1
            out += protocol.encode_job(sent, b"sender@example.com", b"u%d@localhost" % (sent % users), 0, BODY)
        readable, writable, _ = select.select([sock], [sock] if out else [], [])
        if writable:
            del out[: sock.send(out)]
        if readable:
            for frame in splitter.feed(sock.recv(1 << 18)):
                report = protocol.decode_report(frame)
                if report.letter != protocol.DELIVERED:
                    sys.exit(f"not delivered: {report.text!r}")
                done += 1


def measure(folder: str | None, window: int, users: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as path:
        home(path, users)
        with subprocess.Popen(
            [sys.executable, LAUNCHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as launcher:
            assert launcher.stdout is not None
            assert launcher.stdin is not None
            pids = dict(launcher.stdout.readline().split() for _ in range(2))
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(f"{path}/run/lspawn.sock")
                start = time.perf_counter()
                pump(sock, window, users)
                elapsed = time.perf_counter() - start
                lspawn = int(pids["lspawn"])
                with open(f"/proc/{lspawn}/task/{lspawn}/children", encoding="ascii") as children:
                    workers = [int(word) for word in children.read().split()]
                costs = [processor_seconds(lspawn), sum(map(processor_seconds, workers))]
            launcher.stdin.close()
        own, work = (cost / MESSAGES * 1e6 for cost in costs)
        print(
            f"{users} users, {window:3} jobs at a time: {MESSAGES / elapsed:6.0f} messages/s"
            f"   lspawn {own:4.0f} us   {len(workers)} workers {work:4.0f} us"
        )


def measure_fork() -> None:
    """A process for each message, as qmail-lspawn has it, without even its exec: only fork, exit and wait."""
    start = time.perf_counter()
    for _ in range(FORKS):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    print(f"fork, exit and wait: {(time.perf_counter() - start) / FORKS * 1e6:.0f} us")


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    measure_fork()
    for users in (1, 20):
        for window in (1, 10, 64, 256):
            measure(folder, window, users)


main()
