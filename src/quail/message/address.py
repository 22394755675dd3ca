"""Addresses as bytes: where they split, and how they are written in SMTP and in header fields.

An address is any bytes; its local part is all before the last "@". The unquoted form travels in envelopes and files, the
quoted form (RFC 5321 s4.1.2) in MAIL FROM, RCPT TO, Return-Path and the From and To of a bounce.
"""

_DOT_ATOM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-./=?^_`{|}~"  # RFC 5322 s3.2.3
_EIGHT_BIT = bytes(range(128, 256))
_ESCAPED = (b"\\", b'"', b"\r", b"\n")  # the backslash is first: the others bring new ones


def split(address: bytes) -> tuple[bytes, bytes]:
    """(local part, host) at the last "@"; without one the host is empty."""
    local, at, host = address.rpartition(b"@")
    return (local, host) if at else (host, b"")


def quote(address: bytes, *, utf8: bool = False) -> bytes:
    """The address with its local part as a quoted string unless it is a dot-atom; the host is copied as it is.

    An empty address stays empty. An address without "@" is a local part alone. With `utf8`, where SMTPUTF8 is in use, a
    dot-atom may have characters beyond ASCII (RFC 6531 s3.3).
    """
    if not address:
        return address
    local, at, host = address.rpartition(b"@")
    if not at:
        local, host = host, b""
    if not _is_dot_atom(local, utf8=utf8):
        for byte in _ESCAPED:
            local = local.replace(byte, b"\\" + byte)
        local = b'"' + local + b'"'
    return local + at + host


def _is_dot_atom(local: bytes, *, utf8: bool) -> bool:
    if not local:
        return False
    odd = local.translate(None, _DOT_ATOM)
    if odd:
        if not utf8 or odd.translate(None, _EIGHT_BIT):
            return False
        try:
            local.decode()
        except UnicodeDecodeError:
            return False
    return not (local.startswith(b".") or local.endswith(b".") or b".." in local)
