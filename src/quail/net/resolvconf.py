"""Which name servers are asked, and how: resolv.conf(5), or control/nameservers instead.

Of resolv.conf count the lines `nameserver` and, in `options`, timeout, attempts, rotate and use-vc; whatever can't be read is
skipped, as other resolvers do. No search list is ever applied: a domain in an address is complete.
"""

import os
from _collections_abc import Callable

from quail.control.nameservers import DNS_PORT, Server, is_address, parse_nameservers
from quail.control.reader import Control, read_file

LOOPBACK = ("127.0.0.1", DNS_PORT)  # who is asked when no file names a server
_MOST_SERVERS = 16
_LARGEST = 1 << 16  # bytes of resolv.conf that are looked at
_LOOK_EVERY = 1.0  # seconds


class Configuration:
    """Servers in their order; timeout in seconds, of the first try; attempts, how often each server is tried."""

    __slots__ = ("attempts", "rotate", "servers", "timeout", "use_tcp")

    def __init__(
        self, servers: list[Server], *, timeout: int = 5, attempts: int = 2, rotate: bool = False, use_tcp: bool = False
    ) -> None:
        self.servers = servers or [LOOPBACK]
        self.timeout, self.attempts, self.rotate, self.use_tcp = timeout, attempts, rotate, use_tcp


def parse(data: bytes) -> Configuration:
    """The content of a resolv.conf; never fails."""
    found = Configuration([])
    servers: list[Server] = []
    for line in data.split(b"\n"):
        words = line.split()
        if len(words) < 2 or words[0][:1] in {b"#", b";"}:
            continue
        if words[0] == b"nameserver":
            address = words[1].decode("ascii", "replace")
            if is_address(address) and len(servers) < _MOST_SERVERS:
                servers.append((address, DNS_PORT))
        elif words[0] == b"options":
            for word in words[1:]:
                _option(found, word)
    found.servers = servers or [LOOPBACK]
    return found


def _option(found: Configuration, word: bytes) -> None:
    name, _, value = word.partition(b":")
    number = int(value[:6]) if value.isdigit() else 0
    if name == b"timeout" and number:
        found.timeout = min(number, 30)
    elif name == b"attempts" and number:
        found.attempts = min(number, 5)
    elif name == b"rotate":
        found.rotate = True
    elif name == b"use-vc":
        found.use_tcp = True


class ResolvConf:
    """The file, read again when it has become another; a look at it at most once a second."""

    __slots__ = ("_clock", "_configuration", "_known", "_next_look", "_path")

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._path = path
        self._clock = clock
        self._next_look = clock()
        self._known: tuple[int, int, int] | None = None
        self._configuration = Configuration([])

    def current(self) -> Configuration:
        """What it says now. A file that can't be read says nothing."""
        now = self._clock()
        if now < self._next_look:
            return self._configuration
        self._next_look = now + _LOOK_EVERY
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._known:
                with open(self._path, "rb") as file:
                    self._configuration = parse(file.read(_LARGEST))
                self._known = seen
        except OSError:
            self._known = None
            self._configuration = Configuration([])
        return self._configuration


def nameservers(control: Control) -> list[Server] | None:
    """What control/nameservers says. None, so that resolv.conf counts: no file or no line in it.

    ConfigError, and TemporaryError for a file that can't be read.
    """
    path = control.path("nameservers")
    return parse_nameservers(path, read_file(path) or b"") or None
