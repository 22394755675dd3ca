"""Mailing lists for fastforward: binary files of entries `&ADDRESS` or a path of another such file, which begins with . or /,
each with a zero byte behind it. setmaillist makes one of lines, newinclude of an :include: file (newinclude(1)). Pure.
"""

from _collections_abc import Callable, Iterator

from quail.errors import PeerError
from quail.forwarding.addresses import Address, addresses
from quail.forwarding.lines import ForbiddenError, is_comment, lines, shown, unreadable
from quail.message.addresslist import Hosts

_LONGEST = 800  # bytes of an address as it is written, an & before it among them
_PATHS = (b".", b"/")
_BAD = "bad mailing list format"


def of_lines(data: bytes) -> Iterator[bytes]:
    """Entries of the list that setmaillist reads. PeerError, in its words."""
    for line in data.split(b"\n"):
        if b"\0" in line:
            raise PeerError("NUL in input")
        text = line.rstrip(b" \t")
        if not text or is_comment(text):
            continue
        if text[:1] in _PATHS:
            yield text + b"\0"
        else:
            yield _entry(text, text.removeprefix(b"&"))


def _entry(written: bytes, address: bytes) -> bytes:
    if len(written) > _LONGEST:
        raise ForbiddenError("addresses must be under 800 bytes")
    return b"&%b\0" % address


def of_include(data: bytes, hosts: Hosts) -> Iterator[bytes]:
    """Entries of an :include: file. PeerError, in newinclude's words, perhaps after some."""
    for line in lines(data):
        if is_comment(line):
            continue
        try:
            for address in addresses(line, includes=True):
                if address.included or address.text:
                    yield _of_address(address, hosts)
        except PeerError as error:
            raise unreadable(line, error) from error


def _of_address(address: Address, hosts: Hosts) -> bytes:
    text = address.text
    if address.included:
        if not text:
            raise ForbiddenError("empty :include: filenames not permitted")
        return (text if text[:1] in _PATHS else b"./" + text) + b"\0"
    if not address.has_host:
        if text[:1] == b"/":
            raise ForbiddenError(f"file delivery {shown(text)} not supported")
        if text[:1] == b"|":
            raise ForbiddenError(f"program delivery {shown(text)} not supported")
    mailbox = address.mailbox(hosts)
    return _entry(mailbox, mailbox)


def printed(read: Callable[[], bytes]) -> Iterator[bytes]:
    """The lines of a list that `read` gives in pieces, none at the end. PeerError, perhaps after some, if it is no list."""
    begun: list[bytes] = []  # the entry at hand
    while piece := read():
        first, *others = piece.split(b"\0")
        begun.append(first)
        if not others:
            continue
        entries = [b"".join(begun), *others[:-1]]
        begun = [others[-1]] if others[-1] else []
        if any(entry[:1] not in {b"&", *_PATHS} or b"\n" in entry for entry in entries):
            raise PeerError(_BAD)
        yield b"".join([entry + b"\n" for entry in entries])
    if begun:
        raise PeerError(_BAD)
