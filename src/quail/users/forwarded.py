"""Dot-qmail files of alias that leave everything to fastforward: there an address exists if the forwarding database has it.

    | fastforward -d /etc/aliases.cdb

Only a file whose one instruction is this line, with any path of the program and of the database, is known here; whatever else a
file says, it takes the mail. So does one whose database can't be read: the delivery will say what is wrong. fastforward itself
asks the database in the same way (quail.forwarding.database).
"""

import os
import stat

from quail.cdb.file import Follower
from quail.errors import TemporaryError
from quail.forwarding.database import TARGET, find

_LONGEST = 4096  # bytes of such a file
_PUTS_OFF = stat.S_IWOTH | stat.S_IXUSR
_MOST = 16  # databases that are kept
_PROGRAM = b"fastforward"
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-"  # what no shell looks at


class Forwarded:
    """Knows databases for the life of a program or service, and sees each as it is now. For any number of threads."""

    __slots__ = ("_followers",)

    def __init__(self) -> None:
        self._followers: dict[bytes, Follower] = {}

    def refuses(self, path: bytes, local: bytes, host: bytes) -> bool:
        """Whether the dot-qmail file leaves the address to a database that does not have it. OSError if it can't be read.

        local: what the file's name leaves open, fastforward's $DEFAULT or $EXT.
        """
        database = _database(_read(path))
        if database is None:
            return False
        follower = self._followers.get(database)
        if follower is None:
            if len(self._followers) >= _MOST:
                self._followers.clear()
            follower = self._followers[database] = Follower(os.fsdecode(database))
        try:
            file = follower.current()
            return file is not None and find(file.get, TARGET, local + b"@" + host, wildcards=True) is None
        except TemporaryError:
            return False


def _read(path: bytes) -> bytes:
    """Nothing of a file that is not followed now: others may write it, or it has the execute bit (dot-qmail(5))."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return b"" if os.fstat(fd).st_mode & _PUTS_OFF else os.read(fd, _LONGEST + 1)
    finally:
        os.close(fd)


def _database(text: bytes) -> bytes | None:
    """The database that is the whole of such a file's say."""
    lines = [line.rstrip(b" \t") for line in text.split(b"\n")]
    told = [line for line in lines if line and line[:1] != b"#"]
    if len(text) > _LONGEST or len(told) != 1 or not lines[0] or told[0][:1] != b"|":
        return None
    words = told[0][1:].split()
    if len(words) != 3 or words[1] != b"-d" or told[0].translate(None, _PLAIN).strip(b"| \t"):
        return None
    program, database = words[0], words[2]
    return database if program.rpartition(b"/")[2] == _PROGRAM and database[:1] == b"/" else None
