"""The file quail.sizes of a Maildir: by how much its messages grow on the wire, so that nobody counts twice.

The format is in docs/formats/sizes.md. Only what counting gives again is in it: a damaged one, or none, costs the time to
count, and nothing is ever synced. An entry is for a message of this unique name and this size, and is believed of no other.
"""

import os
import stat
from _collections_abc import Iterable
from zlib import crc32

from quail.storage.calls import SystemCalls
from quail.storage.maildir import unique_name
from quail.storage.momentary import swap_file

FILE = "quail.sizes"
KEY = b"%b=%d"  # what a message is known by: its unique name, and the size of its file
_HEAD = b"quail.sizes 1 %08x\n"
_HEAD_LENGTH = len(_HEAD % 0)
_TMP = "tmp"
_LARGEST = 64 << 20  # of the file: more than a million messages
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def load(calls: SystemCalls, maildir: str) -> dict[bytes, bytes]:
    """Digits of the growth by KEY; empty if there is nothing to be believed."""
    data = _read(calls, f"{maildir}/{FILE}")
    if data[:_HEAD_LENGTH] != _HEAD % crc32(memoryview(data)[_HEAD_LENGTH:]):
        return {}
    words = data[_HEAD_LENGTH:].split()
    return dict(zip(words[::2], words[1::2], strict=False))


def save(calls: SystemCalls, maildir: str, entries: Iterable[tuple[bytes, int]]) -> None:
    """Write the file anew, if that can be done. Keys with white space in them are left out."""
    text = b"".join([b"%b %d\n" % entry for entry in entries if entry[0].split() == [entry[0]]])
    tmp = f"{maildir}/{_TMP}/{unique_name()}"
    try:
        swap_file(f"{maildir}/{FILE}", tmp, _HEAD % crc32(text) + text, mode=0o600, calls=calls)
    except OSError:
        try:
            calls.unlink(tmp)
        except OSError:
            pass  # it was never there, or goes after 36 hours


def _read(calls: SystemCalls, path: str) -> bytes:
    try:
        fd = calls.open(path, _OPEN)
        try:
            status = calls.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return b""
            data = b""
            while piece := calls.pread(fd, status.st_size + 1 - len(data), len(data)):
                data += piece
                if len(data) > status.st_size:
                    return b""
            return data
        finally:
            calls.close(fd)
    except OSError:
        return b""
