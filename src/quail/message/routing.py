"""Where a recipient goes: percenthack, locals and virtualdomains (qmail-send(8)).

Each recipient of a message is rewritten once, when the queue accepts it. Keys are compared without regard to ASCII case;
the address keeps its own.
"""

from _collections_abc import Iterable, Mapping

from quail.message.address import split

LOCAL = b"local"
REMOTE = b"remote"


class Routes:
    """One state of the control files. Not changed after it is made: a re-read makes another."""

    __slots__ = ("_envnoathost", "_locals", "_percenthack", "_virtual")

    def __init__(
        self,
        locals_: Iterable[bytes],
        virtualdomains: Mapping[bytes, bytes],
        percenthack: Iterable[bytes],
        envnoathost: bytes,
    ) -> None:
        """`virtualdomains` maps `user@host`, `host`, `.suffix` or the empty key to what is put before the address."""
        self._locals = frozenset(name.lower() for name in locals_)
        self._virtual = {key.lower(): prepend for key, prepend in virtualdomains.items()}
        self._percenthack = frozenset(name.lower() for name in percenthack)
        self._envnoathost = envnoathost

    def route(self, recipient: bytes) -> tuple[bytes, bytes]:
        """(LOCAL or REMOTE, the rewritten address, which always has an "@")."""
        if b"@" not in recipient:
            recipient = recipient + b"@" + self._envnoathost
        local, host = split(recipient)
        while self._percenthack and b"%" in local and host.lower() in self._percenthack:
            box, _, domain = local.rpartition(b"%")
            recipient = box + b"@" + domain
            local, host = split(recipient)
        if host.lower() in self._locals:
            return LOCAL, recipient
        prepend = self._virtual.get(recipient.lower()) if self._virtual else None
        if prepend is None:
            prepend = self._virtual_domain(host)
        if prepend:
            return LOCAL, prepend + b"-" + recipient
        return REMOTE, recipient  # an empty prepend is an exception within a wider entry

    def strip_prepend(self, address: bytes) -> bytes:
        """The address as its sender knows it, for a bounce: without what the entry for its domain put before it.

        What an entry for the whole address has put there stays visible, as in qmail.
        """
        _, host = split(address)
        if host.lower() in self._locals:
            return address
        prepend = self._virtual_domain(host)
        return address.removeprefix(prepend + b"-") if prepend else address

    def _virtual_domain(self, host: bytes) -> bytes | None:
        """The entry for the host, else for its longest suffix that starts at a dot, else the entry for everything."""
        if not self._virtual:
            return None
        host = host.lower()
        at = 0
        while at >= 0:
            prepend = self._virtual.get(host[at:])
            if prepend is not None:
                return prepend
            at = host.find(b".", at + 1)
        return self._virtual.get(b"")
