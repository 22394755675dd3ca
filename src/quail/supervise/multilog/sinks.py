"""Where selected lines go besides log directories: standard error, and files that show the last one."""

import errno
import os
from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.supervise.multilog.selection import LOOKED_AT
from quail.supervise.multilog.trouble import Trouble

_SHOWN = 200  # bytes of a line on standard error


class AlertSink:
    """`e`: the first 200 bytes of each line on standard error."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write` takes whole lines."""
        self._write = write

    def block(self, lines: bytes) -> None:
        """Whole lines."""
        self._write(b"".join([_shown(line) for line in lines.split(b"\n")[:-1]]))

    def long(self, beginning: bytes) -> None:
        """The beginning of one line."""
        self._write(_shown(beginning))

    def more(self, data: bytes) -> None:
        """What goes on with it."""


class StatusSink:
    """`=file`: the last line, filled up with line feeds to 1001 bytes. The file is made at the start."""

    __slots__ = ("_calls", "_fd", "_path", "_trouble")

    def __init__(self, path: str, trouble: Trouble, *, calls: SystemCalls = REAL) -> None:
        """TemporaryError if it can't be opened."""
        self._path, self._trouble, self._calls = path, trouble, calls
        self._fd = self._opened("create", os.O_CREAT)

    def _opened(self, what: str, flags: int) -> int:
        try:
            return self._calls.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o600)
        except OSError as error:
            raise TemporaryError(f"unable to {what} {self._path}: {words(error)}") from error

    def block(self, lines: bytes) -> None:
        """Of whole lines, the last: the others would be there for no time at all."""
        self._show(lines[lines.rfind(b"\n", 0, -1) + 1 : -1])

    def long(self, beginning: bytes) -> None:
        """Of a long line, the first 1000 bytes."""
        self._show(beginning[:LOOKED_AT])

    def more(self, data: bytes) -> None:
        """What goes on with it is not shown."""

    def _show(self, line: bytes) -> None:
        text = line.ljust(LOOKED_AT + 1, b"\n")
        at = 0
        while at < len(text):
            at += self._trouble.insist(f"unable to write {self._path}", self._write, text[at:], at)

    def _write(self, text: bytes, at: int) -> int:
        try:
            return self._calls.pwritev(self._fd, [text], at)
        except OSError as error:
            if error.errno != errno.ESPIPE:  # a FIFO or a terminal
                raise
            return self._calls.write(self._fd, text)


def _shown(line: bytes) -> bytes:
    return line[:_SHOWN] + (b"...\n" if len(line) > _SHOWN else b"\n")
