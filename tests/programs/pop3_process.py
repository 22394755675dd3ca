"""qmail-pop3d and qmail-popup as processes with a socket on descriptors 0 and 1, and their client."""

import os
import socket
import subprocess
import sys

from quail.storage.calls import REAL
from quail.storage.maildir import make

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOE = 65534 if not os.getuid() else os.getuid()
PATIENCE = 60
CHECKPASSWORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpassword.py")

# qmail-pop3d does not run as root: as root it becomes another user when its code has been read.
_CODE = f"""
import os
from quail.programs.qmail.qmail_pop3d import main
if not os.getuid():
    os.setgroups([])
    os.setgid({JOE})
    os.setuid({JOE})
main()
"""
POP3D = [sys.executable, "-c", _CODE]
POPUP = [sys.executable, "-m", "quail.programs.qmail.qmail_popup"]
CHAIN = [*POPUP, "mx.example.com", sys.executable, CHECKPASSWORD, "qmail-pop3d", "Maildir"]


def make_joe(folder):
    """Joe's home with a Maildir, which is his."""
    home = str(folder / "joe")
    os.mkdir(home)
    make(REAL, f"{home}/Maildir")
    for path in (home, *(f"{home}/Maildir{part}" for part in ("", "/new", "/cur", "/tmp"))):
        os.chown(path, JOE, -1)
    return home


def put(home, name, data):
    path = f"{home}/Maildir/{name}"
    with open(path, "wb") as file:
        file.write(data)
    os.chown(path, JOE, -1)
    return path


class Pop3:
    """A client; `words` is what serves it, in joe's home. The environment has $PATH and the home of nobody's control files."""

    def __init__(self, words, home, **environment):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self._lines = self.socket.makefile("rb")
        usual = {"PATH": "/usr/bin:/bin", "QMAILHOME": "/nonexistent", "PYTHONPATH": f"{ROOT}/src"}
        self.process = subprocess.Popen(
            words,
            cwd=home,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**usual, "JOE": home, "JOE_UID": str(JOE), **environment},
        )
        theirs.close()

    def line(self):
        return self._lines.readline()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, command):
        self.socket.sendall(command + b"\r\n")
        return self.line()

    def text(self):
        """Lines up to the dot, without it."""
        lines = []
        while (line := self.line()) not in (b".\r\n", b""):
            lines.append(line)
        assert line
        return b"".join(lines)

    def rest(self):
        return self._lines.read()

    def end(self):
        """(exit code, what it said on stderr), after the client has gone."""
        self._lines.close()
        self.socket.close()
        said = self.process.communicate(timeout=PATIENCE)[1]
        return self.process.returncode, said
