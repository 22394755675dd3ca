"""Connections a second through tcpserver, ours beside the original, run by path or as the test root has it.

usage: python -m bench.micro_tcpserver [ TCPSERVER ]

Servers take turns, round by round, and the best round of each counts. For each: connections a second with one client and with
eight at a time, processor time of server and programs for one connection, and ratios to the original with /bin/true.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from tests.root.image import Image, RootUnavailableError

ROUNDS = 4
CONNECTIONS = 100
CROWD = 8
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = (
    "-IS",
    "-c",
    f"import sys;sys.path.insert(0,{HERE + '/src'!r});from quail.programs.ucspi.tcpserver import main;main()",
)


def _numbers(pid: str) -> list[str]:
    """What /proc tells of a process, from its parent's number on; nothing if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[1:]
    except OSError:
        return []


class Server:
    """A tcpserver with a program on a free port."""

    def __init__(self, name: str, command: list[str], options: list[str], program: list[str], greets: bool) -> None:
        self.name, self._greets = name, greets
        self.rates: list[float] = []
        self._process = subprocess.Popen(
            [*command, "-1HRl0", *options, "-c100", "-b100", "127.0.0.1", "0", *program],
            env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def _visit(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as client:
            if self._greets:
                client.recv(1000)
                client.sendall(b"QUIT\r\n")
            while client.recv(1000):
                pass

    def round(self, clients: int, connections: int) -> float:
        """Connections a second."""
        turns = iter(range(connections))
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if next(turns, None) is None:
                        return
                self._visit()

        threads = [threading.Thread(target=work) for _ in range(clients)]
        before = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return connections / (time.perf_counter() - before)

    def processor(self) -> float:
        """Seconds of processor time of the server and its children, whether they have ended or not."""
        pid = str(self._process.pid)
        used = sum(map(int, _numbers(pid)[10:14]))
        for other in filter(str.isdigit, os.listdir("/proc")):
            numbers = _numbers(other)
            if numbers and numbers[0] == pid:
                used += sum(map(int, numbers[10:14]))
        return used / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def original() -> str:
    """Debian's binary in the test root, which is made if it is not there."""
    try:
        return f"{Image().root}/usr/bin/tcpserver"
    except RootUnavailableError as error:
        raise SystemExit(f"name the original tcpserver, because there is no test root: {error}") from error


def main() -> None:
    theirs = sys.argv[1] if len(sys.argv) > 1 else original()
    with tempfile.TemporaryDirectory() as folder:
        home = f"{folder}/home"
        quail = [sys.executable, "-m", "quail.cli.main"]
        subprocess.run(
            [*quail, "init", "--single", home], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ours = [sys.executable, *OURS]
        smtpd = [f"{home}/bin/qmail-smtpd"]
        servers = [
            Server("original, true", [theirs], [], ["/bin/true"], greets=False),
            Server("ours, true", ours, [], ["/bin/true"], greets=False),
            Server("original, true, -v", [theirs], ["-v"], ["/bin/true"], greets=False),
            Server("ours, true, -v", ours, ["-v"], ["/bin/true"], greets=False),
            Server("ours, qmail-smtpd", ours, [], smtpd, greets=True),
        ]
        for clients in (1, CROWD):
            used = [server.processor() for server in servers]
            total = 0
            for _ in range(ROUNDS):
                total += CONNECTIONS
                for server in servers:
                    server.rates.append(server.round(clients, CONNECTIONS))
            time.sleep(0.2)  # the last children
            print(f"{clients} at a time:{'':18}{'a second':>10}{'ratio':>8}{'CPU':>10}{'ratio':>8}")
            base_rate = max(servers[0].rates)
            costs = [(server.processor() - before) / total for server, before in zip(servers, used, strict=True)]
            for server, cost in zip(servers, costs, strict=True):
                best = max(server.rates)
                spread = statistics.median(server.rates)
                print(
                    f"  {server.name:<28}{best:10.0f}{best / base_rate:8.2f}{cost * 1e3:7.2f} ms{costs[0] / cost:8.2f}"
                    f"   (median {spread:.0f})"
                )
                server.rates.clear()
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
