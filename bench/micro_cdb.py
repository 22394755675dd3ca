"""What a look-up costs in a cdb and in the access rules, and what it costs to make a cdb. Prints microseconds for each call.

usage: python -m bench.micro_cdb [beside]

beside: in the test root, interleaved with the originals, ratios of medians (bench/inside/cdb_beside.py).
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

from quail.cdb.file import open_cdb
from quail.cdb.maker import Maker
from quail.net.tcprules import Rules, compile_rules

RECORDS = 1_000_000
CALLS = 20_000
ROUNDS = 5


def report(what: str, call: Callable[[], object]) -> None:
    """The best of some rounds: what disturbs a round only adds to it."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    print(f"{what:<44}{best / CALLS * 1e6:8.2f} us")


def beside() -> None:
    """Everything of which there is an original, beside it."""
    from tests.root.testroot import TestRoot  # noqa: PLC0415  needs uid 0

    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(os.path.join(os.path.dirname(__file__), "inside/cdb_beside.py"), directory)
        with TestRoot.get().enter({directory: "/srv/bench"}) as box:
            words = ["python3", "/srv/bench/cdb_beside.py", "/srv/bench"]
            print(box.run(words, env={"PYTHONPATH": "/opt/quail/src"}, timeout=600).stdout, end="")


def main() -> None:
    if sys.argv[1:] == ["beside"]:
        beside()
        return
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/users.cdb"
        maker = Maker()
        start = time.perf_counter()
        for number in range(RECORDS):
            maker.add(b"!user%d\0" % number, b"user\0001000\0001000\0/home/user\0\0\0")
        added = time.perf_counter()
        with open(path, "wb") as file:
            file.writelines(maker.chunks())
        print(
            f"make {RECORDS} records: {added - start:.2f} s to add, {time.perf_counter() - added:.2f} s to lay out and write"
        )
        users = open_cdb(path)
        assert users is not None
        report(f"a key of {os.path.getsize(path) >> 20} MiB", lambda: users.get(b"!user500000\0"))
        report("a key that is not there", lambda: users.get(b"!nobody500000\0"))

        for count in (3, 100_000):
            measure_rules(path, count)


def measure_rules(path: str, count: int) -> None:
    text = b'127.:allow,RELAYCLIENT=""\n:allow\n=.example.net:allow,X="1"\n'
    text += b"".join(b"10.%d.%d.%d:deny\n" % (n >> 16, n >> 8 & 255, n & 255) for n in range(count))
    with open(path, "wb") as file:
        file.write(compile_rules(text, "bench"))
    rules = Rules(path)
    report(f"{count} rules: found at once", lambda: rules.decide(b"10.0.0.1"))
    report(f"{count} rules: by a prefix", lambda: rules.decide(b"127.0.0.1"))
    report(f"{count} rules: the default", lambda: rules.decide(b"192.168.100.200"))
    report(
        f"{count} rules: the default, with a name", lambda: rules.decide(b"192.168.100.200", b"mail.sub.example.org")
    )


if __name__ == "__main__":
    main()
