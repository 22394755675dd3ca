"""Calls a program again and again, with a message on its standard input, as scripts and cron call sendmail.

usage: caller.py CALLS AT_ONCE SIZE PROGRAM ARGUMENT ...

Prints JSON: `begin` (time.time() of the first call), `seconds` from then to the last end, and lists with an entry for each
call: `wall` (seconds from just before the start to the end) and `cpu` (user and system seconds of its process and all that it
has waited for). Ends with 1 if a call fails.
"""

import json
import os
import sys
import time

HEADER = b"To: someone\nSubject: a call\n\n"
LINE = b"x" * 63 + b"\n"


def main() -> None:
    calls, at_once, size = map(int, sys.argv[1:4])
    words = sys.argv[4:]
    message = (HEADER + LINE * (size // len(LINE)))[: size - 1] + b"\n"
    under_way: dict[int, float] = {}
    wall: list[float] = []
    cpu: list[float] = []

    def call() -> None:
        reading, writing = os.pipe()
        os.write(writing, message)  # less than a pipe holds
        os.close(writing)
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
        began = time.monotonic()
        under_way[os.posix_spawn(words[0], words, os.environ, file_actions=actions)] = began
        os.close(reading)

    began, start = time.time(), time.monotonic()
    for _ in range(min(at_once, calls)):
        call()
    while under_way:
        pid, status, used = os.wait4(-1, 0)
        wall.append(time.monotonic() - under_way.pop(pid))
        cpu.append(used.ru_utime + used.ru_stime)
        if status:
            sys.exit(f"{words} ended with {os.waitstatus_to_exitcode(status)}")
        if len(wall) + len(under_way) < calls:
            call()
    print(json.dumps({"begin": began, "seconds": time.monotonic() - start, "wall": wall, "cpu": cpu}))


main()
