"""The address in the argument of MAIL and RCPT, read as tolerantly as qmail-smtpd reads it.

With a `<` in the argument the address runs from the first `<` to `>`; else from the first `:` (blanks skipped) to a
space; else it is empty. A leading source route `@one,@two:` is dropped (RFC 5321 appendix C). A backslash takes the
next byte as it is, quotes are dropped and hide the terminator, and a missing terminator is forgiven. The result is the
address without its quoting, which is how Quail keeps addresses everywhere. Work is linear in the argument; nothing is
raised.
"""

MAX_ADDRESS = 899
CONTROLS = bytes(range(32)) + b"\x7f"
_ODD = CONTROLS + b'"\\'
_BACKSLASH, _QUOTE, _SPACE, _GREATER = b'\\" >'


def parse(argument: bytes) -> tuple[bytes, bytes, bool]:
    """(address, what follows its `>`, whether the address has no control character).

    The second is empty when the address stood without angle brackets. A control character could end a line or a record of
    somebody who reads the address later.
    """
    start = argument.find(b"<") + 1
    if start:
        end = argument.find(b">", start)
        if end >= 0 and argument.translate(None, _ODD) == argument:
            address = argument[start:end]
            return (address if address[:1] != b"@" else address.partition(b":")[2]), argument[end + 1 :], True
        address, rest = _unquote(_after_route(argument[start:]), _GREATER)
    else:
        address, rest = _unquote(_after_route(argument.partition(b":")[2].lstrip(b" ")), _SPACE)[0], b""
    return address, rest, address.translate(None, CONTROLS) == address


def _after_route(text: bytes) -> bytes:
    return text.partition(b":")[2] if text[:1] == b"@" else text


def _unquote(text: bytes, terminator: int) -> tuple[bytes, bytes]:
    out = bytearray()
    quoted = escaped = False
    for at, byte in enumerate(text):
        if escaped:
            escaped = False
            out.append(byte)
        elif byte == _BACKSLASH:
            escaped = True
        elif byte == _QUOTE:
            quoted = not quoted
        elif byte == terminator and not quoted:
            return bytes(out), text[at + 1 :]
        else:
            out.append(byte)
    return bytes(out), b""
