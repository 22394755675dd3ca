"""usage: maildirwatch

Show what is new in $MAILDIR on this terminal, which it clears every half minute, until it is interrupted. Exit 111 if it can't
be shown. Source: the page maildirwatch(1).
"""

import os
import time

from quail.errors import QuailError, TemporaryError
from quail.message import announcement
from quail.oserrors import words
from quail.programs.run import READ_SIZE, output, program
from quail.storage import maildir_listing
from quail.storage.calls import REAL

_PAUSE = 30.0  # seconds
_CLEAR = b"\033[H\033[J"  # what a VT100 takes for: go to the first line and clear all
_LINES = 24  # of a screen that does not tell how high it is
_FROM, _TO = b"return-path", b"delivered-to"  # qmail-local's fields


@program("maildirwatch", takes=0)
def main(_args: list[bytes]) -> None:
    maildir = os.environ.get("MAILDIR")
    if maildir is None:
        raise TemporaryError("MAILDIR not set")
    while True:
        maildir_listing.clean(REAL, maildir, time.time())
        try:
            entries = maildir_listing.messages(REAL, maildir, ("new",))
        except OSError as error:
            raise TemporaryError(f"unable to read {maildir}: {words(error)}") from error
        output(_CLEAR + _screen(entries))
        time.sleep(_PAUSE)


def _screen(entries: list[maildir_listing.Entry]) -> bytes:
    """The newest messages that there is room for, in the order in which they came."""
    room = (_height() - 2) // 2
    shown = [lines for entry in entries[-room:] if (lines := _lines(entry.path)) is not None]
    left = len(entries) - room
    head = [b"(%d more)" % left] if left > 0 else []
    return b"".join(line + b"\r\n" for line in [*head, *(line for lines in shown for line in lines)])


def _height() -> int:
    try:
        return max(os.get_terminal_size(1).lines, 4)
    except OSError:
        return _LINES


def _lines(path: str) -> tuple[bytes, bytes] | None:
    """A message in two lines; None if it can't be read, most likely because somebody just has."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            splitter, beginning = announcement.beginning_of(lambda: os.read(fd, READ_SIZE))
        finally:
            os.close(fd)
    except (OSError, QuailError):
        return None
    said = {field.name: field.body().strip() for field in reversed(splitter.fields)}
    return announcement.lines(said.get(_TO, b""), said.get(_FROM, b"").strip(b"<>"), beginning)


if __name__ == "__main__":
    main()
