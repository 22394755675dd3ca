"""QMAILREMOTE: a program that delivers in place of rspawn's own clients, called as qmail-remote is (facts 4.6)."""

import asyncio
import os

from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import DEFERRED, DELIVERED, FAILED, HARD, Record, Result, reduced

_MOST_OUTPUT = 64 << 10  # bytes that are looked at
_CHUNK = 1 << 16
_CRASHED = Record(DEFERRED, b"qmail-remote crashed.\n")
_SILENT = Record(DEFERRED, b"qmail-remote produced no output.\n")
_UNABLE = b"Unable to run qmail-remote.\n"
_TRY_AGAIN = 111
_MESSAGE = (DELIVERED, DEFERRED, FAILED)


async def deliver(program: bytes, mail: Mail) -> Result:
    """Run it for each recipient, one after the other: it is called with one recipient, as ever. OSError without resources."""
    descriptor = mail.fd if mail.fd >= 0 else _in_memory(mail.body)
    try:
        records = [await _run(program, mail, recipient, descriptor) for recipient in mail.recipients]
    finally:
        if descriptor != mail.fd:
            os.close(descriptor)
    return EachResult(records)


class EachResult(Result):
    """Each recipient has a report of its own."""

    __slots__ = ("_each",)

    def __init__(self, records: list[Record]) -> None:
        """In the order of the recipients."""
        super().__init__(records[-1])
        self._each = records

    def of(self, place: int) -> tuple[bytes, bytes]:
        record = self._each[place]
        return record.letter, record.text


def _in_memory(body: bytes) -> int:
    descriptor = os.memfd_create("message", os.MFD_CLOEXEC)
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


async def _run(program: bytes, mail: Mail, recipient: bytes, descriptor: int) -> Record:
    os.lseek(descriptor, 0, os.SEEK_SET)
    words = (program, mail.host, mail.sender, recipient)
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=descriptor, stdout=asyncio.subprocess.PIPE)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return Record(DEFERRED, _UNABLE)  # it may be there again soon; qmail bounces everything
    assert process.stdout is not None
    try:
        output = bytearray()
        while piece := await process.stdout.read(_CHUNK):
            output += piece[: _MOST_OUTPUT - len(output)]
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    if code < 0:
        return _CRASHED
    if code:
        return Record(DEFERRED if code == _TRY_AGAIN else FAILED, _UNABLE)
    return read_output(bytes(output))


def read_output(output: bytes) -> Record:
    """The one report that a program's records come to."""
    pieces = output.split(b"\0")
    records = [Record(piece[:1], piece[1:]) for piece in pieces[:-1] or pieces if piece]
    if not records:
        return _SILENT
    first = records[0]
    place = next((at for at, record in enumerate(records) if record.letter in _MESSAGE), None)
    whole = records[place] if place is not None else Record(FAILED)
    if first is whole:
        return first
    if first.letter not in (b"r", b"s", b"h"):
        first = Record(HARD, first.text)
    return Record(*reduced(first, whole))
