"""Runs the users and lspawn services of a home for tests: what serve does, in few lines. usage: delivery_launcher.py HOME

Prints a line `users PID`, `lspawn PID` for each service started. Commands on standard input: `start users`, `reap users`
(waits for the process to end, prints its status), and so on. At the end of the input everything is killed.
"""

import contextlib
import os
import signal
import socket
import sys

from quail.services import lspawn, users
from quail.supervise.context import Context

SERVICES = {"users": users.run, "lspawn": lspawn.run}


def main() -> None:
    home = sys.argv[1]
    os.chdir(home)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sockets = {}
    for name in SERVICES:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.bind(f"run/{name}.sock")
        sock.listen(128)
        sockets[name] = sock
    life_read, life_write = os.pipe()
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    children = {}

    def start(name: str) -> None:
        pid = os.fork()
        if pid == 0:
            os.close(life_write)
            os.dup2(log, 2)
            context = Context(
                home=home,
                mode="single",
                sockets={f"{name}.sock": sockets[name]},
                life_fd=life_read,
                worker=0,
                nofile=(1024, 4096),
                uids={},
                log=lambda text: os.write(log, f"{name}: {text}\n".encode()),
            )
            status = 1
            try:
                SERVICES[name](context)
                status = 0
            finally:
                os._exit(status)
        children[name] = pid
        print(name, pid, flush=True)

    for name in SERVICES:
        start(name)
    for line in sys.stdin:
        command, name = line.split()
        if command == "start":
            start(name)
        elif command == "reap":
            print(os.waitstatus_to_exitcode(os.waitpid(children.pop(name), 0)[1]), flush=True)
    for pid in children.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


main()
