"""The message that a worker delivers: inline bytes, then perhaps the content of a descriptor."""

import os
from collections.abc import Iterator

from quail.errors import TemporaryError

PIECE = 1 << 16  # bytes read at once


class UnreadableError(TemporaryError):
    """The message can't be read to its end."""


class Message:
    """Read with pread alone: jobs may share the open file. Whoever opened the descriptor closes it."""

    __slots__ = ("descriptor", "inline", "size")

    def __init__(self, inline: bytes, descriptor: int = -1) -> None:
        """`size` counts the descriptor's bytes."""
        self.inline = inline
        self.descriptor = descriptor
        self.size = 0
        if descriptor >= 0:
            try:
                self.size = os.fstat(descriptor).st_size
            except OSError as error:
                raise UnreadableError(str(error)) from error

    def chunks(self) -> Iterator[bytes]:
        """All bytes in order; UnreadableError if the descriptor ends early or can't be read."""
        if self.inline:
            yield self.inline
        offset = 0
        while offset < self.size:
            try:
                piece = os.pread(self.descriptor, min(PIECE, self.size - offset), offset)
            except OSError as error:
                raise UnreadableError(str(error)) from error
            if not piece:
                raise UnreadableError(f"message ends at {offset} of {self.size} bytes")
            yield piece
            offset += len(piece)

    def header_has(self, line: bytes) -> bool:
        """Whether the header has a line identical to `line`, which ends with LF. The header ends at an empty line."""
        wanted = b"\n" + line
        window = b"\n"
        for chunk in self.chunks():
            window += chunk
            end = window.find(b"\n\n")
            if window.find(wanted, 0, end + 1 if end >= 0 else len(window)) >= 0:
                return True
            if end >= 0:
                return False
            window = window[-len(wanted) :]
        return False
