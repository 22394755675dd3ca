"""Runs the users service of a system home for tests. usage: users_launcher.py HOME PATIENCE FRESH

Standard input is a pipe whose end ends it. The machine's accounts are HOME/passwd, lines name:uid:gid:home, read at each
look-up. Names that begin with "down" can't be looked up, and those with "stuck" wait for a lock on HOME/gate, which the test
holds. HOME/asked gets a line for each look-up.
"""

import errno
import fcntl
import os
import signal
import socket
import sys

from quail.services import users
from quail.supervise.context import Context
from quail.users import nss


def main() -> None:
    home = sys.argv[1]
    os.chdir(home)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asked = os.open("asked", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def by_name(name: bytes) -> nss.Entry | None:
        os.write(asked, name + b"\n")
        if name.startswith(b"down"):
            return nss.by_name(name, getpwnam_r=lambda *_: errno.ECONNREFUSED)
        if name.startswith(b"bug"):
            raise ZeroDivisionError("in a look-up")
        if name.startswith(b"stuck"):
            with open("gate", "rb") as gate:
                fcntl.flock(gate, fcntl.LOCK_SH)
        with open("passwd", "rb") as file:
            for line in file:
                fields = line.rstrip(b"\n").split(b":")
                if fields[0] == name:
                    return nss.Entry(name, int(fields[1]), int(fields[2]), fields[3])
        return None

    users.by_name = by_name
    users.PATIENCE = float(sys.argv[2])
    users.FRESH = float(sys.argv[3])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind("run/users.sock")
    listener.listen(128)
    context = Context(
        home=home,
        mode="system",
        sockets={"users.sock": listener},
        life_fd=0,
        worker=0,
        log=lambda text: os.write(log, f"users: {text}\n".encode()),
        nofile=(1024, 4096),
        uids={},
    )
    print("up", flush=True)
    status = 1
    try:
        users.run(context)
        status = 0
    except SystemExit as end:
        status = end.code
    finally:
        signal.set_wakeup_fd(-1)
        os._exit(status)


main()
