"""usage: python -m bench [--messages N] [--rounds N] [--sessions N] [--size BYTES] [--only TABLE ...]
       [--peers PEER ...] [--results FOLDER] [--dir FOLDER]

Quail beside Postfix, on this machine, in turns (A B A B ...), each run in fresh folders on a real disk, in a box of the
test root (tests/root; needs root), with the same load generator on the box's own loopback. Tables:

  connection  accept and keep, one message a connection
  persistent  accept and keep, all messages on `sessions` connections
  deliver     from the first connection until the last file is in the one Maildir

Each run begins with a small warm-up that is not measured, and ends with a count: a message that was acknowledged and is
not there ends the bench. Then one short run each below strace counts the syncs. Results: bench/results/*.json.
Treat differences under a third as unresolved: the machine drifts, and the load generator shares its processors.
"""

import argparse
import os
import platform
import sys
import tempfile

from bench import load
from bench.peer_postfix import Postfix
from bench.peer_quail import Quail
from bench.report import Report, Run
from tests.root.box import Box, Guest
from tests.root.image import RootUnavailableError
from tests.root.testroot import TestRoot

WARM_UP = 300  # messages, or as many as are measured if that is less; the same for TRACED
TRACED = 1000
TABLES = ("connection", "persistent", "deliver")
PEERS = {"quail": Quail, "postfix": Postfix}
SYNC_CALLS = ("fsync", "fdatasync", "syncfs", "sync_file_range", "msync", "sync")
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


class LostError(Exception):
    """Acknowledged messages are not where they must be."""


def main() -> None:
    options = _options()
    try:
        root = TestRoot.get()
    except RootUnavailableError as error:
        sys.exit(f"bench: {error}")
    bench = Bench(root, options)
    bench.run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--results", default=RESULTS, help="where the JSON goes")
    parser.add_argument("--dir", default="/var/tmp", help="a folder on the disk that is to be measured")
    return parser.parse_args()


def _file_system(folder: str) -> str:
    """Type of the file system that a folder lies on."""
    best, kind = "", "?"
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            point = words[1].rstrip("/") + "/"
            if (os.path.realpath(folder) + "/").startswith(point) and len(point) > len(best):
                best, kind = point, words[2]
    return kind


class Bench:
    """One call of the bench: its options, its root, its report."""

    def __init__(self, root: TestRoot, options: argparse.Namespace) -> None:
        """`options` as _options() returns them."""
        self.root, self.options = root, options
        self.warm_up, self.traced = min(WARM_UP, options.messages), min(TRACED, options.messages)
        self.report = Report(
            {
                "machine": platform.platform(),
                "processors": os.cpu_count(),
                "file_system": _file_system(options.dir),
                **{name: getattr(options, name) for name in ("messages", "rounds", "sessions", "size")},
            }
        )

    def run(self) -> None:
        """All tables, then what they say."""
        facts = self.report.facts
        print(", ".join(f"{name} {facts[name]}" for name in facts), flush=True)
        if facts["file_system"] in ("tmpfs", "ramfs"):
            sys.exit(f"bench: {self.options.dir} is memory, where a sync costs nothing: give --dir on a disk")
        try:
            for number in range(self.options.rounds):
                print(f"round {number + 1}", flush=True)
                for table in self.options.only:
                    for name in self.options.peers:
                        self.report.add(self._measure(table, name))
            for table in self.options.only:
                for name in self.options.peers:
                    self._count_syncs(table, name)
        finally:
            if self.report.runs:
                self.report.show()
                print(f"\n{os.path.relpath(self.report.write(self.options.results))}")

    def _shape(self, table: str, messages: int) -> load.Shape:
        return load.Shape(messages, self.options.sessions, self.options.size, persistent=table == "persistent")

    def _measure(self, table: str, name: str) -> Run:
        with tempfile.TemporaryDirectory(dir=self.options.dir, prefix="quail-bench-") as folder:
            os.chmod(folder, 0o755)
            peer = PEERS[name](folder, held=table != "deliver")
            with self.root.enter({folder: "/srv"}) as box:
                self._start(peer, box)
                self.report.facts.setdefault(peer.name, peer.version(box))
                self._send(peer, box, self._shape(table, self.warm_up), self.warm_up)
                before = load.cpu_seconds(box)
                whole = self.warm_up + self.options.messages
                seconds = self._send(peer, box, self._shape(table, self.options.messages), whole)
                spent = load.cpu_seconds(box) - before
                self._check(peer, box, whole)
                return Run(table, peer.name, self.options.messages, seconds, spent)

    def _start(self, peer: Postfix | Quail, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        guest = peer.start(box, tracer)
        try:
            load.await_banner(box, peer.port)
        except Exception:
            for name in sorted(os.listdir(peer.folder)):
                path = os.path.join(peer.folder, name)
                if os.path.isfile(path) and "trace" not in name:
                    with open(path, errors="replace", encoding="utf-8") as file:
                        print(f"--- {name}\n{file.read()[-3000:]}", file=sys.stderr)
            raise
        return guest

    @staticmethod
    def _send(peer: Postfix | Quail, box: Box, shape: load.Shape, whole: int) -> float:
        """Send, and wait for `whole` delivered messages if the table is about that; the seconds that count."""
        seconds = load.send(box, peer.port, peer.recipient, shape)
        return seconds if peer.held else seconds + load.await_files(peer.maildir, whole)

    @staticmethod
    def _check(peer: Postfix | Quail, box: Box, whole: int) -> None:
        """Raise LostError unless everything acknowledged is there, once."""
        found = peer.queued(box) if peer.held else len(os.listdir(peer.maildir))
        if found != whole:
            raise LostError(f"{peer.name} acknowledged {whole} messages and has {found}")

    def _count_syncs(self, table: str, name: str) -> None:
        """One short run below strace; its syncs, those of the start-up included, for each 1,000 messages."""
        with tempfile.TemporaryDirectory(dir=self.options.dir, prefix="quail-bench-") as folder:
            os.chmod(folder, 0o755)
            peer = PEERS[name](folder, held=table != "deliver")
            with self.root.enter({folder: "/srv"}) as box:
                trace = "trace=" + ",".join(SYNC_CALLS)
                self._start(peer, box, ("strace", "-f", "-qq", "-e", trace, "-e", "signal=none", "-o", "/srv/trace"))
                self._send(peer, box, self._shape(table, self.traced), self.traced)
                self._check(peer, box, self.traced)
            with open(folder + "/trace", encoding="ascii", errors="replace") as file:
                calls = sum(1 for line in file if any(f" {call}(" in line for call in SYNC_CALLS))
        self.report.add_syncs(table, peer.name, 1000 * calls / self.traced)


if __name__ == "__main__":
    main()
