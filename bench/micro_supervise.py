"""What services cost that only run: memory and processor time of svscan and a supervise for each.

usage: python -m bench.micro_supervise [ SERVICES [ SECONDS [ FOLDER ] ] ]

FOLDER: of other programs of these names, Debian's for example, instead of this checkout's.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

from quail.cli import launchers

RUN = "#!/bin/sh\nexec sleep 100000\n"
TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def processor_time(pids: list[int]) -> float:
    """Seconds, of user and system together."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def pss(pid: int) -> int:
    """KiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def main() -> None:
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 15.0
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 3:
            programs = sys.argv[3]
        else:
            launchers.write(folder)
            programs = f"{folder}/bin"
        tree = f"{folder}/service"
        for number in range(services):
            os.makedirs(f"{tree}/s{number}")
            with open(f"{tree}/s{number}/run", "w", encoding="ascii") as file:
                file.write(RUN)
            os.chmod(f"{tree}/s{number}/run", 0o755)
        started = time.perf_counter()
        scan = subprocess.Popen(
            [f"{programs}/svscan", tree], env={"PATH": f"{programs}:/usr/bin:/bin"}, start_new_session=True
        )
        try:
            measure(scan.pid, services, seconds, started)
        finally:
            os.killpg(scan.pid, signal.SIGKILL)  # the services are of the group, too
            scan.wait()


def measure(scan: int, services: int, seconds: float, started: float) -> None:
    keepers = children(scan)
    while sum(bool(children(pid)) for pid in keepers) < services:
        time.sleep(0.05)
        keepers = children(scan)
    print(f"{services} services up after {time.perf_counter() - started:.2f} s")
    time.sleep(2)
    every = [scan, *keepers]
    before, begin = processor_time(every), time.perf_counter()
    time.sleep(seconds)
    used = (processor_time(every) - before) / (time.perf_counter() - begin)
    sizes = sorted(pss(pid) for pid in keepers)
    print(f"idle: {used * 100:.2f} % of a core")
    print(
        f"PSS of a supervise: {sizes[len(sizes) // 2]} KiB in the middle, {sizes[-1]} KiB at most; svscan {pss(scan)} KiB"
    )


if __name__ == "__main__":
    main()
