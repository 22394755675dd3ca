"""QMAILREMOTE: a program that delivers in place of rspawn's own clients, called as qmail-remote is (facts 4.6)."""

import asyncio
import os
from collections.abc import Callable

from quail.delivery.remote import report
from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import Record, of_program
from quail.storage.memory import memory_file

_CHUNK = 1 << 16


async def deliver(program: bytes, mail: Mail, tell: Callable[[Record], None]) -> None:
    """Run it for each recipient, one after the other: it is called with one recipient, as ever. `tell` is given the report of
    each, in order, as soon as it is there: all of them together may take hours. OSError without resources for the next one.
    """
    descriptor = mail.fd if mail.fd >= 0 else _in_memory(mail.body)
    try:
        for recipient in mail.recipients:
            tell(await _run(program, mail, recipient, descriptor))
    finally:
        if descriptor != mail.fd:
            os.close(descriptor)


def _in_memory(body: bytes) -> int:
    descriptor = memory_file("message")
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
