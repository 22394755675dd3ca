"""The signals of a process, as /proc tells them in hexadecimal masks."""

import signal

# Not 32 and 33, the C library's own: its posix_spawn, which make uses, leaves them ignored, and it lets nobody change that.
KNOWN = sum(1 << number - 1 for number in signal.valid_signals())


def of_mask(text: str | bytes) -> set[int]:
    """The numbers of the signals in a mask such as ``0000000180001000``, without the C library's own."""
    mask = int(text, 16) & KNOWN
    return {number for number in range(1, 65) if mask >> number - 1 & 1}
