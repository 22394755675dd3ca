"""usage: python -m bench.crowd [large] [idle] [queued] [--clients N] [--whole N] [--count N] [--dir FOLDER]

What Quail's processes weigh, as their PSS (their own memory, and their share of what they have together), in a home of its own:

  large   clients that stop 1 MB into a declared 50 MB message, and beside them whole 50 MB messages, sent and delivered
  idle    connections that have been greeted and say nothing
  queued  messages of 4 KB that wait in the queue (held by concurrencylocal 0), handed over as injectors do: memory, how long a
          new start takes until the queue answers, to show one message, to list the first page and all

Needs no root. `queued` with a million needs 5 GB of disk and some minutes. bench.memory fills the queue over SMTP instead.
"""

import argparse
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.system.harness import QUAIL, Ends, Server, Smtp, children, short_path

from quail.errors import QuailError
from quail.queue.handover import END, encode_envelope
from quail.queue.operator_client import OperatorClient

MB = 1_000_000
DECLARED = 50 * MB
STOP_AT = 1 * MB
LINE = b"0123456789abcdef" * 4 + b"\r\n"
BLOCK = LINE * (STOP_AT // len(LINE))
WINDOW = 200  # messages sent ahead of their replies on one connection
CONNECTIONS = 4
LONGEST = 600.0  # seconds until a server must be up
Figures = dict[str, float]


def pss(pid: int) -> int:
    """Bytes; 0 if the process has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Home(Server):
    """A server whose log goes to a file, because it may have millions of lines."""

    def begin(self) -> float:
        """Start it; the seconds until its queue answers."""
        before = time.monotonic()
        with (self.path / "log").open("ab") as log:
            self.process = subprocess.Popen([*QUAIL, "serve", "--home", str(self.path)], stderr=log)
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() - before > LONGEST:
                sys.exit(f"bench: quail serve does not come up: {(self.path / 'log').read_text()[-2000:]}")
            time.sleep(0.01)
        return time.monotonic() - before

    def _answers(self) -> bool:
        if not (self.path / "run/pids.json").exists():
            return False
        with contextlib.suppress(QuailError):
            return bool(self.ask({"do": "status"}))
        return False

    def finish(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait for all of it."""
        if self.process is None:
            return
        ends = Ends(self.every_pid())
        self.process.send_signal(number)
        self.process.wait()
        ends.wait()
        self.process = None

    def weigh(self) -> Figures:
        """PSS of each service in bytes, and of all."""
        pids = self.pids
        found: Figures = {name: sum(map(pss, numbers)) for name, numbers in pids.items()}
        found["workers"] = sum(pss(pid) for lspawn in pids.get("lspawn", []) for pid in children(lspawn))
        found["all"] = sum(found.values())
        return found


def show(what: str, value: float, unit: str) -> None:
    """One row."""
    print(f"{what:<52} {value:12,.1f} {unit}", flush=True)


def show_weight(what: str, weight: Figures) -> None:
    """One row, and how it is made up."""
    parts = ", ".join(f"{name} {value / MB:.0f}" for name, value in weight.items() if name != "all")
    print(f"{what:<52} {weight['all'] / MB:12,.1f} MB   ({parts})", flush=True)


# Large messages.


def stopped_client(port: int) -> Smtp:
    """A client that has declared a large message, sent its first megabyte, and says no more."""
    client = Smtp(port)
    client.envelope("s@example.org", "joe@localhost", options=f" SIZE={DECLARED}")
    client.ok("DATA")
    client.write(BLOCK)
    return client


def send_whole(port: int, failures: list[str]) -> None:
    """One message of the declared size."""
    try:
        with Smtp(port) as client:
            client.envelope("s@example.org", "joe@localhost", options=f" SIZE={DECLARED}")
            client.ok("DATA")
            for _ in range(DECLARED // STOP_AT):
                client.write(BLOCK)
            client.write(b".\r\n")
            reply = client.reply()
            if not reply.startswith(b"250 "):
                failures.append(repr(reply))
    except (OSError, AssertionError) as error:
        failures.append(repr(error))


def large(home: Home, clients: int, whole: int) -> Figures:
    """PSS with stopped clients, and the most while whole messages come and are delivered."""
    home.begin()
    empty = home.weigh()
    show_weight("empty", empty)
    port = home.port
    failures: list[str] = []
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(stopped_client(port))
        stopped = home.weigh()
        show_weight(f"{clients} clients stopped 1 MB into 50 MB", stopped)
        threads = [threading.Thread(target=send_whole, args=(port, failures)) for _ in range(whole)]
        for thread in threads:
            thread.start()
        most, begin = stopped, time.monotonic()
        while any(thread.is_alive() for thread in threads) or (not failures and len(home.mail_names()) < whole):
            weight = home.weigh()
            if weight["all"] > most["all"]:
                most = weight
            time.sleep(0.05)
        show_weight(f"the most, while {whole} whole ones came", most)
        show("taking and delivering those", whole * DECLARED / MB / (time.monotonic() - begin), "MB/s")
    if failures:
        sys.exit(f"bench: {failures[0]}")
    home.finish()
    return {"empty": empty["all"], "stopped": stopped["all"], "most": most["all"]}


# Idle connections.


def idle(home: Home, clients: int) -> Figures:
    """PSS before and with them."""
    home.begin()
    empty = home.weigh()["all"]
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(Smtp(home.port))
        weight = home.weigh()
        show_weight(f"{clients} idle connections", weight)
    show("each of them", (weight["all"] - empty) / clients / 1000, "KB")
    home.finish()
    return {"empty": empty, "idle": weight["all"], "each": (weight["all"] - empty) / clients}


# A long queue.


def hand_over(home: Home, count: int, failures: list[str]) -> None:
    """So many messages on one connection, a window at a time."""
    body = b"Subject: queued\n\n" + LINE.replace(b"\r\n", b"\n") * 62
    message = encode_envelope(b"s@example.org", [b"joe@localhost"]) + len(body).to_bytes(4, "big") + body + END
    with short_path(home.path / "run") as run, socket.socket(socket.AF_UNIX) as queue:
        queue.connect(f"{run}/queue.sock")
        with queue.makefile("rb") as replies:
            while count and not failures:
                window = min(count, WINDOW)
                queue.sendall(message * window)
                for _ in range(window):
                    reply = replies.read(int.from_bytes(replies.read(4), "big"))
                    if not reply.startswith(b"K"):
                        failures.append(repr(reply))
                count -= window


def queued(home: Home, count: int) -> Figures:
    """Memory of the queue service in bytes, the rest in seconds."""
    needed = count * 5000
    if shutil.disk_usage(home.path).free < needed + (2 << 30):
        sys.exit(f"bench: {count} messages need {needed / MB:,.0f} MB and 2 GB to spare in {home.path}")
    home.control("concurrencylocal", "0")
    home.begin()
    figures = {"empty": float(pss(home.pid("queue")))}
    show("the queue service, empty queue", figures["empty"] / MB, "MB")
    failures: list[str] = []
    begin = time.monotonic()
    shares = [count // CONNECTIONS + (number < count % CONNECTIONS) for number in range(CONNECTIONS)]
    threads = [threading.Thread(target=hand_over, args=(home, share, failures)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"bench: {failures[0]}")
    show(f"handing over {count}", count / (time.monotonic() - begin), "messages/s")
    figures["queued"] = pss(home.pid("queue"))
    show("the queue service, all queued", figures["queued"] / MB, "MB")
    home.finish(signal.SIGKILL)
    figures["start"] = home.begin()
    show("a new start after kill -9, until the queue answers", figures["start"], "s")
    figures["started"] = pss(home.pid("queue"))
    show("the queue service, started anew", figures["started"] / MB, "MB")
    show_weight("all processes", home.weigh())
    figures["show"] = timed(home, {"do": "show", "number": count // 2})
    show("showing one message", figures["show"] * 1000, "ms")
    begin = time.monotonic()
    if home.quail("queue", "show", str(count // 2)).returncode:
        sys.exit("bench: quail queue show failed")
    show("`quail queue show N`, the command's start included", (time.monotonic() - begin) * 1000, "ms")
    figures["page"] = timed(home, {"do": "list"})
    show("the first page of the list, 500 messages", figures["page"] * 1000, "ms")
    begin = time.monotonic()
    client = OperatorClient(str(home.path))
    found = sum(1 for _ in client.messages())
    client.close()
    figures["list"] = time.monotonic() - begin
    show("listing all", figures["list"], "s")
    home.finish()
    if found != count:
        sys.exit(f"bench: {count} messages were acknowledged and {found} are there")
    return figures


def timed(home: Home, request: dict[str, object]) -> float:
    """Seconds for one answer of the queue service, on a connection of its own."""
    begin = time.monotonic()
    home.ask(request)
    return time.monotonic() - begin


def new_home(folder: str | os.PathLike[str]) -> Home:
    """A home that takes crowds, in a folder that is not there yet."""
    return Home(Path(folder), maxconnectionsperip="100000", concurrencyincoming="100000")


def raise_limit() -> None:
    """Each client is a descriptor of this process too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("what", nargs="*", choices=["large", "idle", "queued", []])
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--whole", type=int, default=20)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dir", default="/var/tmp", help="a folder on a disk with room for all")
    options = parser.parse_args()
    raise_limit()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="quail-bench-") as folder:
        for what in options.what or ["large", "idle", "queued"]:
            home = new_home(f"{folder}/{what}")
            try:
                if what == "large":
                    large(home, options.clients, options.whole)
                elif what == "idle":
                    idle(home, options.clients)
                else:
                    queued(home, options.count)
            finally:
                home.finish(signal.SIGKILL)
            shutil.rmtree(home.path)


if __name__ == "__main__":
    main()
