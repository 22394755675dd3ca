"""usage: splogger [ tag [ facility ] ]

Give the lines of stdin to the system's log, under this tag (splogger) and facility (a number; 2, mail). Exit 0 at the end of
stdin, 111 if it can't be read. Source: the page splogger(8).
"""

import os
import syslog
import time

from quail.errors import TemporaryError
from quail.net.options import number
from quail.oserrors import words
from quail.programs.run import READ_SIZE, program

_LONGEST = 799  # bytes of a line that go into the log at once
_FACILITIES = 24  # RFC 5424 s6.2.1
_SHIFT = 3
_MAIL = 2
_PRINTABLE = bytes(byte if 32 <= byte <= 126 else ord("?") for byte in range(256))
_PRIORITIES = ((b"alert:", syslog.LOG_ALERT), (b"warning:", syslog.LOG_WARNING))


@program("splogger")
def main(args: list[bytes]) -> None:
    tag = (args[0] if args else b"splogger").translate(_PRINTABLE).decode()
    facility = number(args[1]) if len(args) > 1 else _MAIL
    syslog.openlog(tag, 0, (facility if facility < _FACILITIES else _MAIL) << _SHIFT)
    line = _Line()
    while True:
        try:
            data = os.read(0, READ_SIZE)
        except OSError as error:
            raise TemporaryError(f"unable to read input: {words(error)}") from error
        if not data:
            line.end()
            return
        *ended, rest = data.split(b"\n")
        for part in ended:
            line.add(part)
            line.end()
        line.add(rest)


class _Line:
    """A line as it comes; what is long enough goes into the log before its end is there."""

    __slots__ = ("_head", "_held", "_priority")

    def __init__(self) -> None:
        self._held = b""
        self._head = ""  # of the pieces that follow the first one, once that has been written
        self._priority = syslog.LOG_INFO

    def add(self, part: bytes) -> None:
        held = self._held + part
        while len(held) >= _LONGEST:
            self._write(held[:_LONGEST])
            held = held[_LONGEST:]
        self._held = held

    def end(self) -> None:
        if self._held:
            self._write(self._held)
        self._held, self._head = b"", ""

    def _write(self, piece: bytes) -> None:
        head = self._head
        if not head:
            seconds, rest = divmod(time.time_ns(), 1_000_000_000)
            stamp = f"{seconds}.{rest // 1000:06d}"
            head, self._head = f"{stamp} ", f"{stamp}+"
            self._priority = next((value for start, value in _PRIORITIES if piece.startswith(start)), syslog.LOG_INFO)
        syslog.syslog(self._priority, head + piece.translate(_PRINTABLE).decode())


if __name__ == "__main__":
    main()
