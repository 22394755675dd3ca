"""usage: python -m bench [TABLE ...] [--messages N] [--rounds N] [--sessions N] [--size BYTES] [--users N] [--calls N]
       [--callers N ...] [--relayed N] [--recipients N] [--hosts N] [--lists N] [--connections N ...] [--peers PEER ...]
       [--results FOLDER] [--documents FOLDER] [--dir FOLDER]

Quail beside Postfix, on this machine, in turns (A B A B ...), each run in fresh folders on a real disk, in a box of the
test root (tests/root; needs root), with the same load generator on the box's own loopback. Tables (all of them, if none
is named, and then docs/bench.md and docs/bench.svg are written):

  connection  accept and keep, one message a connection
  persistent  accept and keep, all messages on `sessions` connections
  deliver     from the first connection until the last file is in the one Maildir
  users       the mail system of a machine: the same into the Maildirs of many users, each under a uid of its own
  sendmail    the mail system of a machine: calls of sendmail by an ordinary user, one after another and several at once
  relay       the mail system of a machine: `relayed` messages over SMTP, all of them sent on to one host
  onehost     the mail system of a machine: messages to `recipients` recipients at one host, handed to sendmail
  manyhosts   the same at `hosts` hosts, which the DNS tells
  pop3        one mailbox of `messages`, fetched by one client, one by one and pipelined, beside Dovecot
  idle        the mail system of a machine: memory, without connections and with so many that say nothing

For `pop3`, which Postfix has not, `--peers postfix` is Dovecot. In `sendmail` both are there at the same time, and a few
calls of each are made in turn. Each run begins with a small warm-up
that is not measured, and ends with a count: a message that was acknowledged and is not there ends the bench. Then one short
run each below strace counts the syncs. Results: bench/results/*.json; `python -m bench.document FILE ...` makes the documents
of several. Treat differences under a third as unresolved: the machine drifts, and the load generator shares its processors.
"""

import argparse
import array
import contextlib
import fcntl
import os
import platform
import sys
import tempfile

from bench import document, load
from bench.idle import Idle
from bench.pop3 import Pop3
from bench.remote import Lists, Relay
from bench.report import Report
from bench.sizes import Peer, Sizes
from bench.tables import SINGLE, Mailbox, Sendmail, Users, syncs, tracer
from tests.root.box import Box
from tests.root.image import RootUnavailableError
from tests.root.testroot import TestRoot

Alone = Mailbox | Users | Relay | Lists | Pop3 | Idle
TABLES: dict[str, type[Alone | Sendmail]] = {
    "connection": Mailbox,
    "persistent": Mailbox,
    "deliver": Mailbox,
    "users": Users,
    "sendmail": Sendmail,
    "relay": Relay,
    "onehost": Lists,
    "manyhosts": Lists,
    "pop3": Pop3,
    "idle": Idle,
}
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000  # ioctl_iflags(2); chattr(1), T
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


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
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []])
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8], help="how many calls at once")
    parser.add_argument("--relayed", type=int, default=2000)
    parser.add_argument("--recipients", type=int, default=2000)
    parser.add_argument("--hosts", type=int, default=200, help="at most 250")
    parser.add_argument("--lists", type=int, default=3, help="messages to many recipients in each run")
    parser.add_argument("--connections", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--peers", nargs="+", choices=[*SINGLE], default=[*SINGLE])
    parser.add_argument("--results", default=RESULTS, help="where the JSON goes")
    parser.add_argument("--documents", help="where bench.md and bench.svg go: docs/, if all tables are measured")
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


def _spread(top: str) -> None:
    """Have ext4 put each folder made in this one on a part of the disk of its own.

    A run must not pay for what was removed before it: ext4 looks past the inodes that were deleted in the last minutes one by
    one, when it makes files near them. So folders stay, too, until the whole bench ends.
    """
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = array.array("L", [0])
        fcntl.ioctl(folder, _GET_FLAGS, flags)
        flags[0] |= _TOP_OF_HIERARCHIES
        fcntl.ioctl(folder, _SET_FLAGS, flags)
    except OSError:
        pass  # not every file system has such a thing, or needs it
    finally:
        os.close(folder)


def _folder(top: str) -> str:
    """A new one that every user of a box can look into."""
    folder = tempfile.mkdtemp(dir=top)
    os.chmod(folder, 0o755)
    return folder


class Bench:
    """One call of the bench: its options, its root, its report."""

    def __init__(self, root: TestRoot, options: argparse.Namespace) -> None:
        """`options` as _options() returns them."""
        self.root, self.options = root, options
        sizes = Sizes(**{name: getattr(options, name) for name in Sizes._fields})
        self.tables = [TABLES[name](name, sizes) for name in options.tables or TABLES]
        self.documents = options.documents or (None if options.tables else document.DOCS)
        self.report = Report(
            {
                "date": document.date(),
                "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
                "machine": platform.platform(),
                "processors": os.cpu_count(),
                "file_system": _file_system(options.dir),
                "rounds": options.rounds,
                **sizes._asdict(),
            }
        )

    def run(self) -> None:
        """All tables, then what they say."""
        facts = self.report.facts
        print(", ".join(f"{name} {facts[name]}" for name in facts), flush=True)
        if facts["file_system"] in ("tmpfs", "ramfs"):
            sys.exit(f"bench: {self.options.dir} is memory, where a sync costs nothing: give --dir on a disk")
        with tempfile.TemporaryDirectory(dir=self.options.dir, prefix="quail-bench-") as top:
            _spread(top)
            try:
                self._rounds(top)
            finally:
                if self.report.runs:
                    self.report.show()
                    path = self.report.write(self.options.results)
                    print(f"\n{os.path.relpath(path)}")
        if self.documents:
            document.write([path], self.documents)

    def _rounds(self, top: str) -> None:
        for number in range(self.options.rounds):
            print(f"round {number + 1}", flush=True)
            for table in self.tables:
                if isinstance(table, Sendmail):
                    self._measure_together(table, top)
                else:
                    for name in self.options.peers:
                        self._measure(table, name, _folder(top))
        for table in self.tables:
            if not isinstance(table, Idle | Pop3):
                for name in self.options.peers:
                    self._count_syncs(table, name, _folder(top))

    def _measure_together(self, table: Sendmail, top: str) -> None:
        with contextlib.ExitStack() as boxes:
            started = []
            for name in self.options.peers:
                peer = table.peer(name, _folder(top))
                box = boxes.enter_context(self.root.enter(peer.binds))
                self._start(peer, box)
                started.append((peer, box))
            for run in table.measure_together(started):
                self.report.add(run)

    def _measure(self, table: Alone, name: str, folder: str) -> None:
        peer = table.peer(name, folder)
        with self.root.enter(peer.binds) as box:
            self._start(peer, box)
            for run in table.measure(peer, box):
                self.report.add(run)

    def _count_syncs(self, table: Mailbox | Users | Sendmail | Relay | Lists, name: str, folder: str) -> None:
        """One short run below strace; its syncs, those of the start-up included, for each 1,000 messages."""
        peer = table.peer(name, folder)
        with self.root.enter(peer.binds) as box:
            self._start(peer, box, tracer("servers"))
            messages = table.traced(peer, box)
        self.report.add_syncs(table.name, peer.name, 1000 * syncs(folder) / messages)

    def _start(self, peer: Peer, box: Box, below: tuple[str, ...] = ()) -> None:
        peer.start(box, below)
        try:
            load.await_banner(box, peer.port)
        except Exception:
            for name in sorted(os.listdir(peer.folder)):
                path = os.path.join(peer.folder, name)
                if os.path.isfile(path) and "trace" not in name:
                    with open(path, errors="replace", encoding="utf-8") as file:
                        print(f"--- {name}\n{file.read()[-3000:]}", file=sys.stderr)
            raise
        self.report.facts.setdefault(peer.name, peer.version(box))


if __name__ == "__main__":
    main()
