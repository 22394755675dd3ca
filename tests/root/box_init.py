"""Process 1 of a box: arranges the mounts, answers "PID" on stdout, reaps, and ends when its stdin does.

Started by box.py under unshare with one argument, JSON: root, stage (empty folder), view (overlay, copy or direct), binds
[[host, guest, writable]]. When this process ends, however that comes about, the kernel ends every process of the box and
its mounts are gone; stdin is a pipe from the test, so a killed test leaves nothing behind.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 32, 4096, 16384
MNT_DETACH = 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    _check(
        LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()),
        f"mount {target}",
    )


def view(spec: dict) -> str:
    """Mount the root as `view` says; the path of its top. Every change to an overlay or a copy is lost with the box."""
    stage = spec["stage"]
    if spec["view"] == "direct":
        mount(spec["root"], stage, flags=MS_BIND | MS_REC)
        return stage
    mount("quail-box", stage, "tmpfs", data="mode=0755")
    top = stage + "/root"
    for name in ("upper", "work", "root"):
        os.mkdir(f"{stage}/{name}", 0o755)
    if spec["view"] == "overlay":
        try:
            mount(
                "overlay", top, "overlay", data=f"lowerdir={spec['root']},upperdir={stage}/upper,workdir={stage}/work"
            )
            return top
        except OSError:  # the cache lies on a file system that cannot be a lower layer: take memory instead
            pass
    subprocess.run(["cp", "-a", spec["root"] + "/.", top], check=True)
    mount(top, top, flags=MS_BIND)
    return top


def furnish(top: str, binds: list[tuple[str, str, bool]]) -> None:
    mount("proc", top + "/proc", "proc", MS_NOSUID | MS_NODEV)
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        target = f"{top}/dev/{name}"
        if not os.path.exists(target):
            open(target, "wb").close()
        mount(f"/dev/{name}", target, flags=MS_BIND)
    os.makedirs(top + "/dev/pts", exist_ok=True)
    mount("devpts", top + "/dev/pts", "devpts", data="newinstance,ptmxmode=0666,mode=0620,gid=5")
    if os.path.lexists(top + "/dev/ptmx"):
        os.unlink(top + "/dev/ptmx")
    os.symlink("pts/ptmx", top + "/dev/ptmx")
    os.makedirs(top + "/dev/shm", exist_ok=True)
    mount("shm", top + "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV)
    for host, guest, writable in binds:
        target = top + guest
        if os.path.isdir(host):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            open(target, "ab").close()
        mount(host, target, flags=MS_BIND)
        if not writable:
            mount(host, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def main() -> None:
    spec = json.loads(sys.argv[1])
    host_pid = os.readlink("/proc/self")  # before the box has a /proc of its own
    os.umask(0o022)
    top = view(spec)
    furnish(top, spec["binds"])
    os.chdir(top)
    subprocess.run(["pivot_root", ".", "."], check=True)
    _check(LIBC.umount2(b".", MNT_DETACH), "umount of the machine's own root")
    os.chdir("/")
    socket.sethostname("localhost")
    if spec["network"] == "own":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))

    def reap(*_: object) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    signal.signal(signal.SIGCHLD, reap)
    os.write(1, host_pid.encode() + b"\n")
    os.close(1)
    while os.read(0, 1):
        pass


if __name__ == "__main__":
    main()
