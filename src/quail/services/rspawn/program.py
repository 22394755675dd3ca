"""QMAILREMOTE: a program that delivers in place of rspawn's own clients, called as qmail-remote is (facts 4.6)."""

import asyncio
import os

from quail.delivery.remote import report
from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import Record, Result, of_program

_CHUNK = 1 << 16


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
        return report.NOT_RUN
    assert process.stdout is not None
    try:
        output = bytearray()
        while piece := await process.stdout.read(_CHUNK):
            output += piece[: report.MOST_OUTPUT - len(output)]
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    return of_program(code, bytes(output))
