"""The line `From SENDER DATE` that a message begins with in an mbox (mbox(5))."""

from time import gmtime

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_NOT_IN_SENDER = bytes.maketrans(b" \t\n", b"---")


def text(sender: bytes, seconds: float) -> bytes:
    """The line, with its LF: GMT, day of month with a zero, unlike asctime."""
    year, month, day, hour, minute, second, weekday = gmtime(seconds)[:7]
    date = b"%b %b %02d %02d:%02d:%02d %d" % (_DAYS[weekday], _MONTHS[month - 1], day, hour, minute, second, year)
    return b"From %b %b\n" % (sender.translate(_NOT_IN_SENDER) or b"MAILER-DAEMON", date)
