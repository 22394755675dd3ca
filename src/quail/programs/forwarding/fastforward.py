"""usage: fastforward [ -nNpPdD ] data.cdb

In a dot-qmail file, mostly alias/.qmail-default: forward the message as the forwarding database says of its recipient, which is
$RECIPIENT, or with -d $DEFAULT@$HOST ($EXT@$HOST if there is no $DEFAULT). -n only says what it would do. Exit 0; 100 if the
database has no such recipient, a program or the queue refuses for good, or for a wrong call; 111 for any other failure. -p: if
there is no such recipient exit 0, and else 99, so that the rest of the dot-qmail file does not count.
"""

import os
import stat

from quail.cdb.file import Database, open_cdb
from quail.delivery.command import CrashedError, feed, run, verdict
from quail.delivery.resend import message, queue
from quail.errors import EXIT_PERMANENT, PermanentError, TemporaryError, UsageError
from quail.forwarding.expand import Expansion, sender_for
from quail.net.options import parse
from quail.oserrors import words
from quail.programs.run import home, program, say

_DONE = 99
_LARGEST = 16 << 20  # bytes of a mailing list: more than the queue takes recipients
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


class _FailedError(Exception):
    """A program has failed, and said why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@program("fastforward")
def main(args: list[bytes]) -> int:
    options, rest = parse("fastforward", args, "nNpPdD")
    if not rest:
        raise UsageError
    last = {letter.lower(): letter for letter, _ in options}
    dry, passes = last.get("n") == "n", last.get("p") == "p"
    database = _open(os.fsdecode(rest[0]))
    recipient = _recipient(by_default=last.get("d") == "d")
    expansion = Expansion(database.get, read_list=_read_list, run=_tell if dry else _run)
    try:
        known = expansion.follow(recipient)
    except _FailedError as error:
        return error.code
    if not known:
        if passes:
            return 0
        say("Sorry, no mailbox here by that name. (#5.1.1)")
        return EXIT_PERMANENT
    sender = sender_for(database.get, recipient, os.environb.get(b"SENDER", b"original envelope sender"))
    _forward(sender, expansion.recipients, dry=dry)
    return _DONE if passes else 0


def _recipient(*, by_default: bool) -> bytes:
    environ = os.environb
    if by_default:
        user = environ.get(b"DEFAULT", environ.get(b"EXT"))
        if user is None:
            raise PermanentError("$DEFAULT or $EXT must be set")
        host = environ.get(b"HOST")
        if host is None:
            raise PermanentError("$HOST must be set")
        return user + b"@" + host
    recipient = environ.get(b"RECIPIENT")
    if recipient is None:
        raise PermanentError("$RECIPIENT must be set")
    return recipient


def _open(path: str) -> Database:
    database = open_cdb(path)
    if database is None:
        raise TemporaryError(f"unable to read {path}: file does not exist")
    return database


def _read_list(name: bytes) -> bytes:
    """A list that not everybody may read is somebody's secret, and nobody else's to send mail to."""
    path = os.fsdecode(name)
    step = "read"
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if os.fstat(fd).st_mode & _READABLE != _READABLE:
                raise TemporaryError(f"{path} is not world-readable")
            parts = []
            size = 0
            while part := os.read(fd, 1 << 16):
                parts.append(part)
                size += len(part)
                if size > _LARGEST:
                    raise TemporaryError(f"unable to read {path}: file too big")
        finally:
            os.close(fd)
    except OSError as error:
        raise TemporaryError(f"unable to {step} {path}: {words(error)}") from error
    return b"".join(parts)


def _tell(instruction: bytes) -> None:
    say(f"run {os.fsdecode(instruction)}", verbatim=True)


def _run(instruction: bytes) -> None:
    command = [b"sh", b"-c", instruction[1:]]
    try:
        if instruction[:1] == b"|":
            code = run(command)
        else:
            code = feed(command, b"".join([os.environb.get(name, b"") for name in (b"UFLINE", b"RPLINE", b"DTLINE")]))
        os.lseek(0, 0, os.SEEK_SET)
    except CrashedError as error:
        raise TemporaryError(f"child crashed in {os.fsdecode(instruction)}") from error
    except OSError as error:
        raise TemporaryError(f"unable to rewind input: {words(error)}") from error
    if code:
        raise _FailedError(verdict(code))


def _forward(sender: bytes, recipients: list[bytes], *, dry: bool) -> None:
    if dry:
        if recipients:
            say(f"from <{_shown(sender)}>", verbatim=True)
        for recipient in recipients:
            say(f"to <{_shown(recipient)}>", verbatim=True)
        if not recipients:
            say("no forwarding")
    elif recipients:
        number = queue(sender, recipients, message(os.environb.get(b"DTLINE", b"")), home=home())
        say(f"fastforward: qp {number}")


def _shown(address: bytes) -> str:
    return os.fsdecode(address.replace(b"\n", b"_"))


if __name__ == "__main__":
    main()
