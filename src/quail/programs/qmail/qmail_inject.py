"""usage: qmail-inject [ -nNaAhH ] [ -fsender ] [ recip ... ]

Queue the message on stdin, its header completed and rewritten. -n print it instead, -N don't; recipients: -a the arguments, -h
those of the header, -H both, -A the arguments if there are any, else those of the header; -f the sender of the envelope.
Exit 0; 100 called wrongly, an address that is none, or refused for good; 111 for any other failure.
"""

import os
import time
from _collections_abc import Iterator

from quail.control.hosts import hosts
from quail.control.reader import Control, parse_list, read_file
from quail.errors import PermanentError, TemporaryError, UsageError
from quail.message.header import Splitter
from quail.message.injecting import EITHER, Author, Call, Outgoing, compose
from quail.programs.run import home, output, program
from quail.queue.submit import submit

_READ_SIZE = 1 << 16


class Options:
    """What the arguments say."""

    __slots__ = ("arguments", "dry", "recipients", "sender")

    def __init__(self) -> None:
        self.dry = False
        self.recipients = EITHER
        self.sender: bytes | None = None
        self.arguments: list[bytes] = []


@program("qmail-inject")
def main(args: list[bytes]) -> int:
    return inject(args)


def inject(args: list[bytes]) -> int:
    """The whole program, for a caller that has made the arguments and the environment what it wants them to be.

    Reads descriptor 0 to its end and hands the message over. QuailError if it cannot be queued; 0 if it is.
    """
    options = read_arguments(args)
    path = home()
    if not path.startswith("/"):
        path = os.path.abspath(path)
    control = Control(f"{path}/control")
    splitter = Splitter()
    body: bytes | None = None
    ended = False
    while body is None:
        data = _read()
        ended = not data
        body = splitter.feed(data) if data else splitter.finish()
    outgoing = compose(splitter.fields, Author(os.environb), hosts(control, os.environb), _call(options, control))
    message = _message(outgoing, body, ended=ended)
    if options.dry:
        output(outgoing.return_path())
        for chunk in message:
            output(chunk)
        return 0
    reply = submit(outgoing.sender, outgoing.recipients, message, home=path)
    if reply.letter == b"K":
        return 0
    raise (PermanentError if reply.letter == b"D" else TemporaryError)(os.fsdecode(reply.text))


def read_arguments(args: list[bytes]) -> Options:
    """The options, which end at the first argument that is none, and the recipients. UsageError if there is no such option."""
    options = Options()
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        letters = left.pop(0)[1:]
        if letters == b"-":
            break
        for at, letter in enumerate(letters.decode("latin-1")):
            if letter in "nN":
                options.dry = letter == "n"
            elif letter in "aAhH":
                options.recipients = letter
            elif letter == "f":
                if not letters[at + 1 :] and not left:
                    raise UsageError
                sender = letters[at + 1 :] or left.pop(0)
                if sender[:1] == b"<" and sender[-1:] == b">":  # as people write it who know it from elsewhere
                    sender = sender[1:-1]
                options.sender = sender
                break
            else:
                raise UsageError
    options.arguments = left
    return options


def _call(options: Options, control: Control) -> Call:
    environ = os.environb

    def id_host() -> bytes:
        return environ[b"QMAILIDHOST"] if b"QMAILIDHOST" in environ else control.required("idhost")

    return Call(
        sender=options.sender,
        arguments=options.arguments,
        recipients=options.recipients,
        seconds=int(time.time()),
        pid=os.getpid(),
        id_host=id_host,
        followup=_followup(environ.get(b"QMAILMFTFILE")),
    )


def _followup(path: bytes | None) -> frozenset[bytes]:
    """The addresses in $QMAILMFTFILE; a file that is not there has none."""
    if not path:
        return frozenset()
    name = os.fsdecode(path)
    return frozenset(text.lower() for _, text in parse_list(name, read_file(name) or b""))


def _message(outgoing: Outgoing, body: bytes, *, ended: bool) -> Iterator[bytes]:
    """The header and the body, as it comes, with an LF at its end."""
    yield outgoing.header + body
    last = body[-1:]
    while not ended and (data := _read()):
        yield data
        last = data[-1:]
    if last and last != b"\n":
        yield b"\n"


def _read() -> bytes:
    try:
        return os.read(0, _READ_SIZE)
    except OSError as error:
        raise TemporaryError("read error") from error


if __name__ == "__main__":
    main()
