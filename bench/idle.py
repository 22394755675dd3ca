"""The table of memory: all processes of a mail system of a machine, idle, and with connections that say nothing."""

import subprocess

from bench import load
from bench.calling import program
from bench.peer_postfix import CrowdedPostfix
from bench.peer_quail import CrowdedQuail
from bench.runs import Weight
from bench.sizes import Sizes
from tests.root.box import Box, BoxError

CROWDED: dict[str, type[CrowdedQuail] | type[CrowdedPostfix]] = {"quail": CrowdedQuail, "postfix": CrowdedPostfix}


class Idle:
    """Weighed when it has just been started, then with more and more connections."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name = name
        self._sizes = sizes

    def peer(self, name: str, folder: str) -> CrowdedQuail | CrowdedPostfix:
        return CROWDED[name](folder)

    def measure(self, peer: CrowdedQuail | CrowdedPostfix, box: Box) -> list[Weight]:
        load.settle(box)
        empty = load.memory_bytes(box)
        weights = [Weight(self.name, peer.name, 0, empty, empty)]
        weights += [
            Weight(f"{self.name} {count}", peer.name, count, self._crowd(peer, box, count), empty)
            for count in self._sizes.connections
            if count <= peer.most_connections
        ]
        return weights

    @staticmethod
    def _crowd(peer: CrowdedQuail | CrowdedPostfix, box: Box, count: int) -> int:
        """PSS of the mail system in bytes, with so many connections."""
        words = [*program(peer, "idler"), str(peer.port), str(count)]
        pipe = subprocess.PIPE
        with box.popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as idler:
            assert idler.stdout is not None
            assert idler.stderr is not None
            if not idler.stdout.readline():
                raise BoxError(f"{peer.name} takes no {count} connections: {idler.stderr.read()}")
            load.settle(box)
            weight = load.memory_bytes(box, [idler.guest_pid or 0])
        load.settle(box)
        return weight
