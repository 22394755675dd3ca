"""Forwarding databases: constant databases that setforward and newaliases make, and fastforward follows (setforward(1)).

    :TARGET     instructions, each with a zero byte behind it: &ADDRESS, |COMMAND, !COMMAND (with qmail-local's three lines
                before the message), or the path of a binary mailing list, which begins with . or /
    ?TARGET     the address that bounces of what is forwarded for TARGET go to; nothing behind it

A TARGET is user@host, @host for all of a host's, or user@ for one at all hosts, in lower case.
"""

from _collections_abc import Callable

from quail.forwarding.lines import ForbiddenError

TARGET, OWNER = b":", b"?"
LONGEST = 800  # bytes of an address, for those who write
READ = 899  # bytes of an instruction with an address, for those who read: a longer one does not count
Record = tuple[bytes, bytes]


class TooLongError(ForbiddenError):
    """An address over LONGEST bytes."""

    def __init__(self) -> None:
        super().__init__("addresses over 800 bytes are not permitted")


def find(get: Callable[[bytes], bytes | None], kind: bytes, address: bytes, *, wildcards: bool = False) -> bytes | None:
    """What a database, by its `get`, says of an address as a whole or, with wildcards, else of its host, else of its user."""
    key = address.lower()
    data = get(kind + key)
    if data is not None or not wildcards:
        return data
    user, at, host = key.rpartition(b"@")
    if not at:
        return None
    data = get(kind + b"@" + host)
    return get(kind + user + b"@") if data is None else data
