"""Mail that the programs for dot-qmail files send: forward, condredirect, qreceipt. qmail-command(8) has their environment."""

import os
from _collections_abc import Iterable, Iterator

from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words
from quail.queue.submit import submit

_READ_SIZE = 1 << 16


def variable(name: str) -> bytes:
    """What qmail-local has set for us; PermanentError if somebody else has called us."""
    value = os.environb.get(name.encode())
    if value is None:
        raise PermanentError(f"{name} not set")
    return value


def message(prefix: bytes) -> Iterator[bytes]:
    """The prefix, and then descriptor 0 to its end. TemporaryError if it can't be read."""
    yield prefix
    try:
        while data := os.read(0, _READ_SIZE):
            yield data
    except OSError as error:
        raise TemporaryError(f"unable to read message: {words(error)}") from error


def queue(sender: bytes, recipients: list[bytes], chunks: Iterable[bytes], *, home: str) -> str:
    """Give it to the queue; the number it has there. PermanentError or TemporaryError, with the queue's words, if not."""
    reply = submit(sender, recipients, chunks, home=os.path.abspath(home))
    text = os.fsdecode(reply.text)
    if reply.letter == b"K":
        return text
    raise (PermanentError if reply.letter == b"D" else TemporaryError)(text)
