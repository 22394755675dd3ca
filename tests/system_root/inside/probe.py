"""Run by a program line, as a user who wants more than is his: tries, and writes how each attempt ended, as JSON.

    probe.py RESULT TARGETS [harmless]

TARGETS is a JSON file: `files` and `folders` (paths), `sockets` (paths), `services` (name to process ids), and more.
RESULT gets attempt to "done" or the name of an error. `harmless` leaves out what would hurt if it were allowed: root runs it
so, to show that the attempts are real ones.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE = 16, 17, 0x4206
LINKED = "/var/qmail/queue/drop/tmp.linked"  # on the queue's own file system, where everybody may make names
ONE, ZERO = ctypes.c_long(1), ctypes.c_long(0)
SYS_PIDFD_GETFD, SYS_PROCESS_VM_READV = 438, 310

results = {}


def attempt(name, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        results[name] = os.strerror(error.errno) if error.errno is None else _name(error.errno)
    else:
        results[name] = "done"


def _name(number):
    import errno

    return errno.errorcode[number]


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def ptrace(request, pid):
    LIBC.ptrace.restype = ctypes.c_long
    checked(LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None))


def attach(pid):
    ptrace(PTRACE_ATTACH, pid)
    os.waitpid(pid, 0)
    ptrace(PTRACE_DETACH, pid)


def read_file(path):
    with open(path, "rb", buffering=0) as file:
        file.read(1)


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def make_file(folder):
    path = f"{folder}/left-by-probe"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)


def connect(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)


def read_memory(pid):
    with open(f"/proc/{pid}/maps") as maps:
        start = int(maps.readline().partition("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        memory.read(1)


def open_memory(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def copy_memory(pid):
    """EFAULT is the answer to who may: the address is nobody's."""
    here = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(here), 8)
    remote = struct.pack("PN", 8, 8)
    try:
        checked(LIBC.syscall(SYS_PROCESS_VM_READV, ctypes.c_long(pid), local, ONE, remote, ONE, ZERO))
    except OSError as error:
        if _name(error.errno) != "EFAULT":
            raise


def take_descriptor(pid):
    handle = os.pidfd_open(pid)
    try:
        os.close(checked(LIBC.syscall(SYS_PIDFD_GETFD, ctypes.c_long(handle), ZERO, ZERO)))
    finally:
        os.close(handle)


def look_into(name, pid):
    """What nobody but root may do to a process, not even who has the same uid: it is not dumpable."""
    attempt(f"{name}: attach", attach, pid)
    attempt(f"{name}: seize", ptrace, PTRACE_SEIZE, pid)
    attempt(f"{name}: read memory", read_memory, pid)
    attempt(f"{name}: open memory", open_memory, pid)
    attempt(f"{name}: copy memory", copy_memory, pid)
    attempt(f"{name}: take a descriptor", take_descriptor, pid)
    attempt(f"{name}: environment", read_file, f"/proc/{pid}/environ")
    attempt(f"{name}: descriptors", os.listdir, f"/proc/{pid}/fd")
    attempt(f"{name}: a descriptor", read_link_of_first, pid)
    attempt(f"{name}: maps", read_file, f"/proc/{pid}/maps")
    attempt(f"{name}: folder", os.readlink, f"/proc/{pid}/cwd")
    attempt(f"{name}: root", os.listdir, os.path.join("/proc", str(pid), "root", ""))


def read_link_of_first(pid):
    os.readlink(f"/proc/{pid}/fd/0")


def press(name, pid, harmless):
    """What only the same uid and root may do to a process."""
    attempt(f"{name}: signal 0", os.kill, pid, 0)
    attempt(f"{name}: its place", os.sched_setaffinity, pid, os.sched_getaffinity(pid))
    attempt(f"{name}: its priority", os.setpriority, os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))
    if not harmless:
        attempt(f"{name}: KILL", os.kill, pid, signal.SIGKILL)
        attempt(f"{name}: TERM", os.kill, pid, signal.SIGTERM)
        attempt(f"{name}: STOP", os.kill, pid, signal.SIGSTOP)
        # Not every root may do this: it takes CAP_SYS_RESOURCE.
        attempt(f"{name}: its limits", resource.prlimit, pid, resource.RLIMIT_NOFILE)
        attempt(f"{name}: KILL through a handle", signal.pidfd_send_signal, os.pidfd_open(pid), signal.SIGKILL)


def own_worker(services):
    """The process between lspawn and us."""
    pid = os.getpid()
    while True:
        with open(f"/proc/{pid}/status") as file:
            parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
        if parent in services["lspawn"]:
            return pid
        pid = parent


def overwrite(flags, prepare=None):
    if prepare is not None:
        prepare()
    handle = os.open("/proc/self/fd/0", flags)
    try:
        os.write(handle, b"overwritten")
    finally:
        os.close(handle)


def map_and_write():
    with mmap.mmap(0, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE) as window:
        window[:5] = b"12345"


def own_message():
    attempt("message: write", os.write, 0, b"overwritten")
    attempt("message: reopen to write", overwrite, os.O_WRONLY)
    attempt("message: reopen to read and write", overwrite, os.O_RDWR)
    attempt("message: reopen to append", overwrite, os.O_WRONLY | os.O_APPEND)
    attempt("message: reopen to cut", overwrite, os.O_WRONLY | os.O_TRUNC)
    attempt("message: change its mode, then reopen", overwrite, os.O_WRONLY, lambda: os.fchmod(0, 0o666))
    attempt("message: cut", os.ftruncate, 0, 0)
    attempt("message: cut by its name", os.truncate, "/proc/self/fd/0", 0)
    attempt("message: punch a hole", os.posix_fallocate, 0, 1 << 20, 1 << 20)
    attempt("message: map and write", map_and_write)
    attempt("message: give it a name", lambda: os.link("/proc/self/fd/0", LINKED, follow_symlinks=True))


def own_rights(harmless):
    attempt("become root", os.setresuid, -1, 0, -1)
    attempt("become root for good", os.setuid, 0)
    attempt("become root's group", os.setresgid, -1, 0, -1)
    attempt("join root's group", os.setgroups, [0])
    attempt("change the root folder", os.chroot, "/")
    if not harmless:
        attempt("make a device", os.mknod, "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def main():
    with open(sys.argv[2]) as file:
        targets = json.load(file)
    harmless = sys.argv[3:] == ["harmless"]
    for path in targets["files"]:
        attempt(f"read {path}", read_file, path)
        attempt(f"write {path}", open_for_writing, path)
        if not harmless:
            attempt(f"remove {path}", os.unlink, path)
            attempt(f"rename {path}", os.rename, path, path + ".moved")
            attempt(f"link {path}", os.link, path, LINKED)
    for path in targets["folders"]:
        attempt(f"list {path}", os.listdir, path)
        attempt(f"write into {path}", make_file, path)
    for path in targets["closed to writers"]:
        attempt(f"write into {path}", make_file, path)
    for path in targets["sockets"]:
        attempt(f"connect to {path}", connect, path)
    for name, pids in targets["services"].items():
        for pid in pids:
            look_into(f"{name} {pid}", pid)
            press(f"{name} {pid}", pid, harmless)
    if not harmless:
        look_into("worker", own_worker(targets["services"]))
        before = os.pread(0, 1 << 30, 0)
        own_message()
        results["message changed"] = "no" if os.pread(0, 1 << 30, 0) == before else "yes"
    own_rights(harmless)
    for path in targets["open to all"]:
        attempt(f"allowed: connect to {path}", connect, path)
    for path in targets["open to writers"]:
        attempt(f"allowed: write into {path}", make_file, path)
    with open(sys.argv[1] + ".new", "w") as file:
        json.dump(results, file, indent=1)
    os.rename(sys.argv[1] + ".new", sys.argv[1])


main()
