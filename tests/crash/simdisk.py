"""A disk in memory that forgets what a real one may forget. It stands in for storage/calls.py's SystemCalls.

What the crash model says (docs/decisions, "The queue on disk"): data is durable only after a successful sync of its file, a
name only after a sync of its directory. Until then, at a power cut, every 512-byte sector written since may be old, new or
of any version between, a size may be old or new, one sector in flight may be garbage, and each name of a directory may have
stopped at any of its own changes. A sync that fails may have written anything, and the system may take the pages for clean
from then on: later syncs succeed and do not write them. Only writing them again does.

Every call has a number, from 1. `fault(number, call, path)` may return a Fault for it. `watch(number, call, path)` is called
when a call is under way: after its effect on the page cache, before that of a sync. Both see a write in two halves, so that a
process killed inside it is seen too. `crash_states()` and `killed()` may be called there, and leave this disk as it is.
"""

import errno
import fcntl
import os
import random
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence

from tests.crash.simcuts import SECTOR, Chooser, Edge, Odometer
from tests.crash.simnodes import PAGE, Directory, File, Node

SYNCS = ("fsync", "fdatasync", "syncfs")


class PowerCut(BaseException):
    """The machine has stopped here. It is no Exception, so that nothing that handles errors catches it."""


class Fault:
    """What happens to one call: `cut` is a power cut in it, `errno` raises that error, `short` moves only `part` of its bytes.

    With `errno`, a write has stored `part` (0 to 1) of its data all the same. A sync that fails has either written nothing
    and tries again next time (`dirty`), or lost the pages, which the cache still shows (`drop`) or shows as they are on the
    disk (`revert`), or has in truth written everything (`done`).
    """

    __slots__ = ("errno", "kind", "part", "sync")

    def __init__(self, kind: str, number: int = 0, *, part: float = 0.0, sync: str = "drop") -> None:
        self.kind = kind
        self.errno = number
        self.part = part
        self.sync = sync

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, {errno.errorcode.get(self.errno, 0)}, part={self.part}, sync={self.sync!r})"


class _Handle:
    __slots__ = ("flags", "node", "path", "position")

    def __init__(self, node: Node, flags: int, path: str) -> None:
        self.node = node
        self.flags = flags
        self.path = path
        self.position = 0


def _error(number: int, path: str = "") -> OSError:
    return OSError(number, os.strerror(number), path)


class SimDisk:
    """The calls, with the signatures that Quail uses. Relative and absolute paths are the same here; there is no `..`."""

    def __init__(self, *, capacity: int = 1 << 40, rng: random.Random | None = None) -> None:
        """`capacity` is in bytes."""
        self.capacity = capacity
        self.rng = rng or random.Random(0)
        self.root = Directory(1, 0o755)
        self.inodes = 1
        self.log: list[str] = []
        self.now = 1_700_000_000
        self.dead = False
        self.fault: Callable[[int, str, str], Fault | None] | None = None
        self.watch: Callable[[int, str, str], None] | None = None
        self.handles: dict[int, _Handle] = {}
        self.locks: dict[int, int] = {}  # inode: descriptor
        self.next_fd = 1000

    # What a cut leaves

    def killed(self) -> "SimDisk":
        """This disk after every process was killed: the page cache has lost nothing, and nothing more is durable."""
        copies: dict[int, Node] = {}

        def copy(node: Node) -> Node:
            if node.inode not in copies:
                if isinstance(node, File):
                    copies[node.inode] = node.copy()
                else:
                    other = copies[node.inode] = Directory(node.inode, node.mode)
                    other.links = node.links
                    other.names = {name: copy(child) for name, child in node.names.items()}
                    other.pending = {
                        name: [None if child is None else copy(child) for child in versions]
                        for name, versions in node.pending.items()
                    }
                    other.dropped = set(node.dropped)
            return copies[node.inode]

        return self._reborn(copy(self.root))

    def after_cut(self, choose: Chooser) -> "SimDisk":
        """One disk that a power cut now may leave."""
        copies: dict[int, File] = {}

        def rebuild(node: Node) -> Node:
            if isinstance(node, File):
                if node.inode not in copies:
                    copies[node.inode] = node.after_cut(choose)
                return copies[node.inode]
            other = Directory(node.inode, node.mode)
            names = dict(node.names)
            for name, versions in sorted(node.pending.items()):
                names.pop(name, None)
                kept = versions[choose.pick(len(versions), "name", 0)]
                if kept is not None:
                    names[name] = kept
            for name, child in names.items():
                other.names[name] = rebuild(child)
                other.names[name].links += 1
            return other

        return self._reborn(rebuild(self.root))

    def crash_states(self, rng: random.Random, limit: int) -> Iterator["SimDisk"]:
        """Disks that a power cut now may leave: all of them if they are no more than `limit`, else that many samples."""
        if self.combinations(limit) <= limit:
            odometer = Odometer(rng)
            yield self.after_cut(odometer)
            while odometer.advance():
                yield self.after_cut(odometer)
            return
        dirty = [index for node in self.nodes() if isinstance(node, File) for index in node.sectors] or [0]
        for count in range(limit):
            kind = count if limit > 2 else rng.randrange(6)  # with room for them, the two extremes are always there
            garbage = rng.choice((0.0, 0.0, 0.05, 0.3))
            if kind == 0:
                choose = Chooser(rng, 1.0)
            elif kind == 1:
                choose = Chooser(rng, 0.0)
            elif kind % 3 == 0:
                choose = Edge(rng, rng.choice(dirty), before=rng.random() < 0.7, garbage=garbage)
            else:
                choose = Chooser(rng, rng.choice((0.03, 0.2, 0.5, 0.8, 0.97)), garbage=garbage)
            yield self.after_cut(choose)

    def combinations(self, limit: int) -> int:
        """How many different cuts there are at most; counting stops above `limit`."""
        total, sectors = 1, 0
        for node in self.nodes():
            if isinstance(node, File):
                counts = [len(versions) for versions in node.sectors.values()]
                if len(node.sizes) > 1 or counts:
                    counts.append(len(node.size_choices()))
                sectors += len(node.sectors.keys() - node.dropped)
            else:
                counts = [len(versions) for versions in node.pending.values()]
            for count in counts:
                total *= count
                if total > limit:
                    return total
        return total * (1 + sectors)

    def nodes(self) -> list[Node]:
        """Every file and directory that has, had or may have a name."""
        found: dict[int, Node] = {}
        waiting: list[Node | None] = [self.root]
        while waiting:
            node = waiting.pop()
            if node is not None and node.inode not in found:
                found[node.inode] = node
                if isinstance(node, Directory):
                    waiting.extend(node.names.values())
                    for versions in node.pending.values():
                        waiting.extend(versions)
        return list(found.values())

    def _reborn(self, root: Node) -> "SimDisk":
        assert isinstance(root, Directory)
        other = type(self)(capacity=self.capacity, rng=self.rng)
        other.root = root
        other.inodes = self.inodes
        other.now = self.now
        return other

    # The way into every call

    @property
    def number(self) -> int:
        """Of the call that is under way, or was last."""
        return len(self.log)

    def _enter(self, call: str, path: str) -> Fault | None:
        if self.dead:
            raise PowerCut
        self.log.append(call)
        fault = self.fault(self.number, call, path) if self.fault is not None else None
        if fault is not None and fault.kind == "errno" and call not in (*SYNCS, "write", "pwritev", "close"):
            raise _error(fault.errno, path)
        return fault

    def _seen(self, call: str, path: str, fault: Fault | None) -> None:
        if self.watch is not None:
            self.watch(self.number, call, path)
        if fault is not None and fault.kind == "cut":
            self.dead = True
            raise PowerCut

    def _parts(self, path: str) -> list[str]:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        assert ".." not in parts, path
        return parts

    def _find(self, path: str) -> Node:
        node: Node = self.root
        for part in self._parts(path):
            if not isinstance(node, Directory):
                raise _error(errno.ENOTDIR, path)
            if part not in node.names:
                raise _error(errno.ENOENT, path)
            node = node.names[part]
        if path.endswith(("/", "/.")) and not isinstance(node, Directory):
            raise _error(errno.ENOTDIR, path)
        return node

    def _parent(self, path: str) -> tuple[Directory, str]:
        *parts, name = self._parts(path)
        node = self._find("/".join(parts))
        if not isinstance(node, Directory):
            raise _error(errno.ENOTDIR, path)
        return node, name

    def _handle(self, fd: int) -> _Handle:
        if self.dead:
            raise PowerCut
        if fd not in self.handles:
            raise _error(errno.EBADF)
        return self.handles[fd]

    def _file(self, fd: int) -> tuple[_Handle, File]:
        handle = self._handle(fd)
        if not isinstance(handle.node, File):
            raise _error(errno.EISDIR, handle.path)
        return handle, handle.node

    # The calls

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        fault = self._enter("open", path)
        node: Node
        try:
            node = self._find(path)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            parent, name = self._parent(path)
            self.inodes += 1
            node = File(self.inodes, mode & 0o777)
            parent.put(name, node)
        else:
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise _error(errno.EEXIST, path)
        if isinstance(node, File):
            if flags & os.O_DIRECTORY:
                raise _error(errno.ENOTDIR, path)
            if flags & os.O_TRUNC:
                node.truncate(0)
        elif flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_CREAT:
            raise _error(errno.EISDIR, path)
        self._seen("open", path, fault)
        self.next_fd += 1
        self.handles[self.next_fd] = _Handle(node, flags, path)
        return self.next_fd

    def close(self, fd: int) -> None:
        handle = self._handle(fd)
        fault = self._enter("close", handle.path)
        del self.handles[fd]
        self.locks = {inode: owner for inode, owner in self.locks.items() if owner != fd}
        self._seen("close", handle.path, fault)
        if fault is not None and fault.kind == "errno":
            raise _error(fault.errno, handle.path)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        handle, node = self._file(fd)
        fault = self._enter("pread", handle.path)
        if handle.flags & os.O_ACCMODE == os.O_WRONLY:
            raise _error(errno.EBADF, handle.path)
        self._seen("pread", handle.path, fault)
        data = bytes(node.data[offset : offset + size])
        if fault is not None and fault.kind == "short" and len(data) > 1:
            data = data[: max(1, int(len(data) * fault.part))]
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        handle, node = self._file(fd)
        offset = len(node.data) if handle.flags & os.O_APPEND else handle.position
        size = self._store("write", handle, node, bytes(data), offset)
        handle.position = offset + size
        return size

    def pwritev(self, fd: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        handle, node = self._file(fd)
        if len(buffers) > os.sysconf("SC_IOV_MAX"):
            raise _error(errno.EINVAL, handle.path)
        at = len(node.data) if handle.flags & os.O_APPEND else offset  # as Linux does (pwrite(2), BUGS)
        return self._store("pwritev", handle, node, b"".join(buffers), at)

    def _store(self, call: str, handle: _Handle, node: File, data: bytes, offset: int) -> int:
        fault = self._enter(call, handle.path)
        if handle.flags & os.O_ACCMODE == os.O_RDONLY:
            raise _error(errno.EBADF, handle.path)
        room = self._room(node, offset, len(data))
        if data and room <= 0:
            raise _error(errno.ENOSPC, handle.path)
        data = data[:room]
        if fault is not None and fault.kind in ("errno", "short"):
            data = data[: max(int(len(data) * fault.part), int(fault.kind == "short"))]
        half = len(data) // 2 // SECTOR * SECTOR if self.watch is not None else 0
        if half:
            node.write(data[:half], offset)
            self._seen(call, handle.path, None)
        node.write(data[half:], offset + half)
        self._seen(call, handle.path, fault)
        if fault is not None and fault.kind == "errno":
            raise _error(fault.errno, handle.path)
        return len(data)

    def used(self) -> int:
        """Bytes in use, in whole pages; a name takes none."""
        return sum(
            -(-len(node.data) // PAGE) * PAGE for node in self.nodes() if isinstance(node, File) and node.links > 0
        )

    def _room(self, node: File, offset: int, size: int) -> int:
        if self.capacity >= 1 << 40:
            return size
        return max(0, self.capacity - self.used()) + -(-len(node.data) // PAGE) * PAGE - offset

    def ftruncate(self, fd: int, size: int) -> None:
        handle, node = self._file(fd)
        fault = self._enter("ftruncate", handle.path)
        if handle.flags & os.O_ACCMODE == os.O_RDONLY:
            raise _error(errno.EINVAL, handle.path)
        node.truncate(size)
        self._seen("ftruncate", handle.path, fault)

    def _sync(self, call: str, fd: int, nodes: Callable[[_Handle], list[Node]]) -> None:
        handle = self._handle(fd)
        fault = self._enter(call, handle.path)
        self._seen(call, handle.path, fault)
        for node in nodes(handle):
            if fault is not None and fault.kind == "errno":
                node.sync_failed(fault.sync, self.rng)
            else:
                node.synced()
        if fault is not None and fault.kind == "errno":
            raise _error(fault.errno, handle.path)

    def fsync(self, fd: int) -> None:
        self._sync("fsync", fd, lambda handle: [handle.node])

    def fdatasync(self, fd: int) -> None:
        self._sync("fdatasync", fd, lambda handle: [handle.node])

    def syncfs(self, fd: int) -> None:
        self._sync("syncfs", fd, lambda _: self.nodes())

    def rename(self, source: str, target: str) -> None:
        fault = self._enter("rename", source)
        node = self._find(source)
        old_parent, old_name = self._parent(source)
        parent, name = self._parent(target)
        there = parent.names.get(name)
        if isinstance(there, Directory) and (isinstance(node, File) or there.names):
            raise _error(errno.EISDIR if isinstance(node, File) else errno.ENOTEMPTY, target)
        if isinstance(there, File) and isinstance(node, Directory):
            raise _error(errno.ENOTDIR, target)
        if there is not node:
            parent.put(name, node)
            old_parent.put(old_name, None)
        self._seen("rename", source, fault)

    def link(self, source: str, target: str) -> None:
        fault = self._enter("link", source)
        node = self._find(source)
        parent, name = self._parent(target)
        if name in parent.names:
            raise _error(errno.EEXIST, target)
        if isinstance(node, Directory):
            raise _error(errno.EPERM, source)
        parent.put(name, node)
        self._seen("link", source, fault)

    def unlink(self, path: str) -> None:
        fault = self._enter("unlink", path)
        if isinstance(self._find(path), Directory):
            raise _error(errno.EISDIR, path)
        parent, name = self._parent(path)
        parent.put(name, None)
        self._seen("unlink", path, fault)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        fault = self._enter("mkdir", path)
        parent, name = self._parent(path)
        if name in parent.names:
            raise _error(errno.EEXIST, path)
        self.inodes += 1
        parent.put(name, Directory(self.inodes, mode))
        self._seen("mkdir", path, fault)

    def rmdir(self, path: str) -> None:
        fault = self._enter("rmdir", path)
        node = self._find(path)
        if not isinstance(node, Directory):
            raise _error(errno.ENOTDIR, path)
        if node.names:
            raise _error(errno.ENOTEMPTY, path)
        parent, name = self._parent(path)
        parent.put(name, None)
        self._seen("rmdir", path, fault)

    def listdir(self, path: str = ".") -> list[str]:
        fault = self._enter("listdir", path)
        node = self._find(path)
        if not isinstance(node, Directory):
            raise _error(errno.ENOTDIR, path)
        self._seen("listdir", path, fault)
        return sorted(
            node.names, key=lambda name: zlib.crc32(name.encode(), self.inodes)
        )  # in no order that could be relied on

    def _status(self, node: Node) -> os.stat_result:
        size = len(node.data) if isinstance(node, File) else PAGE
        return os.stat_result((node.mode, node.inode, 1, node.links, os.getuid(), os.getgid(), size, *[self.now] * 3))

    def stat(self, path: str) -> os.stat_result:
        fault = self._enter("stat", path)
        self._seen("stat", path, fault)
        return self._status(self._find(path))

    def fstat(self, fd: int) -> os.stat_result:
        handle = self._handle(fd)
        fault = self._enter("fstat", handle.path)
        self._seen("fstat", handle.path, fault)
        return self._status(handle.node)

    # The mode is durable at once, which the model leaves open; there is one uid on this disk.

    def fchmod(self, fd: int, mode: int) -> None:
        handle = self._handle(fd)
        fault = self._enter("fchmod", handle.path)
        handle.node.mode = stat.S_IFMT(handle.node.mode) | mode
        self._seen("fchmod", handle.path, fault)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        handle = self._handle(fd)
        fault = self._enter("fchown", handle.path)
        if {uid, gid} - {-1, os.getuid(), os.getgid()}:
            raise _error(errno.EPERM, handle.path)
        self._seen("fchown", handle.path, fault)

    def statvfs(self, path: str) -> os.statvfs_result:
        fault = self._enter("statvfs", path)
        self._seen("statvfs", path, fault)
        self._find(path)
        blocks, free = self.capacity // PAGE, max(0, self.capacity - self.used()) // PAGE
        return os.statvfs_result((PAGE, PAGE, blocks, free, free, 1 << 20, 1 << 20, 1 << 20, 0, 255))

    def flock(self, fd: int, operation: int) -> None:
        handle = self._handle(fd)
        fault = self._enter("flock", handle.path)
        if operation & fcntl.LOCK_UN:
            self.locks.pop(handle.node.inode, None)
        elif self.locks.setdefault(handle.node.inode, fd) != fd:
            assert operation & fcntl.LOCK_NB, "would wait for ever"
            raise _error(errno.EWOULDBLOCK, handle.path)
        self._seen("flock", handle.path, fault)
