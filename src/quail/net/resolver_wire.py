"""The plain answers that most questions get, read without the library, which takes ten times as long for them.

Plain is an answer that says NOERROR and consists of nothing but records of the name and the type that were asked for, with
names of letters, digits, hyphens and underlines. Whatever is not plain is left to dnspython, and so is every judgement on it.
"""

import socket
import struct

Record = str | bytes | tuple[int, bytes]
"""An address (A, AAAA), a name (PTR), a text (TXT), or preference and name (MX).

Names are lower case, without the dot at the end.
"""

_HEADER = 12
_FIXED = struct.Struct("!HHIH")  # of a record, behind its name: type, class, TTL, length of what follows
_SHORT = struct.Struct("!H")
_IN = 1
_A, _MX, _AAAA = 1, 15, 28
_ASKED = b"\xc0\x0c"  # a pointer to the name in the question
_POINTER = 0xC0
_LONGEST_NAME = 253
_MOST_HOPS = 16  # from pointer to pointer; as the library
_LONGEST_TTL = 1 << 31  # RFC 2181 s8: more means nothing
_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


def plain(data: bytes, question: bytes, kind: int) -> tuple[tuple[Record, ...], int] | None:
    """Records and the least TTL in seconds of a plain answer, whose question has been compared; None: let dnspython read it."""
    count = int.from_bytes(data[6:8], "big")
    if data[3] & 0x0F or not count:
        return None
    place = _HEADER + len(question)
    asked = question[:-4]
    found: dict[Record, None] = {}
    least = _LONGEST_TTL
    try:
        for _ in range(count):
            if data.startswith(_ASKED, place):
                place += len(_ASKED)
            elif data[place : place + len(asked)].lower() == asked.lower():
                place += len(asked)
            else:
                return None
            its_kind, its_class, ttl, size = _FIXED.unpack_from(data, place)
            place += _FIXED.size
            end = place + size
            if its_kind != kind or its_class != _IN or ttl >= _LONGEST_TTL or end > len(data):
                return None
            record = _record(data, place, end, kind)
            if record is None:
                return None
            found[record] = None
            least = min(least, ttl)
            place = end
    except (struct.error, IndexError):
        return None
    return tuple(found), least


def _record(data: bytes, place: int, end: int, kind: int) -> Record | None:
    if kind == _A and end - place == 4:
        return socket.inet_ntop(socket.AF_INET, data[place:end])
    if kind == _AAAA and end - place == 16:
        return socket.inet_ntop(socket.AF_INET6, data[place:end])
    if kind == _MX and end - place > _SHORT.size:
        name = _name(data, place + _SHORT.size, end)
        return None if name is None else (_SHORT.unpack_from(data, place)[0], name)
    return None


def _name(data: bytes, place: int, end: int) -> bytes | None:
    """The name that fills data[place:end], in lower case; None: it does not, or is not plain. IndexError: cut short."""
    labels = []
    size = 0
    hops = 0
    start = place
    while (length := data[place]) != 0:
        if length >= _POINTER:
            target = (length & ~_POINTER) << 8 | data[place + 1]
            hops += 1
            # What a pointer leads to lies whole before the part that it ends. A record could make each name a long way.
            if (hops == 1 and place + 2 != end) or place + 2 > end or target >= start or hops > _MOST_HOPS:
                return None
            end, start, place = start, target, target
            continue
        label = data[place + 1 : place + 1 + length]
        size += length + 1
        if length >= 0x40 or len(label) != length or label.translate(None, _PLAIN) or size > _LONGEST_NAME:
            return None
        labels.append(label)
        place += 1 + length
    if place + 1 > end or (not hops and place + 1 != end):
        return None
    return b".".join(labels).lower()
