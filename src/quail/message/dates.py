"""Dates for header fields (RFC 5322 s3.3), in UTC unless said otherwise and in qmail's shape: `26 Sep 1995 04:46:53 -0000`."""

from time import gmtime, localtime

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


def local(seconds: float) -> bytes:
    """The same in the time zone of the process, with its difference from UTC: `26 Sep 1995 06:46:53 +0200`."""
    now = localtime(seconds // 1)
    offset = now.tm_gmtoff // 60  # minutes; RFC 5322 s3.3 has no seconds
    sign = b"-" if offset < 0 else b"+"
    hours, minutes = divmod(abs(offset), 60)
    date = (now.tm_mday, _MONTHS[now.tm_mon - 1], now.tm_year, now.tm_hour, now.tm_min, now.tm_sec)
    return b"%d %s %d %02d:%02d:%02d %b%02d%02d" % (*date, sign, hours, minutes)
