"""The parameters of MAIL: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531).

A parameter that EHLO did not offer is refused with 555 (RFC 5321 section 4.1.1.11): to take it in silence would promise
what nobody keeps. One that is malformed or comes twice is 501.
"""

from quail.smtp.replies import MALFORMED, UNKNOWN

_SIZE_DIGITS = 20  # RFC 1870 section 4


def parse_mail(text: bytes) -> tuple[bytes, int, list[tuple[bytes, bytes]]]:
    """(reply that refuses or b"", declared size or 0, attributes of the message as (name, value) in lower case)."""
    if text[:6] == b" SIZE=" and text[6:].isdigit() and len(text) <= 6 + _SIZE_DIGITS:
        return b"", int(text[6:]), []  # what nearly every client sends
    size = 0
    attributes: list[tuple[bytes, bytes]] = []
    seen = set()
    for word in text.split(b" "):
        if not word:
            continue
        name, equals, value = word.upper().partition(b"=")
        if name in seen:
            return MALFORMED, 0, []
        seen.add(name)
        if name == b"SIZE":
            if not value.isdigit() or len(value) > _SIZE_DIGITS:
                return MALFORMED, 0, []
            size = int(value)
        elif name == b"BODY" and value in (b"7BIT", b"8BITMIME"):
            attributes.append((b"body", value.lower()))
        elif name == b"SMTPUTF8":
            if equals:
                return MALFORMED, 0, []
            attributes.append((b"smtputf8", b""))
        else:
            return UNKNOWN, 0, []
    return b"", size, attributes
