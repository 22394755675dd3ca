"""In a box: runs each command line of standard input (a JSON list) with the originals and with ours, in folders made alike.

Prints a JSON list of [command line, theirs, ours], each (exit code, stdout, stderr), where they differ.
"""

import json
import os
import shutil
import subprocess
import sys

NAMES = (
    "envdir", "envuidgid", "fghack", "multilog", "pgrphack", "readproctitle",
    "setlock", "setuidgid", "softlimit", "tai64n", "tai64nlocal",
)  # fmt: skip
THEIRS = "/opt/oracles/daemontools/usr/bin"
OURS = "/ours"
LAUNCHER = """#!/usr/bin/python3 -IS
import sys;sys.path[:0]=['/opt/quail/src']
from quail.programs.daemontools.{} import main;main()
"""
FILES = {
    "A": b"one\ntwo", "B": b"", "C": b"\n", "D": b"x \t \n", "E": b"a\0b\0\n", "F": b"end  ", "G=H": b"v", "I=J": b"",
    "K": b" \t", "L": b"\r\n", "M": b"x\0 \t\n", "N\udcff": b"\xff\xfe", "O": b" lead", "P": b"tail\v\f\r ", ".hidden": b"x",
    "Q": b"z" * 20000,
}  # fmt: skip


def prepare(place):
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(f"{place}/e/")
    for name, data in FILES.items():
        with open(f"{place}/e/{name}", "wb") as file:
            file.write(data)
    os.mkfifo(f"{place}/e/fifo")
    os.makedirs(f"{place}/bad/folder")
    os.makedirs(f"{place}/locked")
    with open(f"{place}/data", "wb") as file:
        file.write(b"data\n")


def run(tools, command):
    prepare("/place")
    done = subprocess.run(
        ["sh", "-c", command],
        cwd="/place",
        env={"PATH": f"{tools}:/usr/bin:/bin", "B": "1", "C": "2", "G": "3", "I": "4", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


def main():
    os.makedirs(OURS)
    for name in NAMES:
        with open(f"{OURS}/{name}", "w", encoding="ascii") as file:
            file.write(LAUNCHER.format(name))
        os.chmod(f"{OURS}/{name}", 0o755)
    wrong = []
    for command in json.load(sys.stdin):
        theirs, ours = run(THEIRS, command), run(OURS, command)
        if theirs != ours:
            wrong.append([command, theirs, ours])
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
