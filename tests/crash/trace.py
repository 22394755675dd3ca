"""A recorded run of real processes, as steps on a simulated disk: what strace has seen, not what the code believes it does.

A change counts from the moment its call begins, a sync only when it ends, and only for what was there when it began. What the
processes told others (a reply, a log line) counts from the beginning of the call that said it.
"""

import os
import re
from collections.abc import Callable, Iterator

from tests.crash.simcuts import SECTOR
from tests.crash.simdisk import SimDisk
from tests.crash.simnodes import Directory, File, Node, Version

_CALLS = (
    "openat,open,creat,close,write,pwrite64,pwritev,pwritev2,writev,sendto,sendmsg,ftruncate,truncate,fallocate,lseek,"
    "fsync,fdatasync,syncfs,sync,sync_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,chdir,fchdir,copy_file_range,sendfile,splice"
)
_DATA = 1 << 20  # bytes of a buffer that strace writes down: more than any call here has
_NOT_WATCHED = ("run", "bin")  # sockets, and programs, made anew at each start
_UNKNOWN = {"truncate", "fallocate", "symlink", "symlinkat", "copy_file_range", "splice", "sync", "sync_file_range"}

_LINE = re.compile(rb"(\d+) +(.*)", re.DOTALL)
_RESUMED = re.compile(rb"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_CALL = re.compile(rb"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(rb"(AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>")
_UNFINISHED = b" <unfinished ...>"


def strace(output: str) -> list[str]:
    """The words in front of a command."""
    return [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-xx",
        "-v",
        "-s",
        str(_DATA),
        "-e",
        f"trace={_CALLS}",
        "-e",
        "signal=none",
        "-o",
        output,
    ]


def _plain(hexadecimal: bytes) -> bytes:
    return bytes.fromhex(hexadecimal.replace(b"\\x", b"").decode())


class Call:
    """One call that succeeded. `start` and `end` are line numbers."""

    def __init__(
        self, name: str, arguments: bytes, result: int, tail: bytes, thread: int, start: int, end: int
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.result = result
        self.thread = thread
        self.start = start
        self.end = end
        self._tail = tail

    def strings(self) -> list[bytes]:
        return [_plain(found) for found in _STRING.findall(self.arguments)]

    def descriptors(self) -> list[str]:
        """Paths behind the descriptors among the arguments."""
        return [os.fsdecode(_plain(path)) for _, path in _DESCRIPTOR.findall(self.arguments)]

    def opened(self) -> str:
        """Path behind the descriptor that was returned."""
        found = _DESCRIPTOR.match(b"%d%b" % (self.result, self._tail))
        return os.fsdecode(_plain(found[2])) if found else ""

    def numbers(self) -> list[int]:
        """Arguments that are numbers alone."""
        return [int(word) for word in re.findall(rb"(?:^|, )(\d+)(?=,|$)", self.arguments)]

    def working_directory(self) -> str | None:
        for word, path in _DESCRIPTOR.findall(self.arguments):
            if word == b"AT_FDCWD":
                return os.fsdecode(_plain(path))
        return None


def calls(path: str) -> Iterator[Call]:
    """Calls that succeeded, in the order of their ends."""
    unfinished: dict[int, tuple[int, bytes]] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            match = _LINE.match(line.rstrip(b"\n"))
            if match is None:
                continue
            thread, text = int(match[1]), match[2]
            if text.endswith(_UNFINISHED):
                unfinished[thread] = (number, text.removesuffix(_UNFINISHED))
                continue
            start = number
            if (resumed := _RESUMED.match(text)) is not None:
                start, head = unfinished.pop(thread)
                text = head + resumed[2]
            found = _CALL.match(text)
            if found is not None and found[3] != b"?" and int(found[3]) >= 0:
                yield Call(found[1].decode(), found[2], int(found[3]), found[4], thread, start, number)


class Replay:
    """Steps through a recording on `disk`, which starts as a durable copy of `home` before the recorded run.

    `said` gets every piece of data that the processes have written to anything but files of the home.
    """

    def __init__(self, home: str, disk: SimDisk, said: Callable[[bytes], None]) -> None:
        self.home = home
        self.disk = disk
        self._said = said
        self._directories: dict[int, str] = {}  # working directory of each thread, when it differs from home
        self._offsets: dict[str, int] = {}
        self._pictures: dict[Call, list[tuple[Node, object]]] = {}
        self.counts: dict[str, int] = {}
        self.ignored: set[str] = set()  # syncs that are taken for never called

    def steps(self, recording: str) -> Iterator[str]:
        """Apply step after step; after each one the disk and what was said are as they were then. Yield its name."""
        events: list[tuple[int, int, Call]] = []
        for call in calls(recording):
            events.append((call.start, 0, call))
            if call.name in ("fsync", "fdatasync", "syncfs"):
                events.append((call.end, 1, call))
        for _, is_end, call in sorted(events, key=lambda event: event[:2]):
            self._directories[call.thread] = call.working_directory() or self._directories.get(call.thread, self.home)
            if self._end_sync(call) if is_end else self._begin(call):
                self.counts[call.name] = self.counts.get(call.name, 0) + (1 - is_end)
                yield call.name

    def _inside(self, path: str, thread: int) -> str | None:
        """The path below the home, of what holds mail or says what becomes of it."""
        path = os.path.normpath(os.path.join(self._directories.get(thread, self.home), path))
        if not path.startswith(self.home + "/"):
            return None
        inside = path[len(self.home) + 1 :]
        return None if inside.split("/")[0] in _NOT_WATCHED else inside

    def _begin(self, call: Call) -> bool:
        """True if the step has changed anything that matters."""
        if call.name in ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg"):
            return self._write(call)
        if call.name in ("open", "openat", "creat"):
            return self._open(call)
        if call.name == "chdir":
            self._directories[call.thread] = os.path.join(
                self._directories.get(call.thread, self.home), os.fsdecode(call.strings()[0])
            )
            return False
        if call.name == "fchdir":
            self._directories[call.thread] = call.descriptors()[0]
            return False
        if call.name in ("fsync", "fdatasync", "syncfs", "ftruncate", "lseek", "sendfile"):
            return self._on_descriptor(call)
        if call.name == "close":
            return False
        return self._on_paths(call)

    def _write(self, call: Call) -> bool:
        data = b"".join(call.strings())[: call.result]
        path = (call.descriptors() or [""])[0]
        inside = self._inside(path, call.thread) if path.startswith("/") else None
        if inside is None:
            if not path.startswith(self.home):
                assert len(data) == call.result or call.name == "sendmsg", f"strace has cut off data of {call.name}"
                self._said(data)
            return bool(data)
        assert len(data) == call.result, f"strace has cut off data of {call.name} to {inside}"
        node = self._node(inside)
        if not isinstance(node, File):
            return False  # removed meanwhile
        if call.name.startswith("p"):
            offset = call.numbers()[-2 if call.name == "pwritev2" else -1]
        else:
            offset = self._offsets[inside]
            self._offsets[inside] = offset + len(data)
        node.write(data, offset)
        return True

    def _node(self, inside: str) -> Node | None:
        try:
            return self.disk._find(inside)
        except FileNotFoundError:
            return None

    def _open(self, call: Call) -> bool:
        inside = self._inside(call.opened(), call.thread)
        if inside is None or not re.search(rb"O_WRONLY|O_RDWR|O_CREAT", call.arguments):
            return False
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if b"O_TRUNC" in call.arguments else 0)
        assert b"O_CREAT" in call.arguments or self._node(inside) is not None, f"{inside} comes from nowhere"
        self.disk.close(self.disk.open(inside, flags, 0o600))
        self._offsets[inside] = self.disk.stat(inside).st_size if b"O_APPEND" in call.arguments else 0
        return True

    def _on_descriptor(self, call: Call) -> bool:
        inside = self._inside(call.descriptors()[0], call.thread)
        if call.name == "syncfs":
            self._pictures[call] = [(node, picture(node)) for node in self.disk.nodes()]
            return True
        node = self._node(inside) if inside is not None else None
        if node is None:
            return False
        assert call.name in ("ftruncate", "fsync", "fdatasync"), f"{call.name} of {inside} is not imitated"
        if call.name == "ftruncate":
            assert isinstance(node, File)
            node.truncate(call.numbers()[-1])
        else:
            self._pictures[call] = [(node, picture(node))]
        return True

    def _end_sync(self, call: Call) -> bool:
        pictures = self._pictures.pop(call, [])
        if call.name in self.ignored:
            return False
        for node, before in pictures:
            synced_as_of(node, before)
        return bool(pictures)

    def _on_paths(self, call: Call) -> bool:
        paths = [self._inside(os.fsdecode(path), call.thread) for path in call.strings()]
        if not any(paths):
            return False
        assert call.name not in _UNKNOWN, f"{call.name} of {paths} is not imitated"
        assert None not in paths, f"{call.name} of {paths}: out of the home, or into it"
        name = {"renameat": "rename", "renameat2": "rename", "linkat": "link", "mkdirat": "mkdir"}.get(
            call.name, call.name
        )
        if name == "unlinkat":
            name = "rmdir" if b"AT_REMOVEDIR" in call.arguments else "unlink"
        getattr(self.disk, name)(*paths)
        return True


def picture(node: Node) -> object:
    """What the node is now, for synced_as_of."""
    if isinstance(node, Directory):
        return dict(node.names)
    return len(node.data), node.epoch, {index: versions[-1] for index, versions in node.sectors.items()}


def synced_as_of(node: Node, before: object) -> None:
    """A sync that began when the node was as in the picture has ended: what was changed since is not covered."""
    if isinstance(node, Directory):
        assert isinstance(before, dict)
        for name in list(node.pending):
            if before.get(name) is node.names.get(name):
                del node.pending[name]
            else:
                node.pending[name] = [before.get(name), node.names.get(name)]
        return
    assert isinstance(before, tuple)
    size, epoch, sectors = before
    node.sizes = list(dict.fromkeys([(size, epoch), (len(node.data), node.epoch)]))
    for index, version in sectors.items():
        versions = node.sectors.get(index, [])
        if version not in versions:
            continue  # another sync has covered it, and more
        later = versions[versions.index(version) + 1 :]
        if later:
            node.sectors[index] = [Version(version.data, -1, cut=False), *later]
        else:
            del node.sectors[index]


def load(home: str) -> SimDisk:
    """A disk with the home's files on it, all durable."""
    disk = SimDisk()
    for folder, folders, files in os.walk(home):
        inside = os.path.relpath(folder, home)
        if inside == "run":
            continue
        for name in folders:
            disk.mkdir(os.path.join(inside, name), 0o700)
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                fd = disk.open(os.path.join(inside, name), os.O_WRONLY | os.O_CREAT, os.stat(path).st_mode & 0o777)
                with open(path, "rb") as file:
                    disk.write(fd, file.read())
                disk.close(fd)
    disk.syncfs(disk.open(".", os.O_RDONLY | os.O_DIRECTORY))
    return disk


def save(disk: SimDisk, home: str) -> None:
    """Write the disk into an empty folder."""

    def put(node: Node, path: str) -> None:
        if isinstance(node, Directory):
            os.makedirs(path, 0o700, exist_ok=True)
            for name, child in node.names.items():
                put(child, f"{path}/{name}")
        else:
            with open(path, "wb") as file:
                file.write(node.data)
            os.chmod(path, node.mode & 0o777)

    put(disk.root, home)


__all__ = ["SECTOR", "Call", "Replay", "calls", "load", "picture", "save", "strace", "synced_as_of"]
