"""Connecting to a host by TCP, and waiting for it, as the clients of ucspi-tcp do.

A host has a moment for each of its addresses, so that a dead one does not hold up the others; then those that did not answer in
time are tried again, with more patience. A host with one address has both times at once.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import errno
import os
import select
from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.net import naming
from quail.net.ucspi import Address, four, six
from quail.oserrors import words

_HERE = frozenset((b"", b"0"))
_LONGEST_WAIT = 1 << 20  # seconds: a dozen days

Report = Callable[[str], object]
"""Told of each address that can't be connected to: `unable to connect to IP port PORT: WORDS`."""


class Dialler:
    """How to connect. The defaults are those of tcpclient without options."""

    __slots__ = ("as_six", "four_only", "interface", "local_ip", "local_port", "patience", "report")

    def __init__(self, report: Report) -> None:
        """Report is called for every address that is given up."""
        self.report = report
        self.patience = (2, 58)  # seconds for each address, and for each of those that are tried again
        self.local_ip, self.local_port = "", 0  # "" and 0: the kernel chooses
        self.four_only = self.as_six = False
        self.interface = b""

    def dial(self, host: bytes, port: bytes) -> socket.socket | None:
        """A blocking connection, or None if there is none, which has been reported. TemporaryError, in the original's words."""
        place = naming.port(port)
        addresses = self._addresses(host)
        if len(addresses) == 1:
            rounds: tuple[int, ...] = (sum(self.patience),)
        else:
            rounds = self.patience
        for last, patience in enumerate(rounds, 1 - len(rounds)):
            late = []
            for ip in addresses:
                try:
                    return self._connect(ip, place, min(patience, _LONGEST_WAIT))
                except OSError as error:
                    if error.errno == errno.ETIMEDOUT and last:
                        late.append(ip)
                    else:
                        self.report(f"unable to connect to {self.shown(ip)} port {place}: {words(error)}")
            addresses = late
        return None

    def shown(self, ip: str) -> str:
        """An address as it is told to people and programs."""
        return six(ip) if self.as_six else four(ip)

    def _addresses(self, host: bytes) -> list[str]:
        if host in _HERE:
            return ["::1" if self.as_six and not self.four_only else "127.0.0.1"]
        return naming.addresses(host, want_ipv6=not self.four_only)

    def _connect(self, ip: str, port: int, patience: int) -> socket.socket:
        """OSError for this address, TemporaryError for all of them."""
        address, family = self._place(ip, port)
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise TemporaryError(f"unable to create socket: {words(error)}") from error
        try:
            self._bind(made)
            _finish(made, address, patience)
            made.setblocking(True)
        except BaseException:
            made.close()
            raise
        return made

    def _place(self, ip: str, port: int) -> tuple[Address, int]:
        """What connect() takes, and its family. OSError if the local address is of another."""
        ip = four(ip) if "%" not in ip else ip
        if ":" not in ip:
            if ":" in self.local_ip:
                raise OSError(errno.ENETUNREACH, "connect")
            return (ip, port), socket.AF_INET
        if self.four_only or (self.local_ip and ":" not in self.local_ip):
            raise OSError(errno.EAFNOSUPPORT, "connect")
        bare, _, scope = ip.partition("%")
        return (bare, port, 0, naming.interface(self.interface or os.fsencode(scope))), socket.AF_INET6

    def _bind(self, made: socket.socket) -> None:
        if not self.local_ip and not self.local_port:
            return
        try:
            if made.family == socket.AF_INET:
                made.bind((self.local_ip, self.local_port))
            else:
                made.bind((self.local_ip, self.local_port, 0, naming.interface(self.interface)))
        except OSError as error:
            raise TemporaryError(f"unable to bind socket: {words(error)}") from error


def _finish(made: socket.socket, address: Address, patience: int) -> None:
    """Connect, in so many seconds. OSError."""
    try:
        made.connect(address)
    except BlockingIOError:
        poll = select.poll()
        poll.register(made.fileno(), select.POLLOUT)
        if not poll.poll(patience * 1000):
            raise OSError(errno.ETIMEDOUT, "connect") from None
        code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect") from None
