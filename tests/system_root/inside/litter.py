"""Run by a user: fills queue/drop with everything that is no message. One argument: how many files of rubbish."""

import os
import random
import socket
import struct
import sys

DROP = "/var/qmail/queue/drop"


def put(name, data, mode=0o640):
    handle = os.open(f"{DROP}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(handle, data)
    os.close(handle)


def envelope(sender, *recipients):
    """As docs/formats/handover.md has it, so far as a stranger would guess."""
    inner = sender + b"".join(b"\0" + each for each in recipients)
    return struct.pack(">I", len(inner)) + inner


def main():
    seed = random.Random(4)
    for number, target in enumerate(
        [
            "/etc/shadow",
            "/home/bob/secret",
            "/dev/zero",
            "/dev/tty",
            "/proc/1/mem",
            "/var/qmail/control/me",
            ".",
            "new.loop",
        ]
    ):
        os.symlink(target, f"{DROP}/new.link{number}")
    os.symlink("new.loop", f"{DROP}/new.loop")
    put("new.twice", envelope(b"", b"alice@example.test") + b"linked\n")
    os.link(f"{DROP}/new.twice", f"{DROP}/new.twice again")
    os.mkfifo(f"{DROP}/new.fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{DROP}/new.socket")
    os.mkdir(f"{DROP}/new.folder")
    os.mkdir(f"{DROP}/tmp.folder", 0)
    put("new.empty", b"")
    put("new.closed", envelope(b"", b"alice@example.test") + b"closed\n", 0)
    put("new.short", b"\0\0\1\0abc")
    put("new.long", b"\xff\xff\xff\xffabc")
    put("new.binary", bytes(range(256)) * 40)
    put("new." + "n" * 250, b"")
    put("new.\n\x1b[31mred", b"")
    put("new.sparse", b"")
    os.truncate(f"{DROP}/new.sparse", 1 << 40)
    put("new.enveloped", b"\0\0\0\2\0\0")
    os.truncate(f"{DROP}/new.enveloped", 1 << 38)
    for number in range(int(sys.argv[1])):
        put(f"new.rubbish{number:06d}", seed.randbytes(seed.randrange(60)))
    for path in (f"{DROP}/new.rubbish000000", f"{DROP}/new.binary"):
        os.utime(path, (0, 0))


main()
