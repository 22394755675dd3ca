"""A name server for the hosts of the bench, on 127.0.0.1:53: as little work as can be, since it shares their processors.

usage: names.py NETWORK

The domain hH-M.example has the MX mx.hH-M.example, whose address is 10.NETWORK.M.H; numbers are 1 to 250. Other types of
these names are empty answers, all other names do not exist. UDP alone, and no EDNS.
"""

import re
import socket
import sys

A, MX = 1, 15
NAME = re.compile(rb"(?:\x02mx)?[\x02-\x08]h(\d{1,3})-(\d{1,3})\x07example\x00", re.IGNORECASE)
POINTER, TTL = b"\xc0\x0c", b"\x00\x00\x0e\x10"


def answer(query: bytes, network: int) -> bytes:
    """The reply to one query with one question."""
    end = query.index(b"\x00", 12) + 1
    name, kind = query[12:end], int.from_bytes(query[end : end + 2])
    question = query[12 : end + 4]
    found = NAME.fullmatch(name)
    record = b""
    if found is not None and kind == MX and name[1:3].lower() != b"mx":
        record = b"\x00\x0f\x00\x01" + TTL + b"\x00\x07\x00\x0a\x02mx" + POINTER
    elif found is not None and kind == A and name[1:3].lower() == b"mx":
        record = b"\x00\x01\x00\x01" + TTL + b"\x00\x04" + bytes((10, network, int(found[2]), int(found[1])))
    flags = b"\x85\x80" if found is not None else b"\x85\x83"
    counts = b"\x00\x01" + (b"\x00\x01" if record else b"\x00\x00") + b"\x00\x00\x00\x00"
    return query[:2] + flags + counts + question + (POINTER + record if record else b"")


def main() -> None:
    network = int(sys.argv[1])
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    link.bind(("127.0.0.1", 53))
    while True:
        query, peer = link.recvfrom(4096)
        link.sendto(answer(query, network), peer)


main()
