"""What a line through multilog costs, beside the original: the same lines, through a pipe, to the same disk, in turn.

usage: python -m bench.micro_multilog [LINES]

Prints for each script how many lines of 100 bytes a second each takes (the best of some rounds), and the ratio. The original is
that of the test root (tests/root), so this needs uid 0. Both run in one box, on a folder of the machine's disk.
"""

import json
import sys
import tempfile

from tests.root.testroot import QUAIL_ENVIRONMENT, TestRoot

LINES = 300_000
ROUNDS = 5
SCRIPTS = {
    "stamped": ["t", "s1000000", "n20", "./d"],
    "plain": ["s1000000", "n20", "./d"],
    "stamped, one of ten selected": ["t", "-*", "+* *7", "s1000000", "n20", "./d"],
    "stamped, usual size": ["t", "./d"],
}
INSIDE = """
import json, os, shutil, subprocess, sys, time
lines, rounds, scripts = json.loads(sys.argv[1])
start = "import sys;sys.path[:0]=['/opt/quail/src'];from quail.programs.daemontools.multilog import main;main()"
programs = {"original": ["/opt/oracles/daemontools/usr/bin/multilog"], "ours": ["python3", "-IS", "-c", start]}
data = b"".join(b"%099d\\n" % number for number in range(lines))
os.chdir("/srv")
for name, script in scripts.items():
    best = dict.fromkeys(programs, 0.0)
    for _ in range(rounds):
        for program, words in programs.items():
            shutil.rmtree("d", ignore_errors=True)
            began = time.perf_counter()
            process = subprocess.Popen([*words, *script], stdin=subprocess.PIPE)
            process.stdin.write(data)
            process.stdin.close()
            assert process.wait() == 0
            best[program] = max(best[program], lines / (time.perf_counter() - began))
    print(f"{name:30} {best['original']:12,.0f} {best['ours']:12,.0f} {best['ours'] / best['original']:8.2f}", flush=True)
"""


def main() -> None:
    """Both, in one box."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    with tempfile.TemporaryDirectory(dir=".") as folder, TestRoot.get().enter({folder: "/srv"}) as box:
        print(f"{'lines a second':30} {'original':>12} {'ours':>12} {'ratio':>8}")
        words = ["python3", "-c", INSIDE, json.dumps([lines, ROUNDS, SCRIPTS])]
        print(box.run(words, env=QUAIL_ENVIRONMENT, timeout=600).stdout, end="")


if __name__ == "__main__":
    main()
