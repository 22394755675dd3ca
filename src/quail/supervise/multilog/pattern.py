r"""Patterns of multilog's + and -: all bytes stand for themselves but the star. Pure.

A pattern must match the whole line, without its line feed. A star takes everything up to the next byte of the pattern, where
that first occurs, and nothing else; at the end of the pattern it takes the rest. So there is one way to match, or none, and
`a*b` does not match `axbxb`. Two stars: the first stops at a star of the line, at which the second begins.

The same as a regular expression for lines among others is `regex`, which is possessive for that reason.
"""

STAR = ord("*")
NEVER = b"(?!)"
_LINE_FEED = b"\n"


def matches(pattern: bytes, line: bytes) -> bool:
    """Whether it matches; the line comes without its line feed."""
    at = 0
    for index, byte in enumerate(pattern):
        if byte != STAR:
            if line[at : at + 1] != pattern[index : index + 1]:
                return False
            at += 1
        elif index + 1 == len(pattern):
            return True
        else:
            at = line.find(pattern[index + 1 : index + 2], at)
            if at < 0:
                return False
    return at == len(line)


def regex(pattern: bytes) -> bytes:
    """What matches the rest of a line, up to but not with its line feed, if the pattern does."""
    if _LINE_FEED in pattern:
        return NEVER  # no line has one
    parts = []
    for index, byte in enumerate(pattern):
        if byte != STAR:
            parts.append(_literal(byte))
        elif index + 1 == len(pattern):
            parts.append(rb"[^\n]*+")
        else:
            stop = _literal(pattern[index + 1])
            # A star that ends at a star ends where the line has one; any other ends where the next part goes on.
            parts.append(rb"[^\n%b]*+" % stop + (rb"(?=\*)" if pattern[index + 1] == STAR else b""))
    return b"".join(parts) + rb"(?=\n)"


def _literal(byte: int) -> bytes:
    """As hexadecimal, which means the same in a set and outside."""
    return b"\\x%02x" % byte
