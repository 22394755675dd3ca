"""usage: qmail-queue < message 1< envelope

Queue the message on descriptor 0 for the envelope on descriptor 1 (F sender NUL, T recipient NUL ..., NUL). Prints nothing.
Exit 0 when it is durable; 11 address too long, 31 refused for good (an envelope above 8 MB is), 51 out of memory, 52 timeout,
53 write error or disk full, 54 read error or early end, 61 no home, 62 no queue, 71 refused for now, 81 bug, 91 envelope of
another form.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
from _collections_abc import Iterator

from quail.programs.run import end, home
from quail.queue import exits
from quail.queue.handover import MAX_ADDRESS, MAX_ENVELOPE
from quail.queue.submit import enqueue
from quail.storage.spool import PIECE, Spool

TIME_LIMIT = 86_400  # seconds

_IGNORED = ("SIGPIPE", "SIGHUP", "SIGINT", "SIGQUIT", "SIGPROF", "SIGVTALRM", "SIGXCPU", "SIGXFSZ")


class _FailedError(Exception):
    """Ends the program with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> None:
    """Entry point."""
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(exits.TIMEOUT))
    signal.alarm(TIME_LIMIT)
    try:
        code = _run()
    except _FailedError as failed:
        code = failed.code
    except MemoryError:
        code = exits.OUT_OF_MEMORY
    except Exception:
        code = exits.BUG
    end(code)


def _run() -> int:
    os.umask(0o033)
    try:
        os.chdir(home())
    except OSError:
        return exits.NO_HOME
    message = Spool(_message())
    try:
        message.fill()
    except OSError as error:
        raise _FailedError(exits.WRITE_ERROR) from error
    sender, recipients = _read_envelope()
    return exits.code(enqueue(sender, recipients, message, home="."))


def _message() -> Iterator[bytes]:
    """All of descriptor 0."""
    while data := _read(0):
        yield data


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, PIECE)
    except OSError as error:
        raise _FailedError(exits.READ_ERROR) from error


def _read_envelope() -> tuple[bytes, list[bytes]]:
    """Descriptor 1, up to the empty record; what follows that is not looked at."""
    rest = b""
    size = 0
    sender: bytes | None = None
    recipients: list[bytes] = []
    while True:
        more = _read(1)
        if not more:
            raise _FailedError(exits.READ_ERROR)
        *fields, rest = (rest + more).split(b"\0")
        for field in fields:
            size += len(field) + 1
            if size > MAX_ENVELOPE + 1:  # the last NUL is ours alone
                raise _FailedError(exits.REFUSED)  # the queue would not take it, nor find it in the drop
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
        raise _FailedError(exits.BAD_ENVELOPE)
    if len(field) - 1 > MAX_ADDRESS:
        raise _FailedError(exits.ADDRESS_TOO_LONG)
    return field[1:]


if __name__ == "__main__":
    main()
