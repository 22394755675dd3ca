"""usage: sendmail [ -t ] [ -fsender ] [ -Fname ] [ -bp ] [ -bs ] [ recipient ... ]

Queue the message on stdin, as Sendmail does: by way of qmail-inject, whose exit codes and words it has. -t recipients of the
header too, -f sender, -F full name, -bp list the queue (as mailq does), -bs serve SMTP on stdin and stdout. Options of Sendmail
that mean nothing here are taken: -v -i -m -x -bm, -e -p -o -B with a value, -E -J. Exit 100 after any other. By the name of
newaliases it is that program.
"""

import os
import sys
from _collections_abc import Callable

from quail.errors import UsageError
from quail.programs.run import program

_WITH_VALUE = b"fFbepoB"
_WITHOUT_VALUE = b"tvimx"
_REST_IS_ITS_OWN = b"EJ"  # an option whose value is never separate, and may be missing
_FROM_VARIABLES = (b"QMAILNAME", b"MAILNAME", b"NAME", b"QMAILHOST", b"MAILHOST")
_LOCAL_CLIENT = {
    b"RELAYCLIENT": b"",
    b"DATABYTES": b"0",
    b"PROTO": b"TCP",
    b"TCPLOCALIP": b"127.0.0.1",
    b"TCPLOCALHOST": b"localhost",
    b"TCPREMOTEIP": b"127.0.0.1",
    b"TCPREMOTEHOST": b"localhost",
    b"TCPREMOTEINFO": b"sendmail-bs",
}


@program("sendmail")
def main(args: list[bytes]) -> int:
    name = sys.argv[0].rpartition("/")[2]
    if name == "mailq":
        _list_queue()
    if name == "newaliases":
        from quail.programs.forwarding.newaliases import main as newaliases  # noqa: PLC0415  for this name alone

        _become(name, newaliases, args)
    send(args)
    return 0


def send(args: list[bytes]) -> None:
    """Do as the arguments tell, and end the process."""
    from_header = False
    sender: bytes | None = None
    options, recipients = _parse(args)
    for letter, value in options:
        if letter == b"t":
            from_header = True
        elif letter == b"f":
            sender = value
        elif letter == b"F":
            os.environb[b"MAILNAME"] = value
        elif letter == b"b":
            if value[:1] == b"p":
                _list_queue()
            elif value[:1] == b"s":
                _serve()
            elif value[:1] != b"m":
                raise UsageError
    arguments = [b"-H" if from_header else b"-a"]
    if sender is not None:
        _set_author(sender)
        arguments += [b"-f", sender]
    inject([*arguments, b"--", *recipients])


def inject(args: list[bytes]) -> None:
    """Be qmail-inject with these arguments; does not return."""
    from quail.programs.qmail.qmail_inject import main as qmail_inject  # noqa: PLC0415  not for -bp and -bs

    _become("qmail-inject", qmail_inject, args)


def _parse(args: list[bytes]) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Options with their values, in order, and what is behind them."""
    options: list[tuple[bytes, bytes]] = []
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        cluster = left.pop(0)[1:]
        if cluster == b"-":
            break
        while cluster:
            letter, cluster = cluster[:1], cluster[1:]
            value = b""
            if letter in _REST_IS_ITS_OWN:
                cluster = b""
            elif letter in _WITH_VALUE:
                if not cluster and not left:
                    raise UsageError
                value, cluster = cluster or left.pop(0), b""
            elif letter not in _WITHOUT_VALUE:
                raise UsageError
            options.append((letter, value))
    return options, left


def _set_author(sender: bytes) -> None:
    """Without a From field the message is from the sender, whatever the environment or -F says (netqmail, facts 3.4)."""
    for name in _FROM_VARIABLES:
        os.environb.pop(name, None)
    if sender[:1] == b"<" and sender[-1:] == b">":  # qmail-inject takes it so
        sender = sender[1:-1]
    user, at, host = sender.rpartition(b"@")
    os.environb[b"QMAILUSER"] = user if at else sender
    if at:
        os.environb[b"QMAILHOST"] = host


def _list_queue() -> None:
    from quail.programs.qmail.qmail_qread import main as list_queue  # noqa: PLC0415  for -bp alone

    _become("qmail-qread", list_queue, [])


def _serve() -> None:
    if b"PROTO" not in os.environb:
        os.environb.update(_LOCAL_CLIENT)
    from quail.programs.qmail.qmail_smtpd import main as serve  # noqa: PLC0415  for -bs alone

    _become("qmail-smtpd", serve, [])


def _become(name: str, program: Callable[[], None], args: list[bytes]) -> None:
    """Run another program in this process, under its own name; it does not return."""
    sys.argv = [name, *map(os.fsdecode, args)]
    program()


if __name__ == "__main__":
    main()
