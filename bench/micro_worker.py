"""What starting a delivery worker costs: a fork from the state of `quail serve`, what it sheds, and its first messages.

usage: python -m bench.micro_worker [FOLDER]    (FOLDER: on the file system to measure; default: /var/tmp)

Prints milliseconds of processor time of the child and page faults (each is a page looked up or copied, and most of the cost),
the lower quarter of many forks. As root the worker becomes another user, as in a system home
(docs/decisions/0010-system-home.md).
"""

import gc
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable

import quail.cli.serve  # noqa: F401  what the services are forked from
from quail.delivery import shed, worker
from quail.delivery.settings import Settings
from quail.net.lspawn_protocol import decode_job, encode_job, encode_task
from quail.net.users_protocol import Owner, encode_owner
from quail.storage import maildir
from quail.storage.calls import REAL, prepare_syncfs

FORKS = 60
UID = 2001  # nobody's in particular
BODY = b"Subject: hello\n\n" + (b"y" * 70 + b"\n") * 57  # 4 KB
Child = Callable[[socket.socket], object]


def start(child: Child, messages: int, task: bytes) -> tuple[float, int]:
    """One process, from its fork to its end, with so many messages one after another; CPU milliseconds and page faults."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        child(theirs)
        os._exit(0)
    theirs.close()
    for _ in range(messages):
        ours.sendall(task)
        ours.recv(4096)
    ours.close()
    _, status, used = os.wait4(pid, 0)
    assert status == 0
    return (used.ru_utime + used.ru_stime) * 1e3, used.ru_minflt


def main() -> None:
    shed.prepare()
    prepare_syncfs()
    settings = Settings("/var/qmail", nofile=resource.getrlimit(resource.RLIMIT_NOFILE), environment={})
    uid = os.getuid()
    if uid == 0:
        uid = UID
        settings = settings.with_owner(uid, uid)
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp") as folder:
        home = folder + "/home"
        os.chmod(folder, 0o755)
        os.mkdir(home, 0o700)
        maildir.make(REAL, home + "/Maildir")
        for path in (home, *(f"{home}/Maildir{part}" for part in ("", "/tmp", "/new", "/cur"))):
            os.chown(path, uid, -1)
        owner = encode_owner(Owner(b"user", uid, uid, os.fsencode(home), b"", b""))
        job = decode_job(encode_job(1, b"sender@example.com", b"user@localhost", 0, BODY)[4:])  # without its length
        task = encode_task(1, owner, job)
        gc.collect()
        gc.freeze()  # as serve does before it forks
        cases: dict[str, tuple[Child, int]] = {
            "the fork alone": (lambda _: None, 0),
            "and shed": (lambda sock: shed.shed(sock, settings), 0),
            "a worker without work": (lambda sock: worker.run(sock, settings), 0),
            "a worker with one message": (lambda sock: worker.run(sock, settings), 1),
            "with ten, one by one": (lambda sock: worker.run(sock, settings), 10),
        }
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in cases}
        for _ in range(FORKS):
            for name, (child, messages) in cases.items():
                found[name].append(start(child, messages, task))
        assert len(os.listdir(home + "/Maildir/new")) == FORKS * sum(messages for _, messages in cases.values())
    for name, costs in found.items():
        milliseconds, faults = sorted(costs)[FORKS // 4]
        print(f"{name:<28}{milliseconds:8.1f} ms{faults:8} page faults")


if __name__ == "__main__":
    main()
