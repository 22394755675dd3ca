"""What a .forward file says (dot-forward(1)). Pure."""

from _collections_abc import Iterator

from quail.errors import PeerError
from quail.forwarding.addresses import Address, addresses
from quail.forwarding.lines import ForbiddenError, is_comment, lines, shown, unreadable
from quail.message.addresslist import Hosts

FORWARD, PROGRAM, DIRECT = range(3)
Instruction = tuple[int, bytes]
"""FORWARD and an address, PROGRAM and a command for the shell, or DIRECT, which is to the mailbox itself, and nothing."""


def instructions(data: bytes, *, user: bytes, host: bytes, hosts: Hosts) -> Iterator[Instruction]:
    """What the file's lines say, one line after another, each from its end to its start.

    user and host are the mailbox's own: an address that is written as user or user@host, in any letter case, is the mailbox.
    PeerError in dot-forward's words, perhaps after some of it.
    """
    own = user.lower(), (user + b"@" + host).lower()
    for line in lines(data):
        if is_comment(line):
            continue
        try:
            for address in addresses(line.removesuffix(b"\n"), includes=False):
                if address.text:
                    yield _instruction(address, own, hosts)
        except PeerError as error:
            raise unreadable(line, error) from error


def _instruction(address: Address, own: tuple[bytes, bytes], hosts: Hosts) -> Instruction:
    if not address.has_host:
        first = address.text[:1]
        if first == b"/":
            raise ForbiddenError(f"file delivery {shown(address.text)} not supported")
        if first == b"|":
            return PROGRAM, address.text[1:]
    if address.text.lower() == own[address.has_host]:
        return DIRECT, b""
    return FORWARD, address.mailbox(hosts)
