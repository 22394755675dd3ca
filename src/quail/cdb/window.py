"""A file as something that a Reader can slice, without reading it whole.

Not a memory map: a file that somebody cuts short in place while we serve from it would kill the process (SIGBUS) at the next
look; here the slice is just short, and the Reader says that the file is damaged.
"""

import os


class Window:
    """An open descriptor that slices like bytes: window[a:b] is what the file holds there now. Owns the descriptor."""

    __slots__ = ("_fd", "_size")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        """Bytes start..stop, both given, neither negative, and no step; OSError if they can't be read."""
        want = where.stop - where.start
        data = os.pread(self._fd, want, where.start)
        while 0 < len(data) < want:  # the kernel hands out at most 2 GiB at once
            more = os.pread(self._fd, want - len(data), where.start + len(data))
            if not more:
                break
            data += more
        return data

    def __del__(self) -> None:
        os.close(self._fd)
