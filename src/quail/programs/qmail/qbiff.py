"""usage: qbiff

In a dot-qmail file: write whom the message is from, and how it begins, on the user's terminals that can be executed by their
owner (biff y makes them so). Exit 0, whatever happens.
"""

import os
import stat
import sys
from _collections_abc import Iterator

from quail.errors import QuailError
from quail.message import announcement
from quail.programs.run import READ_SIZE, program

_UTMP = "/var/run/utmp"
_DEVICES = "/dev"
_USER_PROCESS = 7  # utmp(5)
_RECORD_SIZE = 400 if os.uname().machine == "aarch64" else 384  # bytes, of which only there some are 64 bits wide
_LINE = slice(8, 40)


@program("qbiff")
def main(_args: list[bytes]) -> int:
    try:
        text = _announcement(os.environb[b"LOCAL"], os.environb[b"SENDER"])
        for name in _terminals():
            _write(f"{_DEVICES}/{name}", text)
    except (KeyError, OSError, QuailError):
        pass  # nothing about it is worth a failed delivery
    return 0


def _announcement(local: bytes, sender: bytes) -> bytes:
    _, beginning = announcement.beginning_of(lambda: os.read(0, READ_SIZE))
    return b"\r\n\a%b\r\n%b\r\n" % announcement.lines(local, sender, beginning)


def _terminals() -> Iterator[str]:
    """Names of the devices that somebody has logged in on."""
    seen = set()
    with open(_UTMP, "rb") as file:
        while len(record := file.read(_RECORD_SIZE)) == _RECORD_SIZE:
            name = os.fsdecode(record[_LINE].partition(b"\0")[0])
            if int.from_bytes(record[:2], sys.byteorder) != _USER_PROCESS or name in seen:
                continue
            seen.add(name)
            if name and name[0] != "/" and ".." not in name:
                yield name


def _write(path: str, text: bytes) -> None:
    """If it is ours, and wants to be told; without waiting for one that does not take it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        status = os.fstat(fd)
        if stat.S_ISCHR(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & stat.S_IXUSR:
            os.write(fd, text)
    except OSError:
        pass
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
