"""What a POP3 log-in to a large mailbox costs, as multiples of listing its folders and looking at each file once.

usage: python -m bench.micro_pop3 [ MESSAGES ]

Processor time, the best of some rounds: snapshot of the Maildir; sizes counted, and remembered in quail.sizes; UIDL's names.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable

from quail.storage.calls import REAL
from quail.storage.maildir import make
from quail.storage.maildrop import Maildrop

ROUNDS = 5
TEXT = b"Subject: x\n\n" + b"a line of text that is as long as many are, and no longer than that\n" * 58


def best(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of processor time."""
    found = []
    for _ in range(rounds):
        before = time.process_time()
        call()
        found.append(time.process_time() - before)
    return min(found)


def bare() -> None:
    """The least that anybody must do who wants the times of all files."""
    for folder in ("new", "cur"):
        for name in os.listdir(folder):
            os.stat(f"{folder}/{name}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory(dir="/var/tmp") as top:
        make(REAL, f"{top}/Maildir")
        os.chdir(f"{top}/Maildir")
        for number in range(count):
            with open(f"cur/{1_700_000_000 + number}.M000001P1Q{number}.mail.example.com:2,S", "wb") as file:
                file.write(TEXT)
        drop = Maildrop(".")
        counted = best(drop.sizes, 1)
        unit = best(bare)
        print(f"{count} messages; listing and looking alone: {unit:.3f} s")
        for name, seconds in (
            ("snapshot", best(lambda: Maildrop("."))),
            ("sizes, counted", counted),
            ("sizes, remembered", best(drop.sizes)),
            ("names for UIDL", best(drop.uids)),
        ):
            print(f"{name:<18} {seconds / unit:6.2f}")
        os.chdir("/")


if __name__ == "__main__":
    main()
