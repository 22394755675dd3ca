"""usage: qmail-popup hostname subprogram [ arg ... ]

Reads the name and the password of a POP3 client on descriptors 0 and 1, and runs subprogram with them on descriptor 3
(qmail-popup(8)). Exit 1, always.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import select
import time

from quail.net.pump import PeerGoneError
from quail.pop3.lines import MAX_LINE
from quail.pop3.login import ACCEPTED, AUTHENTICATE, CLOSE, REFUSED, TROUBLE, Login, Settings
from quail.programs.become import run_program
from quail.programs.run import program, say

TIMEOUT = 1200  # seconds
_PASSWORDS = 3  # the descriptor that a checkpassword reads
_EXIT = 1
_DRAINED = 100  # times MAX_LINE bytes
_USAGE = b"-ERR usage: popup hostname subprogram\r\n"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


@program("qmail-popup", takes=(0, None))
def main(args: list[bytes]) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the child's exit code away
    link = _Link()
    try:
        if len(args) < 2:
            link.write(_USAGE)
        else:
            _serve(link, args[0], args[1:])
            link.drain()
    except PeerGoneError:
        pass
    return _EXIT


def _serve(link: "_Link", host: bytes, command: list[bytes]) -> None:
    challenge = b"<%d.%d@%b>" % (os.getpid(), time.time(), host)
    login = Login(Settings(classic=True), challenge)
    login.start()
    while True:
        event = login.next_event()
        if event is None or event[0] == CLOSE:
            link.write(login.take_output())
            if event is not None:
                return
            line = link.read_line()
            if line is None:
                login.timeout()
            else:
                login.receive(line)
            continue
        assert event[0] == AUTHENTICATE
        link.write(login.take_output())
        outcome, text = _check(event[1], event[2], challenge, command)
        if outcome == ACCEPTED:
            return
        login.verdict(outcome, text)


def _check(name: bytes, secret: bytes, challenge: bytes, command: list[bytes]) -> tuple[int, bytes]:
    """Run the subprogram, which serves the client if it believes him, to its end. The verdict, and its text if unusual."""
    try:
        read, write = os.pipe()
    except OSError:
        return TROUBLE, b"unable to open pipe"
    try:
        pid = os.fork()
    except OSError:
        os.close(read)
        os.close(write)
        return TROUBLE, b"unable to fork"
    if not pid:
        os.close(write)
        _become(read, command)
    os.close(read)
    try:
        # Less than PIPE_BUF: it is written at once, or the child has gone.
        os.write(write, b"%b\0%b\0%b\0" % (name, secret, challenge))
    except OSError:
        pass  # the child says how it went
    os.close(write)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return TROUBLE, b"aack, child crashed"
    return (REFUSED, b"") if os.WEXITSTATUS(status) else (ACCEPTED, b"")


def _become(passwords: int, command: list[bytes]) -> "NoReturn":
    try:
        if passwords == _PASSWORDS:
            os.set_inheritable(passwords, True)
        else:
            os.dup2(passwords, _PASSWORDS)
            os.close(passwords)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        run_program(command)
    except OSError as error:
        say(f"qmail-popup: unable to run {os.fsdecode(command[0])}: {error.strerror}")
    finally:
        os._exit(_EXIT)


class _Link:
    """The client. Not one byte behind the end of a line is read: what the client has sent ahead is the subprogram's.

    The descriptors stay as they were for the subprogram, so there are no options but polling.
    """

    def __init__(self) -> None:
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(0, select.POLLIN)
        self._writable.register(1, select.POLLOUT)

    def read_line(self) -> bytes | None:
        """A line, or as much as may be one; b"" at the end of input, None when nothing has come in time."""
        line = bytearray()
        while len(line) <= MAX_LINE and line[-1:] != b"\n":
            if not self._readable.poll(TIMEOUT * 1000):
                return None
            try:
                byte = os.read(0, 1)
            except OSError:
                return b""
            if not byte:
                return b""
            line += byte
        return bytes(line)

    def drain(self) -> None:
        """Read what has come too much: a connection that is closed before that takes the last reply away from the client."""
        try:
            for _ in range(_DRAINED):
                if not self._readable.poll(0) or not os.read(0, MAX_LINE):
                    break
        except OSError:
            pass  # the client has gone

    def write(self, data: bytes) -> None:
        """Write all of it: replies are short. PeerGoneError."""
        view = memoryview(data)
        try:
            while view:
                if not self._writable.poll(TIMEOUT * 1000):
                    raise PeerGoneError("timed out while writing to the peer")
                view = view[os.write(1, view) :]
        except OSError as error:
            raise PeerGoneError(f"unable to write to the peer: {error.strerror}") from error


if __name__ == "__main__":
    main()
