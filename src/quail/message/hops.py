"""Counting how often a message has been on its way: header lines that begin with `received` or `delivered`.

A message that goes in circles gets one at every turn; qmail's limit is a hundred of them (qmail-smtpd(8)).
"""

MAX_HOPS = 100
# So many lines that count have 9 bytes each at the least: where the empty line comes sooner, nothing needs to be counted.
SAFE_HEADER = MAX_HOPS * len(b"received\n") - 1
_LONGEST_NAME = len(b"\ndelivered")


class HopCounter:
    """The header of one message, in any pieces, whose lines end with LF. Keeps no more than ten bytes of it."""

    __slots__ = ("_head", "_hops")

    def __init__(self) -> None:
        self._hops = 0
        self._head: bytes | None = b"\n"  # in the header: the present line's first bytes behind a LF, in lower case

    def feed(self, text: bytes) -> bool:
        """The next piece of the message (not empty); False, and nothing is remembered of it, when these are too many."""
        head = self._head
        if head is None:
            return True
        text = head + text
        end = text.find(b"\n\n")
        found = (text if end < 0 else text[:end]).lower()
        hops = self._hops + found.count(b"\nreceived") + found.count(b"\ndelivered")
        if hops >= MAX_HOPS:
            return False
        self._hops = hops
        if end >= 0:
            self._head = None
            return True
        begin = found.rfind(b"\n")
        tail = found[begin:]
        # A line that is counted, or too long to become one that counts, leaves only a mark that it is not empty.
        self._head = b" " if begin < 0 or len(tail) >= _LONGEST_NAME or tail == b"\nreceived" else tail
        return True

    @property
    def is_done(self) -> bool:
        """Whether the header has ended, so that nothing more counts."""
        return self._head is None
