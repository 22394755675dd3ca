"""Run by a user until it is killed: holds as many connections to the queue as it gets, each in the middle of a message.

One argument: a file with an envelope, as the hand-over begins with. Connections that the queue closes are opened again.
"""

import select
import socket
import struct
import sys

MANY = 700
HALF = struct.pack(">I", 1 << 20) + b"x" * (900 << 10)  # of a body


def connect(start):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect("/var/qmail/run/queue.sock")
        left = start[sock.send(start) :]
    except OSError:  # no room for more
        sock.close()
        return None
    return [sock, left]


def main():
    with open(sys.argv[1], "rb") as file:
        start = file.read() + HALF
    held = {}
    told = False
    while True:
        while len(held) < MANY and (one := connect(start)) is not None:
            held[one[0].fileno()] = one
        poll = select.poll()
        for number, (_, left) in held.items():
            poll.register(number, select.POLLIN | (select.POLLOUT if left else 0))
        for number, events in poll.poll(100):
            one = held[number]
            try:
                if events & select.POLLOUT:
                    one[1] = one[1][one[0].send(one[1]) :]
                if not events & (select.POLLIN | select.POLLHUP | select.POLLERR) or one[0].recv(4096):
                    continue
            except OSError:
                pass
            one[0].close()
            del held[number]
        if not told:
            print("going", flush=True)
            told = True


main()
