"""Sends mail as smtp-source does, but to many recipients in turn: its -t takes one.

usage: sender.py PORT MESSAGES SESSIONS SIZE < addresses

Every message is one connection and one dialogue without pipelining, SESSIONS of them at a time. Each address gets its even
share of the messages, in a random order that is the same every time. It takes as much processor time as smtp-source, a
quarter of a millisecond a message. Prints JSON: `begin` (time.time() of the first
connection), `seconds` until the last reply, `cpu` seconds of this process. Ends with 1 at the first unexpected reply.
"""

import json
import random
import select
import socket
import sys
import time

LINE = b"X" * 78 + b"\r\n"
HEADER = b"From: <sender@example.org>\r\nTo: <%b>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-Id: <%d@example.org>\r\n"
CODES = (b"220", b"250", b"250", b"250", b"354", b"250", b"221")


class Dialogue:
    """One connection and its message: `steps` are what to say after each reply."""

    __slots__ = ("heard", "link", "position", "steps")

    def __init__(self, port: int, recipient: bytes, number: int, size: int) -> None:
        header = HEADER % (recipient, number) + b"\r\n"
        body = header + LINE * max(0, (size - len(header)) // len(LINE))
        self.steps = (
            b"EHLO client.example.org\r\n",
            b"MAIL FROM:<sender@example.org>\r\n",
            b"RCPT TO:<%b>\r\n" % recipient,
            b"DATA\r\n",
            body + b".\r\n",
            b"QUIT\r\n",
        )
        self.position = 0
        self.heard = b""
        self.link = socket.create_connection(("127.0.0.1", port))
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def go_on(self) -> bool:
        """Take what has come; False once the dialogue is over."""
        data = self.link.recv(4096)
        self.heard += data
        if data and not self.heard.endswith(b"\n"):
            return True
        last = self.heard[self.heard.rfind(b"\n", 0, -1) + 1 :]
        if data and last[3:4] == b"-":
            return True
        if last[:3] != CODES[self.position]:
            sys.exit(f"unexpected reply in step {self.position}: {self.heard!r}")
        if self.position == len(self.steps):
            self.link.close()
            return False
        self.link.sendall(self.steps[self.position])
        self.position += 1
        self.heard = b""
        return True


def main() -> None:
    port, messages, sessions, size = map(int, sys.argv[1:])
    addresses = sys.stdin.buffer.read().split()
    order = [addresses[number % len(addresses)] for number in range(messages)]
    random.Random(messages).shuffle(order)
    waiting = enumerate(order)
    poll = select.epoll()
    open_ones: dict[int, Dialogue] = {}

    def begin_one() -> None:
        for number, recipient in waiting:
            dialogue = Dialogue(port, recipient, number, size)
            open_ones[dialogue.link.fileno()] = dialogue
            poll.register(dialogue.link, select.EPOLLIN)
            return

    began, start = time.time(), time.monotonic()
    for _ in range(sessions):
        begin_one()
    while open_ones:
        for descriptor, _ in poll.poll():
            if not open_ones[descriptor].go_on():
                del open_ones[descriptor]  # closing has taken it out of the poll
                begin_one()
    print(json.dumps({"begin": began, "seconds": time.monotonic() - start, "cpu": time.process_time()}))


main()
