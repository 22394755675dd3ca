"""Fetches a mailbox by POP3, again and again, in one session each time.

usage: popper.py PORT NAME PASSWORD MESSAGES DEPTH SESSIONS

DEPTH is how many RETR are sent before their replies are read: 1 is one by one. Prints JSON: `opened`, the seconds of each
session from the connection until the reply to STAT; `seconds` of each from the first RETR until the last reply; `bytes` of
each. Ends with 1 at the first reply that is not +OK, or if there are not exactly so many messages.
"""

import json
import socket
import sys
import time

END = b"\r\n.\r\n"
GOOD = b"+OK"


class Session:
    """One connection. TCP_NODELAY, as clients that pipeline have it."""

    def __init__(self, port: int) -> None:
        self.link = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def hear(self) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            data += self._more()
        if not data.startswith(GOOD):
            sys.exit(f"heard {data!r}")
        return data

    def ask(self, command: bytes) -> bytes:
        self.link.sendall(command + b"\r\n")
        return self.hear()

    def fetch(self, first: int, count: int) -> int:
        """Bytes of so many messages."""
        self.link.sendall(b"".join(b"RETR %d\r\n" % number for number in range(first, first + count)))
        total = 0
        kept = b""
        while count:
            data = self._more()
            total += len(data)
            # A dot that ends a message may come in pieces. The messages' own lines have none.
            seen = kept + data
            count -= seen.count(END)
            kept = seen[-4:] if not seen.endswith(END) else b""
        return total

    def _more(self) -> bytes:
        data = self.link.recv(1 << 18)
        if not data:
            sys.exit("the server has closed the connection")
        return data


def main() -> None:
    port, name, password, messages, depth, sessions = sys.argv[1:]
    count = int(messages)
    told: dict[str, list[float]] = {"opened": [], "seconds": [], "bytes": []}
    for _ in range(int(sessions)):
        start = time.monotonic()
        session = Session(int(port))
        session.hear()
        session.ask(b"USER " + name.encode())
        session.ask(b"PASS " + password.encode())
        if int(session.ask(b"STAT").split()[1]) != count:
            sys.exit("that is not the mailbox")
        begin = time.monotonic()
        step = int(depth)
        size = sum(session.fetch(first, min(step, count + 1 - first)) for first in range(1, count + 1, step))
        end = time.monotonic()
        session.ask(b"QUIT")
        for key, value in (("opened", begin - start), ("seconds", end - begin), ("bytes", size)):
            told[key].append(value)
    print(json.dumps(told))


main()
