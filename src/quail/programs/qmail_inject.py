"""usage: qmail-inject [ -nNaAhH ] [ -fsender ] [ recip ... ]

Queue the message on stdin, its header completed and rewritten. -n print it instead, -N don't; recipients: -a the arguments, -h
those of the header, -H both, -A the arguments if there are any, else those of the header; -f the sender of the envelope.
Exit 0; 100 called wrongly, an address that is none, or refused for good; 111 for any other failure.
"""

import os
import time

from quail.control.reader import Control, parse_list, read_file
from quail.errors import PermanentError, TemporaryError, UsageError
from quail.message.addresslist import Hosts
from quail.message.header import Splitter
from quail.message.injecting import Author, Call, Outgoing, compose
from quail.programs.run import home, output, program
from quail.queue.submit import submit

TYPE_CHECKING = False
if TYPE_CHECKING:  # collections.abc costs a third of what the interpreter itself does
    from collections.abc import Iterator

_READ_SIZE = 1 << 16


class _Options:
    __slots__ = ("dry", "recipients", "sender")

    def __init__(self) -> None:
        self.dry = False
        self.recipients = "A"
        self.sender: bytes | None = None


@program("qmail-inject")
def main(args: list[bytes]) -> int:
    return inject(args)


def inject(args: list[bytes]) -> int:
    """The whole program, for a caller that has made the arguments and the environment what it wants them to be.

    Reads descriptor 0 to its end and hands the message over. QuailError if it cannot be queued; 0 if it is.
    """
    options, recipients = _parse(args)
    path = os.path.abspath(home())
    control = Control(f"{path}/control")
    splitter = Splitter()
    body: bytes | None = None
    ended = False
    while body is None:
        data = _read()
        ended = not data
        body = splitter.feed(data) if data else splitter.finish()
    outgoing = compose(splitter.fields, Author(os.environb), _hosts(control), _call(options, recipients, control))
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


def _parse(args: list[bytes]) -> tuple[_Options, list[bytes]]:
    options = _Options()
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
    return options, left


def _hosts(control: Control) -> Hosts:
    """Files are read when an address needs what is in them: most messages need few."""
    environ = os.environb

    def default_host() -> bytes:
        return environ[b"QMAILDEFAULTHOST"] if b"QMAILDEFAULTHOST" in environ else control.required("defaulthost")

    def default_domain() -> bytes:
        return environ[b"QMAILDEFAULTDOMAIN"] if b"QMAILDEFAULTDOMAIN" in environ else control.required("defaultdomain")

    def plus_domain() -> bytes:
        return environ[b"QMAILPLUSDOMAIN"] if b"QMAILPLUSDOMAIN" in environ else control.required("plusdomain")

    return Hosts(default_host, default_domain, plus_domain)


def _call(options: _Options, arguments: list[bytes], control: Control) -> Call:
    environ = os.environb

    def id_host() -> bytes:
        return environ[b"QMAILIDHOST"] if b"QMAILIDHOST" in environ else control.required("idhost")

    letter = options.recipients
    return Call(
        sender=options.sender,
        arguments=arguments,
        from_arguments=letter != "h",
        from_header=letter in "hH" or (letter == "A" and not arguments),
        lenient=letter == "a",
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


def _message(outgoing: Outgoing, body: bytes, *, ended: bool) -> "Iterator[bytes]":
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
