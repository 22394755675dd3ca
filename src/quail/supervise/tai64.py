"""TAI64N labels: the time stamps of log lines and the names of old log files. Pure.

A label is `@` and 24 hexadecimal digits: 16 for seconds, 8 for nanoseconds. As in the original tools the seconds are those of
the system clock plus 2^62 + 10, without a table of leap seconds.
"""

LABEL_SIZE = 25
_EPOCH = (1 << 62) + 10
_DIGITS = b"0123456789abcdef"


def label(microseconds: int) -> bytes:
    """Of a time in microseconds since 1970; it stands for the middle of that microsecond."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return b"@%016x%08x" % (seconds + _EPOCH, rest * 1000 + 500)


def digits_at(data: bytes, start: int) -> int:
    """How many lower-case hexadecimal digits data has from `start` on."""
    rest = data[start : start + LABEL_SIZE]
    if len(rest) == LABEL_SIZE and not rest.lstrip(_DIGITS):  # no label is that long: look at all of it
        rest = data[start:]
    return len(rest) - len(rest.lstrip(_DIGITS))


def moment(digits: bytes) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds of a label's digits, whatever their number: the last 8 are the nanoseconds.

    Of more than 24 the first are of no account, and what is missing is 0.
    """
    number = int(digits[-24:] or b"0", 16)
    seconds = (number >> 32) - _EPOCH & 0xFFFF_FFFF_FFFF_FFFF
    if seconds >> 63:
        seconds -= 1 << 64
    return seconds, number & 0xFFFF_FFFF
