"""usage: http@ [ host [ path [ port ] ] ]

Prints a text that host has on the web, without its empty lines. Exit 0.
"""

from quail.net.asking import ask
from quail.net.line_ends import Body, DelCr, joined
from quail.programs.run import program


@program("http@")
def main(args: list[bytes]) -> int:
    host, path, port = [*args, *(b"0", b"", b"80")[len(args) :]][:3]
    ask(host, port, b"GET /%b HTTP/1.0\r\nHost: %b:%b\r\n\r\n" % (path, host, port), joined(DelCr(), Body()))
    return 0


if __name__ == "__main__":
    main()
