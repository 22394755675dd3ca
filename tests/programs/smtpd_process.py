"""qmail-smtpd as a process with a socket on descriptors 0 and 1, and a queue for it that keeps what it gets."""

import os
import socket
import subprocess
import sys
import threading

from quail.net.frames import frame
from quail.queue.handover import ABANDON_LENGTH, decode_envelope

NUMBER = b"4711"


class FakeQueue:
    """Listens on run/queue.sock below `home`. `answers` are given in turn, then K with NUMBER.

    An answer None closes the connection as soon as the message begins. `messages` gets (Envelope, text) of each message that
    came whole, `broken` counts those that did not.
    """

    def __init__(self, home, *answers):
        self.messages = []
        self.broken = 0
        self._answers = list(answers)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._folder = os.open(f"{home}/run", os.O_RDONLY)
        self._path = f"/proc/self/fd/{self._folder}/queue.sock"  # a path of any length
        self._listener.bind(self._path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as stream:
                if stream.peek(1) == b"!":  # close() wants us to end
                    return
                while stream.peek(1) and self._take(connection, stream):
                    pass

    def _take(self, connection, stream):
        first = self._frame(stream)
        envelope = decode_envelope(first) if first else None  # else it comes last
        answer = self._answers.pop(0) if self._answers else b"K" + NUMBER
        if answer is None:
            return False
        text = b""
        while piece := self._frame(stream):
            text += piece
        if piece is None:
            self.broken += 1
            return False
        if envelope is None:
            last = self._frame(stream)
            if last is None:
                self.broken += 1
                return False
            envelope = decode_envelope(last)
        self.messages.append((envelope, text))
        connection.sendall(frame(answer))
        return True

    @staticmethod
    def _frame(stream):
        """A frame's payload; None at a broken or abandoned message."""
        head = stream.read(4)
        size = int.from_bytes(head, "big")
        if len(head) < 4 or size == ABANDON_LENGTH:
            return None
        payload = stream.read(size)
        return payload if len(payload) == size else None

    def close(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self._path)
            sock.sendall(b"!")
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._listener.close()
        os.close(self._folder)


class SmtpdProcess:
    """The program in `home`, with `socket`'s other end as its client."""

    def __init__(self, home, environment=None, *, program="qmail_smtpd"):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"quail.programs.qmail.{program}"],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={b"PATH": b"/usr/bin:/bin", b"QMAILHOME": os.fsencode(home), **(environment or {})},
        )
        theirs.close()

    def finish(self):
        """(exit code, what it said on stderr)."""
        said = self._process.communicate(timeout=60)[1]
        return self._process.returncode, said
