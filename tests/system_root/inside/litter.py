"""Run by a user: fills queue/drop with everything that is no message.

Arguments: how many files of rubbish; a file with a message as it would be right, were it not for where it lies.
"""

import os
import random
import socket
import sys

DROP = "/var/qmail/queue/drop"


def put(name, data, mode=0o640):
    handle = os.open(f"{DROP}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(handle, data)
    os.close(handle)


def main():
    seed = random.Random(4)
    with open(sys.argv[2], "rb") as file:
        message = file.read()
    targets = [
        "/etc/shadow",
        "/home/bob/secret",
        "/dev/zero",
        "/dev/tty",
        "/proc/1/mem",
        "/var/qmail/control/me",
        ".",
        "new.loop",
    ]
    for number, target in enumerate([*targets, sys.argv[2]]):
        os.symlink(target, f"{DROP}/new.link{number}")
    os.symlink("new.loop", f"{DROP}/new.loop")
    put("new.twice", message)
    os.link(f"{DROP}/new.twice", f"{DROP}/new.twice again")
    os.mkfifo(f"{DROP}/new.fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{DROP}/new.socket")
    os.mkdir(f"{DROP}/new.folder")
    os.mkdir(f"{DROP}/tmp.folder", 0)
    put("new.empty", b"")
    put("new.closed", message, 0)
    put("new.short", b"\0\0\1\0abc")
    put("new.long", b"\xff\xff\xff\xffabc")
    put("new.binary", bytes(range(256)) * 40)
    put("new." + "n" * 250, b"")
    put("new.\n\x1b[31mred", b"")
    put("new.sparse", b"")
    os.truncate(f"{DROP}/new.sparse", 1 << 40)
    for number in range(int(sys.argv[1])):
        put(f"new.zz{number:06d}", seed.randbytes(seed.randrange(60)))
    for path in (f"{DROP}/new.zz000000", f"{DROP}/new.binary"):
        os.utime(path, (0, 0))


main()
