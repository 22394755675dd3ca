"""Run by a program line: behaves badly, as its first argument says. Ends by itself after a minute at the most.

hang, stubborn (ignores TERM), fork, close, flood, crowd (kills what it may of its own uid), daemon, worker (kills its worker),
stop (stops it), group (kills its process group).
"""

import os
import resource
import signal
import sys
import time

MINUTE = 60


def hang():
    time.sleep(MINUTE)


def stubborn():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    time.sleep(MINUTE)


def fork():
    """As many processes as 200 for this user, each of which tries again for some seconds."""
    resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.fork()
        except OSError:
            time.sleep(0.05)


def close():
    os.closerange(0, 1024)


def flood():
    block = b"x" * (1 << 20)
    for _ in range(100):
        for number in (1, 2):
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(number, rest) :]
    sys.exit(100)


def crowd():
    os.kill(-1, signal.SIGKILL)


def daemon():
    """Leaves a process behind that holds everything it was given."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(MINUTE)
        os._exit(0)


def worker():
    """The process below lspawn, which is our user's."""
    os.kill(own_worker(), signal.SIGKILL)
    time.sleep(MINUTE)


def stop():
    os.kill(own_worker(), signal.SIGSTOP)


def own_worker():
    pid = os.getpid()
    while True:
        with open(f"/proc/{pid}/status") as file:
            parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
        with open(f"/proc/{parent}/comm") as file:
            if file.read().strip() == "quail-lspawn" and os.stat(f"/proc/{parent}").st_uid == 0 and is_root(parent):
                return pid
        pid = parent


def is_root(pid):
    with open(f"/proc/{pid}/status") as file:
        return any(line.split() == ["Uid:", "0", "0", "0", "0"] for line in file)


def group():
    os.killpg(0, signal.SIGKILL)


globals()[sys.argv[1]]()
