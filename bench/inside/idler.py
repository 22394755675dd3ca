"""Opens connections, hears the greeting on each, and holds them until its standard input ends.

usage: idler.py PORT CONNECTIONS

They come from many addresses of the loopback, 40 from each: Quail may take two
of them for one. Prints a line when all are there. Ends with 1 if one is refused.
"""

import resource
import socket
import sys

EACH = 40  # two addresses together are below what one may have


def main() -> None:
    port, count = map(int, sys.argv[1:])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    links = []
    for number in range(count):
        place = 1 + number // EACH
        source = (f"127.1.{place // 250}.{1 + place % 250}", 0)
        link = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=source)
        heard = link.recv(512)
        if not heard.startswith(b"220 "):
            sys.exit(f"connection {number + 1} heard {heard!r}")
        links.append(link)
    print("all are there", flush=True)
    sys.stdin.read()


main()
