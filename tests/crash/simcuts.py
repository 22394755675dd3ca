"""What a power cut leaves of everything that it may leave: one at random, near an edge, or each in turn."""

import random
from collections.abc import Sequence

SECTOR = 512


class Chooser:
    """Decides what a cut leaves. This one keeps each thing's newest version with probability `new`, or else any."""

    def __init__(self, rng: random.Random, new: float, *, garbage: float = 0.0) -> None:
        self.rng = rng
        self.new = new
        self.garbage = garbage

    def pick(self, count: int, kind: str, position: int) -> int:
        """Return which of `count` versions stays, 0 being the durable one; `position` is a sector's number."""
        if count == 1 or self.rng.random() < self.new:
            return count - 1
        return 0 if self.new in (0.0, 1.0) else self.rng.randrange(count)

    def in_flight(self, found: bytes, versions: Sequence[bytes]) -> bytes:
        """Damage at most one sector of the whole disk."""
        if self.garbage and self.rng.random() < self.garbage:
            self.garbage = 0.0
            return self.damage(versions)
        return found

    def damage(self, versions: Sequence[bytes]) -> bytes:
        torn = self.rng.randrange(1, SECTOR)
        return self.rng.choice(
            (self.rng.randbytes(SECTOR), versions[-1][:torn] + versions[0][torn:], bytes(SECTOR), b"\xff" * SECTOR)
        )


class Edge(Chooser):
    """Sectors before (or from) a certain one are new, the others old; sizes and names as they come."""

    def __init__(self, rng: random.Random, edge: int, *, before: bool, garbage: float) -> None:
        super().__init__(rng, rng.choice((0.0, 0.5, 1.0)), garbage=garbage)
        self.edge = edge
        self.before = before

    def pick(self, count: int, kind: str, position: int) -> int:
        if kind == "sector":
            return count - 1 if (position < self.edge) is self.before else 0
        if kind == "size":
            return count - 1
        return super().pick(count, kind, position)


class Odometer(Chooser):
    """Every combination in turn, garbage in each sector included."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, 0.0)
        self.digits: list[list[int]] = []
        self.at = 0

    def pick(self, count: int, kind: str, position: int) -> int:
        if self.at == len(self.digits):
            self.digits.append([0, count])
        self.at += 1
        return self.digits[self.at - 1][0]

    def in_flight(self, found: bytes, versions: Sequence[bytes]) -> bytes:
        if not self.garbage and self.pick(2, "garbage", 0):
            self.garbage = 1.0
            return self.damage(versions)
        return found

    def advance(self) -> bool:
        self.at, self.garbage = 0, 0.0
        while self.digits:
            self.digits[-1][0] += 1
            if self.digits[-1][0] < self.digits[-1][1]:
                return True
            self.digits.pop()
        return False
