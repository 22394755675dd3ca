"""Removing files of a queue of the original's layout: what qmail-clean does for a qmail-send (facts 4.7).

A command is `foop/ID` or `todo/ID`, ended by NUL; each is answered by one byte. The working directory is the queue.
"""

from quail.storage.calls import REAL, SystemCalls

DONE, FAILED, BAD = b"+", b"!", b"x"
AGAIN_AFTER = 30  # commands between two sweeps
OLD = 129600  # seconds since anybody looked at a file in pid/: the program that made it is gone

_SPLIT = 23  # folders of mess/
_SHORTEST, _LONGEST = 7, 100  # bytes of a command, with its NUL
_MOST_ID = 1 << 64
_DIGITS = frozenset(b"0123456789")


class Cleaner:
    """Bytes in, answers out."""

    __slots__ = ("_calls", "_command", "_left")

    def __init__(self, calls: SystemCalls = REAL) -> None:
        """At the start of a command."""
        self._calls = calls
        self._command = bytearray()
        self._left = 0

    def feed(self, data: bytes, now: float) -> bytes:
        """Do what is said, and answer; now: seconds since 1970. Of a command that is too long no more than that is kept."""
        answers = b""
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._keep(piece)
            self.sweep(now)
            answers += self._do(bytes(self._command))
            self._command.clear()
        self._keep(rest)
        return answers

    def _keep(self, piece: bytes) -> None:
        self._command += piece[: _LONGEST - len(self._command)]

    def sweep(self, now: float) -> None:
        """Now and then: remove what programs have left in pid/ that died."""
        self._left -= 1
        if self._left >= 0:
            return
        self._left = AGAIN_AFTER
        try:
            names = self._calls.listdir("pid")
        except OSError:
            return  # there is none
        for name in names:
            try:
                if not name.startswith(".") and self._calls.stat(f"pid/{name}").st_atime < now - OLD:
                    self._calls.unlink(f"pid/{name}")
            except OSError:
                pass  # its turn comes again

    def _do(self, command: bytes) -> bytes:
        kind, number = command[:5], command[5:]
        if not _SHORTEST <= len(command) + 1 <= _LONGEST or not _DIGITS.issuperset(number) or int(number) >= _MOST_ID:
            return BAD
        message = int(number)
        if kind == b"foop/":
            paths = f"intd/{message}", f"mess/{message % _SPLIT}/{message}"
        elif kind == b"todo/":
            paths = f"intd/{message}", f"todo/{message}"  # in this order: what is in todo/ may still be read
        else:
            return BAD
        return DONE if all(self._removed(path) for path in paths) else FAILED

    def _removed(self, path: str) -> bool:
        try:
            self._calls.unlink(path)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True
