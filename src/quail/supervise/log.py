"""Log lines to standard error, each written whole; multilog or the terminal takes it from there."""

import os
import time

from quail.message.logtext import escaped


class LineLog:
    """Writes `[time ]prefix text`. The time of day is put in front only for people: loggers have stamps of their own."""

    __slots__ = ("_fd", "_named_fd", "_prefix", "_stamp")

    def __init__(self, prefix: str = "", *, stamp: bool = False, fd: int = 2, named_fd: int | None = None) -> None:
        """`prefix` is put before each text as it is. `named_fd`: where named() writes, the same place (None: `fd` itself)."""
        self._prefix = prefix
        self._stamp = stamp
        self._fd = fd
        self._named_fd = fd if named_fd is None else named_fd

    def __call__(self, text: str) -> None:
        """One line."""
        self.lines([text])

    def lines(self, texts: list[str]) -> None:
        """Several lines with one write. What can't be written is lost: a full log must not stop the mail.

        What a line can't show, a line feed above all, is escaped: names of files in it may be anybody's choice.
        """
        head = (time.strftime("%H:%M:%S ") if self._stamp else "") + self._prefix
        data = "".join([f"{head}{escaped(text)}\n" for text in texts]).encode()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            pass

    def named(self, prefix: str) -> "LineLog":
        """The same log for another writer."""
        return LineLog(prefix, stamp=self._stamp, fd=self._named_fd)
