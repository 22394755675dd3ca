"""What /etc/aliases becomes in a forwarding database (newaliases(1)). Pure; database.py has the format."""

from _collections_abc import Iterator

from quail.errors import PeerError
from quail.forwarding.addresses import Address, addresses
from quail.forwarding.database import LONGEST, OWNER, TARGET, Record, TooLongError
from quail.forwarding.lines import ForbiddenError, is_comment, logical_lines, shown, unreadable
from quail.message.addresslist import Hosts

_OWNER_PREFIX = b"owner-"


def records(data: bytes, hosts: Hosts) -> Iterator[Record]:
    """The records of all aliases, in their order: of each its owner's, if it is one, and its own.

    PeerError in newaliases' words, TooLongError among it.
    """
    for line in logical_lines(data):
        if is_comment(line):
            continue
        try:
            yield from _alias(line, hosts)
        except PeerError as error:
            raise unreadable(line, error) from error


def _alias(line: bytes, hosts: Hosts) -> Iterator[Record]:
    """Of a logical line. The address that stands first, and so is read last, is the alias itself."""
    instructions: list[bytes] = []
    target: Address | None = None
    for address in addresses(line, includes=True):
        instruction = _instruction(address)
        if instruction is not None:
            instructions.append(instruction)
            continue
        if target is not None:
            instructions.append(_recipient(target, hosts))
        target = address
    if target is None and not instructions:
        return
    if target is None or not instructions:
        raise PeerError("an alias for nothing")
    name = target.text if target.has_host else target.text + b"@"
    if name.startswith(_OWNER_PREFIX):
        yield OWNER + name[len(_OWNER_PREFIX) :].lower(), target.mailbox(hosts)
    yield TARGET + name.lower(), b"".join([text + b"\0" for text in instructions])


def _instruction(address: Address) -> bytes | None:
    """Of a file or a program; None for an address. ForbiddenError for what is neither."""
    text = address.text
    if address.included:
        if not text:
            raise ForbiddenError("empty :include: filenames not permitted")
        return (text if text[:1] in {b".", b"/"} else b"./" + text) + b".bin"
    if not text:
        raise ForbiddenError("empty recipient addresses not permitted")
    if not address.has_host:
        if text[:1] == b"/":
            raise ForbiddenError(f"file delivery {shown(text)} not supported")
        if text[:1] == b"|":
            return b"!" + text[1:]
    return None


def _recipient(address: Address, hosts: Hosts) -> bytes:
    mailbox = address.mailbox(hosts)
    if len(mailbox) > LONGEST:
        raise TooLongError
    return b"&" + mailbox
