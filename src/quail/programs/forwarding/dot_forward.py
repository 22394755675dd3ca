"""usage: dot-forward [ -nN ] file ...

In a dot-qmail file: follow the first of these files that says anything, in the way of Sendmail's .forward. -n only says what it
would do. Exit 99 then, for the rest of the dot-qmail file not to count, or 0 if the mailbox itself is among the recipients, or
no file says anything; 100 if a program or the queue refuses for good, or for a wrong call; 111 for any other failure.
"""

import os

from quail.control.hosts import hosts
from quail.control.reader import Control
from quail.delivery.command import SHELL, feed, verdict
from quail.delivery.resend import message, queue
from quail.errors import PeerError, PermanentError, TemporaryError
from quail.forwarding.dotforward import DIRECT, FORWARD, PROGRAM, Instruction, instructions
from quail.net.options import parse
from quail.oserrors import words
from quail.programs.run import home, program, say

_DONE = 99
_LARGEST = 16 << 20  # bytes of a file: more than the queue takes recipients


@program("dot-forward")
def main(args: list[bytes]) -> int:
    options, files = parse("dot-forward", args, "nN")
    dry = [letter for letter, _ in options][-1:] == ["n"]
    for path in map(os.fsdecode, files):
        data = _read(path)
        if data is None:
            continue
        found = _parsed(data, dry=dry)
        if found:
            code = 0 if dry else _follow(found)
            if code or DIRECT not in [kind for kind, _ in found]:
                return code or _DONE
            break
        if dry:
            say(f"skipping empty file {path}")
    if dry:
        say("direct delivery")
    return 0


def _read(path: str) -> bytes | None:
    """None if there is no such file."""
    step = "open"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            step = "read"
            parts = []
            size = 0
            while part := os.read(fd, 1 << 16):
                parts.append(part)
                size += len(part)
                if size > _LARGEST:
                    raise TemporaryError(f"unable to read {path}: file too big")
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TemporaryError(f"unable to {step} {path}: {words(error)}") from error
    return b"".join(parts)


def _parsed(data: bytes, *, dry: bool) -> list[Instruction]:
    """What the file says; all of it is read before any of it is done, so that a mistake does not make programs run twice."""
    environ = os.environb
    completing = hosts(Control(f"{home()}/control"))
    found: list[Instruction] = []
    try:
        for instruction in instructions(
            data, user=environ.get(b"USER", b""), host=environ.get(b"HOST", b""), hosts=completing
        ):
            found.append(instruction)
            kind, text = instruction
            if dry and kind != DIRECT:
                say(("pipe through " if kind == PROGRAM else "forward ") + os.fsdecode(text), verbatim=True)
    except PeerError as error:
        raise TemporaryError(str(error)) from error
    return found


def _follow(found: list[Instruction]) -> int:
    """Run the programs, in their order, then forward; the exit code of a program that fails, or 0."""
    for kind, text in found:
        if kind == PROGRAM and (code := _run(text)):
            return code
    recipients = [text for kind, text in found if kind == FORWARD]
    if recipients:
        _forward(recipients)
    return 0


def _run(command: bytes) -> int:
    prefix = b"".join([os.environb.get(name, b"") for name in (b"UFLINE", b"RPLINE", b"DTLINE")])
    code = verdict(feed([SHELL, b"-c", command], prefix, must_read=False))
    _rewind()
    return code


def _rewind() -> None:
    try:
        os.lseek(0, 0, os.SEEK_SET)
    except OSError as error:
        raise TemporaryError(f"unable to rewind input: {words(error)}") from error


def _forward(recipients: list[bytes]) -> None:
    environ = os.environb
    sender = environ.get(b"NEWSENDER", b"")
    try:
        number = queue(sender, recipients, message(environ.get(b"DTLINE", b"")), home=home())
    except (PermanentError, TemporaryError) as error:
        raise type(error)(f"unable to forward message: {error}") from error
    say(f"dot-forward: info: qp {number}")


if __name__ == "__main__":
    main()
