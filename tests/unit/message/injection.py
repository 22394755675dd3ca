"""qmail-inject without its process: the pure machine, driven as the program drives it, at a fixed time."""

from quail.errors import QuailError
from quail.message.addresslist import Hosts
from quail.message.header import Splitter
from quail.message.injecting import Author, Call, compose
from quail.programs.qmail.qmail_inject import read_arguments

SECONDS = 812_090_813  # 26 Sep 1995 04:46:53 GMT
PID = 3429
ME = b"mx.example.com"
FOLLOWUP = frozenset((b"list@x.y", b"t@mx.example.com"))


class Result:
    """What went out, or the error."""

    output = b""
    sender = b""
    recipients: tuple[bytes, ...] = ()
    error: str | None = None
    dry = False


def split(message: bytes, size: int = 1 << 16) -> tuple[Splitter, bytes]:
    """The header, read in pieces of this size, and what follows it, whole."""
    splitter = Splitter()
    for start in range(0, len(message), size):
        body = splitter.feed(message[start : start + size])
        if body is not None:
            return splitter, body + message[start + size :]
    return splitter, splitter.finish()


def run(message: bytes, args: list[bytes], environ: dict[bytes, bytes], *, size: int = 1 << 16) -> Result:
    result = Result()
    hosts = Hosts(
        lambda: environ.get(b"QMAILDEFAULTHOST", ME),
        lambda: environ.get(b"QMAILDEFAULTDOMAIN", b"example.com"),
        lambda: environ.get(b"QMAILPLUSDOMAIN", b"corp.net"),
    )
    options = read_arguments(args)
    try:
        splitter, body = split(message, size)
        call = Call(
            sender=options.sender,
            arguments=options.arguments,
            recipients=options.recipients,
            seconds=SECONDS,
            pid=PID,
            id_host=lambda: environ.get(b"QMAILIDHOST", ME),
            followup=FOLLOWUP if environ.get(b"QMAILMFTFILE") else frozenset(),
        )
        outgoing = compose(splitter.fields, Author(environ), hosts, call)
    except QuailError as error:
        result.error = str(error)
        return result
    if body and not body.endswith(b"\n"):
        body += b"\n"
    result.dry = options.dry
    result.output = (outgoing.return_path() if options.dry else b"") + outgoing.header + body
    result.sender, result.recipients = outgoing.sender, tuple(outgoing.recipients)
    return result
