"""Runs delivery workers and qmail-local for tests, each in a process forked from this one. usage: dotqmail_launcher.py SOCKET

A connection begins with a line of JSON. `worker`: becomes the worker's socket, with these settings. `program`: qmail-local with
these arguments; its output comes over the connection, and behind it NUL, the exit code and a line feed. `limits`: other
values for constants of quail.delivery, `module.NAME`.
"""

import json
import os
import signal
import socket
import sys
from importlib import import_module

from quail.delivery import shed, worker
from quail.delivery.settings import Settings
from quail.programs.qmail import qmail_local


def main() -> None:
    shed.prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        line = b""
        while not line.endswith(b"\n"):
            line += connection.recv(1)
        order = json.loads(line)
        if os.fork() == 0:
            for name, value in order.get("limits", {}).items():
                module, _, constant = name.partition(".")
                setattr(import_module(f"quail.delivery.{module}"), constant, value)
            if "worker" in order:
                become_worker(connection, order["worker"])
            become_program(connection, order["program"])
        connection.close()
        while True:
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    break
            except ChildProcessError:
                break


def become_worker(connection, order):
    settings = Settings(
        order["home"],
        default_delivery=order["default"].encode("latin-1"),
        nofile=(1024, 1024),
        environment={name.encode(): value.encode() for name, value in order["environment"].items()},
        programs=order["programs"],
        program_timeout=order["timeout"],
    )
    worker.run(connection, settings)


def become_program(connection, order):
    pid = os.fork()
    if pid == 0:
        try:
            fd = os.open(order["message"], os.O_RDONLY)
            for place, source in ((0, fd), (1, connection.fileno()), (2, connection.fileno())):
                os.dup2(source, place)
            os.environ.clear()
            os.environ.update(order["environment"])
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            sys.argv = ["qmail-local", *(os.fsdecode(word.encode("latin-1")) for word in order["args"])]
            qmail_local.main()
        except SystemExit as end:
            os._exit(end.code)
        finally:
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(b"\0%d\n" % code)
    os._exit(0)


main()
