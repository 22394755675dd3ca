"""Dates for header fields (RFC 5322 s3.3), always in UTC and in qmail's shape: `26 Sep 1995 04:46:53 -0000`."""

from time import gmtime

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

# A busy server stamps thousands of messages in the same second. The pair is replaced whole, so threads need no lock.
_last: tuple[int, bytes] = (0, b"1 Jan 1970 00:00:00 -0000")


def rfc822(seconds: float) -> bytes:
    """The date of a Unix time; fractions of a second are cut off. The day is not padded, the time is."""
    global _last  # noqa: PLW0603  a cache of one entry
    whole = int(seconds // 1)
    known, text = _last
    if whole != known:
        year, month, day, hour, minute, second = gmtime(whole)[:6]
        text = b"%d %s %d %02d:%02d:%02d -0000" % (day, _MONTHS[month - 1], year, hour, minute, second)
        _last = (whole, text)
    return text
