"""How much is done in each table, and what a peer is to it."""

from typing import NamedTuple, Protocol

from tests.root.box import Box, Guest

WARM_UP = 300  # messages, or as many as are measured if that is less
TRACED = 1000  # the same, for the run that counts syncs


class Sizes(NamedTuple):
    """The options of the same names."""

    messages: int
    sessions: int
    size: int
    users: int
    calls: int
    callers: tuple[int, ...]
    relayed: int
    recipients: int
    hosts: int
    lists: int
    connections: tuple[int, ...]


class Peer(Protocol):
    """A mail system that can be started in a box which sees the folders of `binds`."""

    name: str
    port: int
    folder: str
    binds: dict[str, str]

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest: ...

    def version(self, box: Box) -> str: ...
