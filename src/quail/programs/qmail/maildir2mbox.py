"""usage: maildir2mbox

Move the messages of $MAILDIR to the end of the mbox $MAIL. Exit 0, or 111 with the reason; then all of them are still where
they were. Source: the page maildir2mbox(1).
"""

import os
import time
from _collections_abc import Iterator

from quail.errors import TemporaryError
from quail.message import from_line
from quail.oserrors import words
from quail.programs.become import run_program
from quail.programs.run import READ_SIZE, program
from quail.storage import maildir_listing, mbox
from quail.storage.calls import REAL
from quail.storage.durable import sync_directory

_FIELD = b"return-path:"
_UNKNOWN = b"XXX"  # the sender of a message that has no Return-Path


@program("maildir2mbox")
def main(_args: list[bytes]) -> None:
    move()


def move() -> None:
    """What the program does. TemporaryError."""
    # MAILTMP was where the original made a new mbox. It would do harm to make one: see WHERE THIS DIFFERS in the page.
    target, _, maildir = (_variable(name) for name in ("MAIL", "MAILTMP", "MAILDIR"))
    maildir_listing.clean(REAL, maildir, time.time())
    if not _listed(maildir):
        return
    if os.path.exists(target) and not os.path.isfile(target):
        raise TemporaryError(f"{target} is not a file")
    moving = _Moving(maildir)
    try:
        mbox.deliver_all(REAL, target, moving.messages(), then=moving.remove)
    except mbox.SlowLockError as error:
        raise TemporaryError(f"{target} has been locked for 30 seconds straight") from error
    except mbox.OpenError as error:
        raise TemporaryError(f"unable to open {target}: {words(error)}") from error
    except OSError as error:
        raise TemporaryError(f"unable to write {target}: {words(error)}") from error
    if moving.trouble:
        raise TemporaryError(moving.trouble)


def read_with(readers: tuple[bytes, ...], args: list[bytes]) -> None:
    """Move the mail, and become the first of the mail readers that is there. TemporaryError."""
    move()
    for name in readers:
        try:
            run_program([name, *args])
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TemporaryError(f"unable to run {name.decode()}: {words(error)}") from error
    raise TemporaryError(f"unable to run {readers[0].decode()}: file does not exist")


def _variable(name: str) -> str:
    value = os.environb.get(name.encode())
    if value is None:
        raise TemporaryError(f"{name} not set")
    return os.fsdecode(value)


def _listed(maildir: str) -> list[maildir_listing.Entry]:
    try:
        return maildir_listing.messages(REAL, maildir)
    except OSError as error:
        raise TemporaryError(f"unable to read {maildir}: {words(error)}") from error


class _Moving:
    """The messages on their way. The Maildir is looked at when the mbox is locked: another one of us may have been there."""

    def __init__(self, maildir: str) -> None:
        self.trouble = ""
        self._maildir = maildir
        self._copied: list[str] = []

    def messages(self) -> Iterator[mbox.Message]:
        for entry in _listed(self._maildir):
            try:
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                continue  # another reader has it now
            except OSError as error:
                raise _unreadable(entry.path, error) from error
            try:
                first = _read(entry.path, fd)
                yield from_line.text(_sender(first), entry.mtime), _chunks(entry.path, fd, first)
            finally:
                os.close(fd)
            self._copied.append(entry.path)

    def remove(self) -> None:
        """The copies are durable: the messages go."""
        for path in self._copied:
            try:
                REAL.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                self.trouble = f"unable to remove {path}, which is in the mbox too now: {words(error)}"
        try:
            for folder in ("new", "cur"):
                sync_directory(REAL, f"{self._maildir}/{folder}")
        except OSError:
            pass  # at worst they are there again, after a crash


def _chunks(path: str, fd: int, data: bytes) -> Iterator[bytes]:
    while data:
        yield data
        data = _read(path, fd)


def _read(path: str, fd: int) -> bytes:
    try:
        return os.read(fd, READ_SIZE)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> TemporaryError:
    return TemporaryError(f"unable to read {path}: {words(error)}")


def _sender(beginning: bytes) -> bytes:
    """From the message's first line, which qmail-local has put there."""
    line = beginning.partition(b"\n")[0]
    if line[: len(_FIELD)].lower() != _FIELD:
        return _UNKNOWN
    address = line[len(_FIELD) :].strip(b" \t\r")
    return address[1:-1] if address[:1] == b"<" and address[-1:] == b">" else address


if __name__ == "__main__":
    main()
