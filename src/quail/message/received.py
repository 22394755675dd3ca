"""Received fields, in qmail's words (RFC 5321 s4.4). Hosts, addresses and names in them are the peer's own claims.

A network server writes `from_network` before the message; the queue writes `from_queue` above it when it takes the message.
"""

from quail.message.dates import rfc822

BY_ALIAS = b"by alias"
FROM_NETWORK = b"from network"
FOR_BOUNCE = b"for bounce"

_HARMLESS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.@%+/=:-[]"
_CLEAN = bytes(byte if byte in _HARMLESS else ord("?") for byte in range(256))


def by_uid(uid: int) -> bytes:
    """The `by` of from_queue for a message that a local user handed in."""
    return b"by uid %d" % uid


def from_network(
    remote_host: bytes | None,
    remote_ip: bytes | None,
    remote_info: bytes | None,
    helo: bytes | None,
    local: bytes | None,
    protocol: bytes,
    seconds: float,
) -> bytes:
    """The field of a network server, two lines, each ended by LF.

    remote_host, remote_ip, remote_info: TCPREMOTEHOST, TCPREMOTEIP (IPv4 or IPv6), TCPREMOTEINFO; None when not known.
    helo: the argument of HELO or EHLO, None before either; it is shown when it is not remote_host (letter case apart).
    local: the server's own name. protocol: SMTP, LMTP, QMTP or QMQP. Bytes that could mislead a reader of the field become "?".
    """
    host = remote_host if remote_host is not None else b"unknown"
    words = [b"Received: from ", host.translate(_CLEAN)]
    if helo is not None and helo.lower() != host.lower():
        words += [b" (HELO ", helo.translate(_CLEAN), b")"]
    words.append(b" (")
    if remote_info is not None:
        words += [remote_info.translate(_CLEAN), b"@"]
    words += [
        (remote_ip if remote_ip is not None else b"unknown").translate(_CLEAN),
        b")\n  by ",
        (local if local is not None else b"unknown").translate(_CLEAN),
        b" with ",
        protocol,
        b"; ",
        rfc822(seconds),
        b"\n",
    ]
    return b"".join(words)


def from_queue(number: int, by: bytes, seconds: float) -> bytes:
    """The queue's own field, one line. number: the message's (qmail: the process id); by: BY_ALIAS, ..., by_uid(uid)."""
    return b"Received: (qmail %d invoked %s); %s\n" % (number, by, rfc822(seconds))
