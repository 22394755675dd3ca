r"""Dialogues that a postmaster can read: PROTOCOL/NAME.txt, run against the machine, the program and the daemon.

    # what it shows
    = control/databytes 100        a control file of the home; \n stands between lines
    = RELAYCLIENT @fix             a variable of the connection
    C: MAIL FROM:<a@b>\r\n         bytes that the client sends: \r \n \t \\ \xNN are escapes, no line end is added
    C*3: x\r\n                     three times
    S: 250 2.1.0 ok                a line that the server sends; * stands for any text
    S*3: 250 *                     three lines
    C.                             the client sends no more
    S.                             the server closes the connection

C lines that follow one another are sent in one piece. Nothing more may have come from the server when an S. is reached.
The home is that of `HOME` below, with one user, alice.
"""

import os
import re
import socket

from quail.users.assign import compile_cdb, parse

FOLDER = os.path.dirname(os.path.abspath(__file__))
HOME = {
    "mode": b"single\n",
    "me": b"mx.example.com\n",
    "locals": b"mx.example.com\nexample.com\n",
    "rcpthosts": b"mx.example.com\nexample.com\n",
}
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))")
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def _unescape(text):
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else _ESCAPES[found[2]], text)


class Dialogue:
    """One file: `control` and `environment` to serve it with, and the steps (letter, bytes or pattern or None)."""

    def __init__(self, path):
        self.control = dict(HOME)
        self.environment = {}
        self.steps = []
        with open(path, "rb") as file:
            for number, line in enumerate(file.read().splitlines(), 1):
                try:
                    self._add(line)
                except (KeyError, ValueError) as error:
                    raise ValueError(f"{path} line {number}: {line!r}") from error
        if not self.steps:
            raise ValueError(f"{path} says nothing")

    def _add(self, line):
        if not line or line.startswith(b"#"):
            return
        if line.startswith(b"= "):
            name, _, value = line[2:].partition(b" ")
            if name.startswith(b"control/"):
                self.control[name.removeprefix(b"control/").decode()] = _unescape(value) + b"\n"
            else:
                self.environment[name] = _unescape(value)
            return
        if line in (b"C.", b"S."):
            self.steps.append((line.decode(), None))
            return
        who, colon, text = line.partition(b":")
        letter, _, count = who.partition(b"*")
        if not colon or letter not in (b"C", b"S"):
            raise ValueError
        text = text.removeprefix(b" ")
        if letter == b"C":
            data = _unescape(text) * int(count or 1)
            if self.steps and self.steps[-1][0] == "C":
                data = self.steps.pop()[1] + data
            self.steps.append(("C", data))
        else:
            pattern = b".*".join(re.escape(part) for part in text.split(b"*"))
            self.steps += [("S", pattern)] * int(count or 1)

    def run(self, peer):
        """Play the client. `peer` has send(bytes), end(), and line(), which gives b"" at the end of the connection."""
        for number, (kind, value) in enumerate(self.steps, 1):
            if kind == "C":
                peer.send(value)
            elif kind == "C.":
                peer.end()
            elif kind == "S":
                line = peer.line()
                assert line.endswith(b"\r\n"), f"step {number}: {line!r} instead of {value!r}"
                assert re.fullmatch(value, line[:-2], re.DOTALL), f"step {number}: {line!r} instead of {value!r}"
            else:
                assert peer.line() == b"", f"step {number}: the server goes on"


def dialogues(protocol):
    """Name and path of each."""
    folder = os.path.join(FOLDER, protocol)
    return {name.removesuffix(".txt"): os.path.join(folder, name) for name in sorted(os.listdir(folder))}


def make_home(home, control=HOME):
    """Control files, and users/assign and users/cdb with alice, below the folder `home`."""
    for folder in ("control", "users", "run", "mail/alice"):
        os.makedirs(f"{home}/{folder}")
    for name, text in control.items():
        with open(f"{home}/control/{name}", "wb") as file:
            file.write(text)
    assign = f"=alice:alice:{os.getuid()}:{os.getgid()}:{home}/mail/alice:::\n.\n".encode()
    for name, content in (("assign", assign), ("cdb", compile_cdb(parse(assign, "users/assign")))):
        with open(f"{home}/users/{name}", "wb") as file:
            file.write(content)


class SocketPeer:
    """A server at the other end of a connected socket."""

    def __init__(self, sock):
        self._socket = sock
        self._lines = sock.makefile("rb")

    def send(self, data):
        self._socket.sendall(data)

    def end(self):
        self._socket.shutdown(socket.SHUT_WR)

    def line(self):
        return self._lines.readline()

    def close(self):
        self._lines.close()
        self._socket.close()
