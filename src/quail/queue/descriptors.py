"""What qmail-queue and whatever stands in for it are given: the message on descriptor 0, the envelope on descriptor 1.

Imported by programs that run once per message: keep it lean.
"""

import os
from _collections_abc import Iterator

from quail.queue import exits
from quail.queue.handover import MAX_ADDRESS, MAX_ENVELOPE
from quail.storage.spool import PIECE, Spool


class FailedError(Exception):
    """Ends the program with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def read_message() -> Spool:
    """All of descriptor 0, which is read to its end before anything else. FailedError."""
    spool = Spool(_message())
    try:
        spool.fill()
    except OSError as error:
        raise FailedError(exits.WRITE_ERROR) from error
    return spool


def _message() -> Iterator[bytes]:
    while data := _read(0):
        yield data


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, PIECE)
    except OSError as error:
        raise FailedError(exits.READ_ERROR) from error


def read_envelope() -> tuple[bytes, list[bytes]]:
    """Descriptor 1, up to the empty record; what follows that is not looked at. FailedError."""
    rest = b""
    size = 0
    sender: bytes | None = None
    recipients: list[bytes] = []
    while True:
        more = _read(1)
        if not more:
            raise FailedError(exits.READ_ERROR)
        *fields, rest = (rest + more).split(b"\0")
        for field in fields:
            size += len(field) + 1
            if size > MAX_ENVELOPE + 1:  # the last NUL is ours alone
                raise FailedError(exits.REFUSED)  # the queue would not take it, nor find it in the drop
            if sender is None:
                sender = _address(field, b"F")
            elif not field:
                return sender, recipients
            else:
                recipients.append(_address(field, b"T"))
        if rest:
            _address(rest, b"F" if sender is None else b"T")


def _address(field: bytes, letter: bytes) -> bytes:
    """What follows the letter; the field may be the beginning of one."""
    if field[:1] != letter:
        raise FailedError(exits.BAD_ENVELOPE)
    if len(field) - 1 > MAX_ADDRESS:
        raise FailedError(exits.ADDRESS_TOO_LONG)
    return field[1:]
