"""Files and directories of the simulated disk: what programs see, and what may be on the disk (simdisk.py has the model)."""

import random
import stat
from itertools import pairwise

from tests.crash.simcuts import SECTOR, Chooser

PAGE = 4096


class Version:
    """What a sector may hold. `epoch` counts the file's truncations; `cut` says that this one is a truncation's zeros."""

    __slots__ = ("cut", "data", "epoch")

    def __init__(self, data: bytes, epoch: int, *, cut: bool) -> None:
        self.data = data
        self.epoch = epoch
        self.cut = cut


class File:
    """`data` is the page cache. `sectors` holds, for each sector that may differ on the disk, what may be there, oldest first;
    `sizes` likewise, with their epochs. What is in `dropped` (-1 is the size) is written by no sync until it changes again.
    """

    def __init__(self, inode: int, mode: int) -> None:
        self.inode = inode
        self.mode = stat.S_IFREG | mode
        self.links = 0
        self.data = bytearray()
        self.shared = False
        self.epoch = 0
        self.sizes = [(0, 0)]
        self.sectors: dict[int, list[Version]] = {}
        self.dropped: set[int] = set()

    def _own(self) -> None:
        if self.shared:
            self.data = bytearray(self.data)
            self.shared = False

    def _sector(self, index: int) -> bytes:
        return bytes(self.data[index * SECTOR : (index + 1) * SECTOR]).ljust(SECTOR, b"\0")

    def _remember(self, touched: range, first_cut: int | None = None) -> None:
        """Note the sectors' present bytes as one more version; those from `first_cut` on were cut off."""
        for index in touched:
            cut = first_cut is not None and index >= first_cut
            self.sectors[index].append(Version(self._sector(index), self.epoch, cut=cut))

    def _remember_first(self, touched: range) -> None:
        """Note what the disk has, before the first change since it was synced."""
        for index in touched:
            if index not in self.sectors:
                self.sectors[index] = [Version(self._sector(index), -1, cut=False)]

    def _resize(self, size: int) -> None:
        self.data.extend(bytes(size - len(self.data)))
        self.sizes.append((size, self.epoch))

    def write(self, data: bytes, offset: int) -> None:
        if not data:
            return
        self._own()
        stop = offset + len(data)
        touched = range(offset // SECTOR, (stop + SECTOR - 1) // SECTOR)
        self._remember_first(touched)
        if stop > len(self.data):
            self._resize(stop)
        self.data[offset:stop] = data
        self._remember(touched)
        self.dropped.difference_update(touched, (-1,))

    def truncate(self, size: int) -> None:
        if size > len(self.data):
            self._own()
            self._resize(size)
        elif size < len(self.data):
            self._own()
            touched = range(size // SECTOR, (len(self.data) + SECTOR - 1) // SECTOR)
            self._remember_first(touched)
            del self.data[size:]
            self.epoch += 1
            self.sizes.append((size, self.epoch))
            self._remember(touched, (size + SECTOR - 1) // SECTOR)
            self.dropped.difference_update(touched)
        self.dropped.discard(-1)

    def versions(self, index: int, epoch: int) -> list[bytes]:
        """What the sector may hold if the file's size on the disk is of that epoch."""
        found: list[bytes] = []
        for version in self.sectors[index]:
            if version.epoch > epoch:
                break
            if version.cut:
                found.clear()
            found.append(version.data)
        return found

    def synced(self) -> None:
        if -1 not in self.dropped:
            self.sizes = [(len(self.data), self.epoch)]
        self.sectors = {index: versions for index, versions in self.sectors.items() if index in self.dropped}

    def sync_failed(self, how: str, rng: random.Random) -> None:
        if how == "done":
            self.synced()
        elif how == "revert":
            self._own()
            for index in sorted(self.sectors):
                room = max(0, len(self.data) - index * SECTOR)
                self.data[index * SECTOR : (index + 1) * SECTOR] = rng.choice(self.versions(index, self.epoch))[:room]
            self.sectors.clear()
        elif how == "drop":
            self.dropped.update(self.sectors)
        if how in ("drop", "revert") and len(self.sizes) > 1:
            self.dropped.add(-1)

    def size_choices(self) -> list[tuple[int, int]]:
        """Every size that the file may have after a cut, and its epoch: page boundaries that a write crossed are among them."""
        found = dict.fromkeys(self.sizes[:1])
        for (low, _), (high, epoch) in pairwise(self.sizes):
            found.update(((page, epoch), None) for page in range(low + PAGE - low % PAGE, high, PAGE))
            found[high, epoch] = None
        return list(found)

    def copy(self) -> "File":
        """Share the bytes until one of the two writes."""
        other = File(self.inode, self.mode)
        other.links = self.links
        self.shared = other.shared = True
        other.data = self.data
        other.epoch = self.epoch
        other.sizes = list(self.sizes)
        other.sectors = {index: list(versions) for index, versions in self.sectors.items()}
        other.dropped = set(self.dropped)
        return other

    def after_cut(self, choose: Chooser) -> "File":
        other = File(self.inode, self.mode)
        if not self.sectors and len(self.sizes) == 1:
            self.shared = other.shared = True
            other.data = self.data
            other.sizes = [(len(self.data), 0)]
            return other
        sizes = self.size_choices()
        size, epoch = sizes[choose.pick(len(sizes), "size", 0)]
        data = bytearray(self.data[:size])
        data.extend(bytes(size - len(data)))
        for index in sorted(self.sectors):
            if index * SECTOR < size:
                versions = self.versions(index, epoch)
                found = versions[choose.pick(len(versions), "sector", index)]
                if index not in self.dropped and len(versions) > 1:  # else it is not being written
                    found = choose.in_flight(found, versions)
                data[index * SECTOR : (index + 1) * SECTOR] = found[: size - index * SECTOR]
        other.data = data
        other.sizes = [(size, 0)]
        return other


class Directory:
    """`names` is what programs see; `pending` holds, for each name that may differ on the disk, what it may be."""

    def __init__(self, inode: int, mode: int) -> None:
        self.inode = inode
        self.mode = stat.S_IFDIR | mode
        self.links = 0
        self.names: dict[str, Node] = {}
        self.pending: dict[str, list[Node | None]] = {}
        self.dropped: set[str] = set()

    def put(self, name: str, node: "Node | None") -> None:
        self.pending.setdefault(name, [self.names.get(name)]).append(node)
        self.dropped.discard(name)
        old = self.names.pop(name, None)
        if old is not None:
            old.links -= 1
        if node is not None:
            self.names[name] = node
            node.links += 1

    def synced(self) -> None:
        self.pending = {name: versions for name, versions in self.pending.items() if name in self.dropped}

    def sync_failed(self, how: str, _rng: random.Random) -> None:
        if how == "done":
            self.synced()
        elif how != "dirty":
            self.dropped.update(self.pending)


Node = File | Directory
