"""usage: qmail-queue < message 1< envelope

Queue the message on descriptor 0 for the envelope on descriptor 1 (F sender NUL, T recipient NUL ..., NUL). Prints nothing.
Exit 0 when it is durable; 11 address too long, 31 refused for good (an envelope above 8 MB is), 51 out of memory, 52 timeout,
53 write error or disk full, 54 read error or early end, 61 no home, 62 no queue, 71 refused for now, 81 bug, 91 envelope of
another form.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import sys
from collections.abc import Iterator

from quail.errors import PeerError
from quail.programs.run import home
from quail.queue.drop_writer import leave
from quail.queue.handover import CHUNK, MAX_ADDRESS, MAX_ENVELOPE, Client, Reply

TIME_LIMIT = 86_400  # seconds
_IN_MEMORY = 1 << 20  # bytes of a message that are kept in memory until its envelope has come

ADDRESS_TOO_LONG, REFUSED, OUT_OF_MEMORY, TIMEOUT, WRITE_ERROR, READ_ERROR = 11, 31, 51, 52, 53, 54
NO_HOME, NO_QUEUE, REFUSED_FOR_NOW, BUG, BAD_ENVELOPE = 61, 62, 71, 81, 91

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
    signal.signal(signal.SIGALRM, lambda *_: os._exit(TIMEOUT))
    signal.alarm(TIME_LIMIT)
    try:
        code = _run()
    except _FailedError as failed:
        code = failed.code
    except MemoryError:
        code = OUT_OF_MEMORY
    except Exception:
        code = BUG
    sys.exit(code)


def _run() -> int:
    os.umask(0o033)
    try:
        os.chdir(home())
    except OSError:
        return NO_HOME
    message = _Message()
    sender, recipients = _read_envelope()
    try:
        reply = Client().send(sender, recipients, message.chunks())
    except (OSError, PeerError):
        # The queue is down, or went down before it answered. Twice is better than never.
        return _drop(sender, recipients, message)
    return _exit_code(reply)


def _exit_code(reply: Reply) -> int:
    if reply.letter == b"K":
        return 0
    if reply.letter == b"D":
        return ADDRESS_TOO_LONG if b"too long" in reply.text else REFUSED
    return WRITE_ERROR if b"disk" in reply.text else REFUSED_FOR_NOW


def _drop(sender: bytes, recipients: list[bytes], message: "_Message") -> int:
    try:
        leave(sender, recipients, message.chunks())
    except FileNotFoundError:
        return NO_QUEUE
    except PermissionError:
        return NO_QUEUE
    except OSError:
        return WRITE_ERROR
    return 0


class _Message:
    """All of descriptor 0; what does not fit into memory is in a file without a name."""

    def __init__(self) -> None:
        """Reads to the end."""
        self._parts: list[bytes] = []
        self._fd = -1
        size = 0
        while data := _read(0):
            size += len(data)
            self._parts.append(data)
            if size > _IN_MEMORY or self._fd >= 0:
                self._spill()

    def _spill(self) -> None:
        try:
            if self._fd < 0:
                folder = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  the file never has a name there
                self._fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            for part in self._parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _FailedError(WRITE_ERROR) from error
        self._parts.clear()

    def chunks(self) -> Iterator[bytes]:
        """The message, from its start."""
        if self._fd < 0:
            yield from self._parts
            return
        offset = 0
        while data := os.pread(self._fd, CHUNK, offset):
            yield data
            offset += len(data)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError as error:
        raise _FailedError(READ_ERROR) from error


def _read_envelope() -> tuple[bytes, list[bytes]]:
    """Descriptor 1, up to the empty record; what follows that is not looked at."""
    rest = b""
    size = 0
    sender: bytes | None = None
    recipients: list[bytes] = []
    while True:
        more = _read(1)
        if not more:
            raise _FailedError(READ_ERROR)
        *fields, rest = (rest + more).split(b"\0")
        for field in fields:
            size += len(field) + 1
            if size > MAX_ENVELOPE + 1:  # the last NUL is ours alone
                raise _FailedError(REFUSED)  # the queue would not take it, nor find it in the drop
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
        raise _FailedError(BAD_ENVELOPE)
    if len(field) - 1 > MAX_ADDRESS:
        raise _FailedError(ADDRESS_TOO_LONG)
    return field[1:]


if __name__ == "__main__":
    main()
