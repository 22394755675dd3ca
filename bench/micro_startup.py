"""What starting costs a program that runs once for a message or connection, and what the modules that it avoids would add.

usage: python -m bench.micro_startup

Prints milliseconds of processor time (the least of many starts) and times a bare interpreter. docs/decisions/0007-start-up.md.
"""

import os
import sys

STARTS = 15
PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src")
PROGRAMS = ("qmail.qmail_queue", "qmail.qmail_smtpd", "ucspi.tcprulescheck", "qmail.qmail_qstat")
MODULES = (
    "os", "_socket", "socket", "signal", "asyncio", "ssl", "argparse", "logging", "dataclasses", "typing", "pathlib",
    "tempfile", "subprocess", "uvloop", "click",
)  # fmt: skip


def milliseconds(code: str) -> float:
    """Of one run of the code in a new interpreter; site stays out, but its folders are found."""
    folders = [PATH, *(path for path in sys.path if path.endswith("site-packages"))]
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {folders!r}; {code}"]
    best = float("inf")
    for _ in range(STARTS):
        pid = os.posix_spawn(sys.executable, command, {})
        _, status, used = os.wait4(pid, 0)
        assert status == 0, code
        best = min(best, (used.ru_utime + used.ru_stime) * 1e3)
    return best


def main() -> None:
    bare = milliseconds("pass")
    print(f"{'the interpreter alone':<36}{bare:8.1f} ms")
    for program in PROGRAMS:
        took = milliseconds(f"import quail.programs.{program}")
        print(f"{program:<36}{took:8.1f} ms{took / bare:8.2f} times")
    for module in MODULES:
        took = milliseconds(f"import {module}")
        print(f"{'with ' + module:<36}{took:8.1f} ms{took / bare:8.2f} times")


if __name__ == "__main__":
    main()
