"""The words of header fields that have a structure: atoms, quoted strings, literals, comments, specials (RFC 822 s3.3).

Between them there may be blanks, and line feeds where a field is folded. The work is linear in the size of the text.
"""

from quail.errors import PeerError

# Kinds of tokens. A special character is its own kind; ANGLE, for what a parser has put together, is above them all.
ATOM, QUOTED, LITERAL, COMMENT, ANGLE = 1, 2, 3, 4, 256
AT, DOT, COMMA, COLON, SEMICOLON, LEFT, RIGHT = b"@.,:;<>"
Token = tuple[int, bytes]

ATEXT = bytes(byte for byte in range(33, 127) if byte not in b'()<>[]:;@\\,."')  # RFC 5322 s3.2.3

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _OPEN_LITERAL, _CLOSE_LITERAL = b'"\\()[]'
_BREAKS = frozenset(b' \t"([@.,:;<>')  # what ends an atom
_SPECIALS = {byte: (byte, b"") for byte in b"@.,:;<>"}
_BLANK_CR = bytes(32 if byte == 13 else byte for byte in range(256))


def tokenize(text: bytes) -> list[Token]:
    """What a field's body is made of.

    ATOM and QUOTED have their text without quotes and backslashes, LITERAL and COMMENT all of it with their brackets, and
    specials none. PeerError if something has no end, or for a zero byte, which no address can have.
    """
    if 0 in text:
        raise PeerError("a zero byte")
    text = text.translate(_BLANK_CR, b"\n")  # unfolded: a line feed has a blank after it
    found: list[Token] = []
    at, end = 0, len(text)
    while at < end:
        byte = text[at]
        if byte in b" \t":
            at += 1
        elif byte in _SPECIALS:
            found.append(_SPECIALS[byte])
            at += 1
        elif byte == _QUOTE:
            word, at = _quoted(text, at + 1)
            found.append((QUOTED, word))
        elif byte == _OPEN:
            start, at = at, _end_of_comment(text, at + 1)
            found.append((COMMENT, text[start:at]))
        elif byte == _OPEN_LITERAL:
            start, at = at, _end_of_literal(text, at + 1)
            found.append((LITERAL, text[start:at]))
        else:
            word, at = _atom(text, at)
            found.append((ATOM, word))
    return found


def _atom(text: bytes, at: int) -> tuple[bytes, int]:
    """A word without quotes, in which a backslash makes a letter of the byte after it; and where it ends."""
    pieces = []
    start, end = at, len(text)
    while at < end and (byte := text[at]) not in _BREAKS:
        if byte == _BACKSLASH:
            pieces.append(text[start:at])
            start = at = at + 1
            if at == end:
                raise PeerError("a backslash at the end")
        at += 1
    pieces.append(text[start:at])
    return b"".join(pieces), at


def _quoted(text: bytes, at: int) -> tuple[bytes, int]:
    """What is in a quoted string that begins before `at`, and where the text goes on."""
    pieces = []
    start, end = at, len(text)
    while at < end:
        byte = text[at]
        if byte == _QUOTE:
            pieces.append(text[start:at])
            return b"".join(pieces), at + 1
        if byte == _BACKSLASH:
            pieces.append(text[start:at])
            start = at = at + 1
        at += 1
    raise PeerError("a quoted string without an end")


def _end_of_comment(text: bytes, at: int) -> int:
    """Where the text goes on after a comment that begins before `at`; comments may hold comments."""
    depth, end = 1, len(text)
    while at < end:
        byte = text[at]
        if byte == _OPEN:
            depth += 1
        elif byte == _CLOSE:
            depth -= 1
            if not depth:
                return at + 1
        elif byte == _BACKSLASH:
            at += 1
        at += 1
    raise PeerError("a comment without an end")


def _end_of_literal(text: bytes, at: int) -> int:
    end = len(text)
    while at < end:
        byte = text[at]
        if byte == _CLOSE_LITERAL:
            return at + 1
        at += 1 + (byte == _BACKSLASH)
    raise PeerError("a literal without an end")
